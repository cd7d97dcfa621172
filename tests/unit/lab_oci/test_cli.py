# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The endpoint before a client that nobody here wrote: Oracle's oci-cli, for every call that an import needs."""
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
    Path(os.environ.get('OCNE_CACHE') or Path.home() / '.cache' / 'ocne-images') / 'venv' / 'oci' / 'bin' / 'oci')
pytestmark = pytest.mark.skipif(not os.path.exists(CLI), reason='oci-cli is not installed')
pytest.importorskip('oci')


class Cli:
    """Runs oci-cli against an endpoint."""

    def __init__(self, cloud):
        self.about = cloud.about
        self.common = ['--config-file', self.about['config'], '--cert-bundle', self.about['ca'], '--endpoint', self.about['endpoint'], '--no-retry']

    def run(self, *argv):
        """The finished process."""
        environment = dict(os.environ, SUPPRESS_LABEL_WARNING='True', OCI_CLI_SUPPRESS_FILE_PERMISSIONS_WARNING='True')
        return subprocess.run([CLI, *self.common, *map(str, argv)], capture_output=True, text=True, env=environment, timeout=60, check=False)

    def __call__(self, *argv):
        """`data` of its JSON, or all of it."""
        done = self.run(*argv)
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout) if done.stdout.strip() else {}
        return answer.get('data', answer)


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
    cli('compute', 'image-capability-schema', 'update', '--image-capability-schema-id', schema['id'], '--schema-data', json.dumps(data), '--force')
    cli('compute', 'image-capability-schema', 'delete', '--image-capability-schema-id', schema['id'], '--force')
    cli('compute', 'image', 'delete', '--image-id', made['id'], '--force')
    assert cloud.control.left()['images'][made['id']] == 'DELETED'
