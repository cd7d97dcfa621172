# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The endpoint before a client that nobody here wrote: Oracle's oci-cli, for every call that the clouds' clients make."""
import ast
import datetime
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

CLI = os.environ.get('OCNE_OCI_CLI') or shutil.which('oci', path=str(Path(sys.executable).parent)) or str(
    Path(os.environ.get('OCNE_CACHE') or Path.home() / '.cache' / 'ocne-images') / 'venv' / 'oci-cli' / 'bin' / 'oci')
pytestmark = pytest.mark.skipif(not os.path.exists(CLI), reason='oci-cli is not installed (scripts/setup)')
pytest.importorskip('oci.core')   # the bare name could be the lab's own folder
ROOT = Path(__file__).resolve().parents[3]
# the operations that oci-cli has asked for, in all of these tests
asked_for = set()


class Cli:
    """Runs oci-cli against an endpoint."""

    def __init__(self, cloud):
        self.about, self._counters = cloud.about, cloud.control.counters
        self.common = ['--config-file', self.about['config'], '--cert-bundle', self.about['ca'], '--no-retry']

    def start(self, *argv):
        """The process."""
        environment = dict(os.environ, SUPPRESS_LABEL_WARNING='True', OCI_CLI_SUPPRESS_FILE_PERMISSIONS_WARNING='True')
        # such a request has its whole address
        where = [] if argv[0] == 'raw-request' else ['--endpoint', self.about['endpoint']]
        return subprocess.Popen([CLI, *self.common, *where, *map(str, argv)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, env=environment)

    def run(self, *argv):
        """The finished process."""
        before = self._counters()['operations']
        with self.start(*argv) as process:
            done = subprocess.CompletedProcess(argv, None, *process.communicate(timeout=120))
        done.returncode = process.returncode
        asked_for.update(name for name, times in self._counters()['operations'].items() if times > before.get(name, 0))
        return done

    def __call__(self, *argv):
        """`data` of its JSON, or all of it."""
        done = self.run(*argv)
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout) if done.stdout.strip() else {}
        return answer.get('data', answer)

    def raw(self, method, uri, *more):
        """The answer to a request that has no command of its own."""
        return self('raw-request', '--http-method', method, '--target-uri', uri, *more)


@pytest.fixture
def cli(cloud):
    return Cli(cloud)


def test_compartments(cloud, cli):
    listed = cli('iam', 'compartment', 'list', '--all', '--name', 'team')
    assert [one['id'] for one in listed] == [cloud.about['compartments']['team']]
    assert cli('iam', 'compartment', 'get', '--compartment-id', cloud.compartment)['name'] == 'images'
    assert cli('iam', 'region-subscription', 'list')[0]['region-name'] == cloud.about['region']


def test_a_session(cloud, cli):
    assert cli('--profile', 'SESSION', '--auth', 'security_token', 'os', 'ns', 'get') == cloud.namespace


def test_objects(cloud, cli, tmp_path):
    bucket, data = 'cli-' + os.urandom(4).hex(), os.urandom(35 << 20)
    (tmp_path / 'big').write_bytes(data)
    there = ('-ns', cloud.namespace, '-bn', bucket)
    cli('os', 'bucket', 'create', '-ns', cloud.namespace, '--name', bucket, '--compartment-id', cloud.compartment)
    assert cli('os', 'bucket', 'get', *there)['compartment-id'] == cloud.compartment
    # which has no command
    assert cli.raw('HEAD', '%s/n/%s/b/%s' % (cloud.about['endpoint'], cloud.namespace, bucket)) in (None, '')
    cli('os', 'object', 'put', *there, '--file', tmp_path / 'big', '--name', 'a b', '--part-size', 10, '--parallel-upload-count', 3, '--no-overwrite')
    assert cloud.control.counters()['operations']['upload_part'] == 4
    assert cli('os', 'object', 'list', *there, '--all')[0]['size'] == len(data)
    assert cli('os', 'object', 'head', *there, '--name', 'a b')['opc-multipart-md5'].endswith('-4')
    cli('os', 'object', 'get', *there, '--name', 'a b', '--file', tmp_path / 'back')
    assert (tmp_path / 'back').read_bytes() == data
    expires = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)).isoformat()
    made = cli('os', 'preauth-request', 'create', *there, '--name', 'one', '--access-type', 'ObjectRead', '--object-name', 'a b', '--time-expires', expires)
    assert cloud.raw('GET', made['access-uri'], signed=False) == (200, data)
    assert [one['id'] for one in cli('os', 'preauth-request', 'list', *there)] == [made['id']]
    cli('os', 'preauth-request', 'delete', *there, '--par-id', made['id'], '--force')
    assert cli('os', 'multipart', 'list', *there) == {}
    cli('os', 'object', 'delete', *there, '--name', 'a b', '--force')
    cli('os', 'bucket', 'delete', *there, '--force')
    assert bucket not in cloud.control.left()['buckets']
    assert 'BucketNotFound' in cli.run('os', 'object', 'list', *there).stderr


def test_an_upload_that_was_killed(cloud, cli, tmp_path):
    data = os.urandom(25 << 20)
    (tmp_path / 'big').write_bytes(data)
    bucket = cloud.bucket()
    there = ('-ns', cloud.namespace, '-bn', bucket)
    cloud.control.set(rate=10 << 20)
    with cli.start('os', 'object', 'put', *there, '--file', tmp_path / 'big', '--name', 'big', '--part-size', 10, '--disable-parallel-uploads') as process:
        deadline = time.monotonic() + 60
        while not cloud.control.counters()['parts'] and time.monotonic() < deadline:
            time.sleep(0.05)
        process.kill()
    cloud.control.set(rate=0)
    upload, = cli('os', 'multipart', 'list', *there)
    cli('os', 'object', 'resume-put', *there, '--file', tmp_path / 'big', '--name', 'big', '--upload-id', upload['upload-id'], '--part-size', 10)
    cli('os', 'object', 'get', *there, '--name', 'big', '--file', tmp_path / 'back')
    assert (tmp_path / 'back').read_bytes() == data


def test_an_upload_that_is_given_up(cloud, cli):
    import oci
    bucket = cloud.bucket()
    there = ('-ns', cloud.namespace, '-bn', bucket)
    cloud.storage.create_multipart_upload(cloud.namespace, bucket, oci.object_storage.models.CreateMultipartUploadDetails(object='big'))
    upload, = cli('os', 'multipart', 'list', *there)
    cli('os', 'multipart', 'abort', *there, '--object-name', 'big', '--upload-id', upload['upload-id'], '--force')
    assert cli('os', 'multipart', 'list', *there) == {}


def test_an_upload_by_a_pre_authenticated_request(cloud, cli):
    """The signature of a raw request is of no account here, and its body is JSON."""
    bucket = cloud.bucket()
    began = cli.raw('PUT', cloud.par(bucket, 'AnyObjectWrite').full_path + 'shared', '--request-headers', '{"opc-multipart": "true"}')
    access = cloud.about['endpoint'] + began['accessUri']
    for number in (1, 2):
        cli.raw('PUT', access + str(number), '--request-body', '{"part": %d}' % number)
    cli.raw('POST', access)
    assert cloud.raw('GET', '/n/%s/b/%s/o/shared' % (cloud.namespace, bucket)) == (200, b'{"part": 1}{"part": 2}')


def test_images(cloud, cli, disk, tmp_path):
    bucket = cloud.bucket()
    there = ('--namespace', cloud.namespace, '--bucket-name', bucket)
    cli('os', 'object', 'put', *there, '--file', disk, '--name', 'disk')
    made = cli('compute', 'image', 'import', 'from-object', *there, '--name', 'disk', '--compartment-id', cloud.compartment, '--display-name', 'cli',
               '--launch-mode', 'PARAVIRTUALIZED', '--source-image-type', 'QCOW2', '--operating-system', 'OCK', '--operating-system-version', '1')
    uri = cloud.par(bucket, 'ObjectRead', 'disk').full_path
    other = cli('compute', 'image', 'import', 'from-object-uri', '--uri', uri, '--compartment-id', cloud.compartment, '--source-image-type', 'QCOW2')
    requests = cli('work-requests', 'work-request', 'list', '--compartment-id', cloud.compartment, '--resource-id', made['id'])
    deadline = time.monotonic() + 20
    while cli('work-requests', 'work-request', 'get', '--work-request-id', requests[0]['id'])['status'] != 'SUCCEEDED' and time.monotonic() < deadline:
        time.sleep(0.1)
    assert cli('work-requests', 'work-request-log-entry', 'list', '--work-request-id', requests[0]['id'])
    cli('work-requests', 'work-request-error', 'list', '--work-request-id', requests[0]['id'])
    assert cli('compute', 'image', 'get', '--image-id', other['id'])['lifecycle-state'] == 'AVAILABLE'
    assert made['id'] in [one['id'] for one in cli('compute', 'image', 'list', '--compartment-id', cloud.compartment, '--all')]
    changed = cli('compute', 'image', 'update', '--image-id', made['id'], '--freeform-tags', '{"ocne/architecture": "arm64"}', '--force')
    assert changed['freeform-tags'] == {'ocne/architecture': 'arm64'}
    cli('compute', 'image-shape-compatibility-entry', 'add', '--image-id', made['id'], '--shape-name', 'VM.Standard.A1.Flex')
    shapes = cli('compute', 'image-shape-compatibility-entry', 'list', '--image-id', made['id'], '--all')
    assert 'VM.Standard.A1.Flex' in [one['shape'] for one in shapes]
    cli('compute', 'image-shape-compatibility-entry', 'remove', '--image-id', made['id'], '--shape-name', 'VM.Standard.A1.Flex', '--force')
    known = cli('compute', 'global-image-capability-schema', 'list')[0]
    version = known['current-version-name']
    cli('compute', 'global-image-capability-schema-version', 'get', '--global-image-capability-schema-id', known['id'],
        '--global-image-capability-schema-version-name', version)
    data = {'Compute.Firmware': {'descriptorType': 'enumstring', 'source': 'IMAGE', 'defaultValue': 'UEFI_64', 'values': ['UEFI_64']}}
    schema = cli('compute', 'image-capability-schema', 'create', '--compartment-id', cloud.compartment, '--image-id', made['id'],
                 '--global-image-capability-schema-version-name', version, '--schema-data', json.dumps(data))
    assert [one['id'] for one in cli('compute', 'image-capability-schema', 'list', '--image-id', made['id'])] == [schema['id']]
    there = cli('compute', 'image-capability-schema', 'get', '--image-capability-schema-id', schema['id'])['schema-data']
    assert there['Compute.Firmware']['values'] == ['UEFI_64']
    cli('compute', 'image-capability-schema', 'update', '--image-capability-schema-id', schema['id'], '--schema-data', json.dumps(data), '--force')
    cli('compute', 'image-capability-schema', 'delete', '--image-capability-schema-id', schema['id'], '--force')
    cli('compute', 'image', 'delete', '--image-id', made['id'], '--force')
    assert cloud.control.left()['images'][made['id']] == 'DELETED'


def test_each_call_of_the_clouds_has_been_made(request):
    """By the tests above, so it comes last."""
    ran = {item.originalname for item in request.session.items if item.path == Path(__file__)}
    if not {name for name in globals() if name.startswith('test_')} <= ran:
        pytest.skip('only some of these tests were asked for')
    known = set(json.loads((ROOT / 'tests/lab/oci/endpoint/api.json').read_text())['operations'])
    made = {node.attr for path in (ROOT / 'plugins/module_utils/clouds/oracle').glob('*.py') for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Attribute)} & known
    # that one has another way there, see Storage.unshare()
    assert len(made) > 20 and (made | {'delete_preauthenticated_request'}) - asked_for == set()
