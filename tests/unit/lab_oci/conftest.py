# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab's OCI endpoint, with Oracle's SDK before it: one endpoint for all of these tests, and names of its own for each of them."""
import datetime
import json
import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

LAB = Path(__file__).resolve().parents[3] / 'tests' / 'lab'


def _lab():
    for path in (LAB, LAB / 'oci'):
        if str(path) not in sys.path:
            sys.path.append(str(path))
    from endpoint import client, control
    return control, client


class Cloud:
    """An endpoint, and clients of it that do not retry."""

    def __init__(self, about):
        self.about = about
        self.namespace = about['namespace']
        self.compartment = about['compartments']['images']
        self.control = _lab()[1].Control(about['control'])

    def client(self, kind, profile='DEFAULT', region=None, signer=None, **config):
        """A client of the SDK for one service."""
        import oci
        settings = {} if signer else dict(oci.config.from_file(self.about['config'], profile), **config)
        extra = {'signer': signer} if signer else {}
        made = kind(settings, service_endpoint=self.about['regions'][region or self.about['region']], retry_strategy=oci.retry.NoneRetryStrategy(),
                    circuit_breaker_strategy=oci.circuit_breaker.NoCircuitBreakerStrategy(), timeout=(10, 20), **extra)
        made.base_client.session.verify = self.about['ca']
        return made

    @property
    def storage(self):
        """Object Storage."""
        import oci
        return self.client(oci.object_storage.ObjectStorageClient)

    @property
    def compute(self):
        """Compute."""
        import oci
        return self.client(oci.core.ComputeClient)

    @property
    def work(self):
        """Work Requests."""
        import oci
        return self.client(oci.work_requests.WorkRequestClient)

    @property
    def identity(self):
        """Identity."""
        import oci
        return self.client(oci.identity.IdentityClient)

    def bucket(self, region=None):
        """The name of a new bucket."""
        import oci
        name = 'b' + secrets.token_hex(6)
        details = oci.object_storage.models.CreateBucketDetails(name=name, compartment_id=self.compartment)
        self.client(oci.object_storage.ObjectStorageClient, region=region).create_bucket(self.namespace, details)
        return name

    def raw(self, method, path, body=None, headers=None, signed=True, signer=None):
        """An answer to a request that the SDK would not make: (status, JSON or bytes)."""
        import oci
        if signer is None and signed:
            signer = oci.signer.Signer.from_config(oci.config.from_file(self.about['config']))
        answer = oci._vendor.requests.request(
            method, self.about['endpoint'] + path, data=body, headers=headers, auth=signer if signed else None, verify=self.about['ca'], timeout=20)
        try:
            return answer.status_code, json.loads(answer.content)
        except ValueError:
            return answer.status_code, answer.content

    def par(self, bucket, kind, name=None, seconds=600, listing=None):
        """A new pre-authenticated request."""
        import oci
        expires = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
        details = oci.object_storage.models.CreatePreauthenticatedRequestDetails(
            name='one', access_type=kind, object_name=name, time_expires=expires, bucket_listing_action=listing)
        return self.storage.create_preauthenticated_request(self.namespace, bucket, details).data


@pytest.fixture(scope='session', autouse=True)
def no_bundle():
    """The environment's bundle of certificates would win over the client's own."""
    before = dict(os.environ)
    for name in ('REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE', 'OCI_METADATA_BASE_URL'):
        os.environ.pop(name, None)
    for name in ('no_proxy', 'NO_PROXY'):
        os.environ[name] = 'localhost,127.0.0.1'
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope='session')
def endpoint(tmp_path_factory):
    """One endpoint, of its own state. It is no child of this process, where other tests look for children of theirs, and kill them."""
    state = tmp_path_factory.mktemp('oci')
    started = subprocess.run([LAB / 'oci' / 'up', '--state', state], stdout=subprocess.PIPE, check=True)
    yield json.loads(started.stdout)
    _lab()[0].down(state, purge=True)


@pytest.fixture
def cloud(endpoint):
    """The endpoint as it is without switches; at the end, it must not have failed itself."""
    made = Cloud(endpoint)
    before = made.control.settings()
    made.control.set(import_seconds=0.1)
    made.control.forget()
    yield made
    made.control.faults()
    made.control.set(**before)
    assert made.control.left()['faults_of_the_lab'] == []


@pytest.fixture
def own_cloud(tmp_path):
    """(cloud, control module) of an endpoint that a test may stop or kill."""
    control = _lab()[0]
    yield Cloud(control.up(tmp_path)), control
    control.down(tmp_path, purge=True)


@pytest.fixture(scope='session')
def disk(tmp_path_factory):
    """A sound qcow2 of 8 MiB."""
    path = tmp_path_factory.mktemp('disk') / 'disk.qcow2'
    subprocess.run(['qemu-img', 'create', '-q', '-f', 'qcow2', str(path), '8M'], check=True)
    subprocess.run(['qemu-io', '-f', 'qcow2', '-c', 'write -P 7 1M 2M', str(path)], check=True, stdout=subprocess.DEVNULL)
    return path
