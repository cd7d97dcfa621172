# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The faults that tests ask for, the counters, and an endpoint that is killed."""
import base64
import email.utils
import hashlib
import os
import signal
import socket
import ssl
import struct
import threading
import time
from urllib.parse import urlsplit

import pytest

oci = pytest.importorskip('oci')
models = pytest.importorskip('oci.object_storage').models


def md5(data):
    return base64.b64encode(hashlib.md5(data).digest()).decode()


@pytest.mark.parametrize('kind,status', [('401', 401), ('429', 429), ('500', 500), ('503', 503)])
def test_an_error(cloud, kind, status):
    cloud.control.set(retry_after=7)
    cloud.control.faults({'kind': kind, 'times': 1, 'operations': ['get_namespace']})
    with pytest.raises(oci.exceptions.ServiceError) as caught:
        cloud.storage.get_namespace()
    assert caught.value.status == status
    assert caught.value.headers.get('retry-after') == ('7' if kind == '429' else None)
    assert cloud.storage.get_namespace().data == cloud.namespace
    assert cloud.control.counters()['faults'] == {kind: 1}


def test_a_time_to_come_again(cloud):
    cloud.control.set(retry_after=7, retry_after_dates=True, clock_offset=100)
    cloud.control.faults({'kind': '429', 'times': 1, 'operations': ['get_namespace']})
    with pytest.raises(oci.exceptions.ServiceError) as caught:
        cloud.storage.get_namespace()
    when = email.utils.parsedate_to_datetime(caught.value.headers['retry-after']).timestamp() - time.time()
    assert 100 < when < 110


def test_a_share_of_errors(cloud):
    cloud.control.faults({'kind': '503', 'share': 0.5}, seed=1)
    bad = sum(cloud.raw('GET', '/n')[0] == 503 for _number in range(60))
    assert 15 < bad < 45 and cloud.control.counters()['faults'] == {'503': bad}


def test_a_wrong_fault_is_refused(cloud):
    for wrong in ({'kind': '418', 'times': 1}, {'kind': '503'}, {'kind': '503', 'times': 1, 'often': True}):
        with pytest.raises(ValueError):
            cloud.control.faults(wrong)
    with pytest.raises(ValueError):
        cloud.control.set(speed=3)


def test_a_reset_in_the_middle_of_a_body(cloud):
    bucket, data = cloud.bucket(), os.urandom(1 << 20)
    cloud.control.forget()
    cloud.control.faults({'kind': 'reset', 'times': 1, 'operations': ['put_object']})
    with pytest.raises(oci.exceptions.RequestException):
        cloud.storage.put_object(cloud.namespace, bucket, 'x', data)
    assert 400000 < cloud.control.counters()['bytes_in'] < 700000
    assert cloud.storage.list_objects(cloud.namespace, bucket).data.objects == []
    cloud.storage.put_object(cloud.namespace, bucket, 'x', data)
    cloud.control.faults({'kind': 'reset', 'times': 1, 'operations': ['get_object']})
    got = cloud.storage.get_object(cloud.namespace, bucket, 'x').data
    with pytest.raises(Exception, match='(?i)connection|incomplete'):
        list(got.raw.stream(65536))


def test_a_lost_answer(cloud):
    bucket = cloud.bucket()
    cloud.control.faults({'kind': 'lost_answer', 'times': 1, 'operations': ['put_object']})
    with pytest.raises(oci.exceptions.RequestException):
        cloud.storage.put_object(cloud.namespace, bucket, 'x', b'data')
    assert cloud.storage.get_object(cloud.namespace, bucket, 'x').data.content == b'data'
    assert cloud.control.counters()['faults'] == {'lost_answer': 1}


def test_damage_on_the_way(cloud):
    bucket = cloud.bucket()
    cloud.control.faults({'kind': 'damage', 'times': 2, 'operations': ['put_object']})
    with pytest.raises(oci.exceptions.ServiceError) as caught:
        cloud.storage.put_object(cloud.namespace, bucket, 'x', b'data', content_md5=md5(b'data'))
    assert caught.value.code == 'UnmatchedContentMD5'
    assert cloud.storage.put_object(cloud.namespace, bucket, 'x', b'data').headers['opc-content-md5'] != md5(b'data')
    cloud.control.faults({'kind': 'wrong_md5', 'times': 1})
    assert cloud.storage.put_object(cloud.namespace, bucket, 'y', b'data').headers['opc-content-md5'] != md5(b'data')
    assert cloud.storage.get_object(cloud.namespace, bucket, 'y').data.content == b'data'


def test_a_stall(cloud):
    cloud.control.faults({'kind': 'stall', 'times': 1, 'seconds': 0.7})
    started = time.monotonic()
    cloud.storage.get_namespace()
    assert time.monotonic() - started > 0.6


def test_the_rate_is_that_of_each_connection(cloud):
    bucket, data = cloud.bucket(), os.urandom(2 << 20)
    cloud.control.set(rate=1 << 20)

    def put(name):
        cloud.storage.put_object(cloud.namespace, bucket, name, data)
    started = time.monotonic()
    put('alone')
    alone = time.monotonic() - started
    threads = [threading.Thread(target=put, args=(str(number),)) for number in range(3)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert alone > 1.8
    # three at once take as long as one, not as three
    assert time.monotonic() - started < 2 * alone


def test_killed_and_started_again(own_cloud, disk):
    cloud, control = own_cloud
    bucket, storage = cloud.bucket(), cloud.storage
    storage.put_object(cloud.namespace, bucket, 'x', b'data')
    identity = storage.create_multipart_upload(cloud.namespace, bucket, models.CreateMultipartUploadDetails(object='big')).data.upload_id
    etag = storage.upload_part(cloud.namespace, bucket, 'big', identity, 1, b'one').headers['etag']
    with open(disk, 'rb') as file:
        storage.put_object(cloud.namespace, bucket, 'disk', file)
    cloud.control.set(import_seconds=2.0)
    source = oci.core.models.ImageSourceViaObjectStorageTupleDetails(bucket_name=bucket, namespace_name=cloud.namespace, object_name='disk',
                                                                     source_image_type='QCOW2')
    made = cloud.compute.create_image(oci.core.models.CreateImageDetails(compartment_id=cloud.compartment, image_source_details=source))
    os.kill(cloud.about['pid'], signal.SIGKILL)
    os.waitpid(cloud.about['pid'], 0)
    again = control.up(cloud.about['state'])
    assert again['pid'] != cloud.about['pid']
    assert {key: value for key, value in again.items() if key != 'pid'} == {key: value for key, value in cloud.about.items() if key != 'pid'}
    storage = cloud.storage
    assert storage.get_object(cloud.namespace, bucket, 'x').data.content == b'data'
    assert [one.etag for one in storage.list_multipart_upload_parts(cloud.namespace, bucket, 'big', identity).data] == [etag]
    deadline = time.monotonic() + 15
    while cloud.compute.get_image(made.data.id).data.lifecycle_state != 'AVAILABLE' and time.monotonic() < deadline:
        time.sleep(0.1)
    assert cloud.work.get_work_request(made.headers['opc-work-request-id']).data.status == 'SUCCEEDED'


@pytest.mark.parametrize('operation,head', [
    ('par_put_object', 'PUT {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\nexpect: 100-continue\r\n\r\n'),
    ('federate', 'POST /v1/x509 HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n'),
], ids=['before its 100 Continue', 'in its body'])
def test_a_client_that_goes_away_is_no_fault_of_the_endpoint(cloud, operation, head):
    path, before = cloud.par(cloud.bucket(), 'ObjectWrite', 'x').access_uri, cloud.control.left()['blobs']
    cloud.control.faults({'kind': 'stall', 'times': 1, 'seconds': 0.5, 'operations': [operation]})
    address = urlsplit(cloud.about['endpoint'])
    with ssl.create_default_context(cafile=cloud.about['ca']).wrap_socket(
            socket.create_connection((address.hostname, address.port), timeout=10), server_hostname=address.hostname) as connection:
        connection.sendall(head.format(path=path).encode())
        time.sleep(0.1)
        # reset, not closed
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    deadline = time.monotonic() + 10
    while not cloud.control.counters()['statuses'].get('0') and time.monotonic() < deadline:
        time.sleep(0.05)
    left = cloud.control.left()
    assert (left['faults_of_the_lab'], left['blobs']) == ([], before) and cloud.control.counters()['statuses']['0'] == 1


def test_up_and_down_twice(own_cloud):
    cloud, control = own_cloud
    assert control.up(cloud.about['state']) == cloud.about
    control.down(cloud.about['state'])
    control.down(cloud.about['state'])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(('127.0.0.1', urlsplit(cloud.about['endpoint']).port), timeout=5)


def test_a_killed_receiver_leaves_no_bytes(own_cloud):
    cloud, control = own_cloud
    bucket = cloud.bucket()
    cloud.control.set(rate=1 << 20)
    thread = threading.Thread(target=lambda: pytest.raises(oci.exceptions.RequestException, cloud.storage.put_object, cloud.namespace, bucket, 'x',
                                                           b'x' * (8 << 20)))
    thread.start()
    deadline = time.monotonic() + 10
    while not cloud.control.left()['blobs'] and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(cloud.about['pid'], signal.SIGKILL)
    os.waitpid(cloud.about['pid'], 0)
    thread.join()
    cloud.about.update(control.up(cloud.about['state']))
    left = cloud.control.left()
    assert (left['blobs'], left['objects'], left['buckets']) == (0, [], [bucket])
