# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Pre-authenticated requests: their administration, and access without a signature."""
import base64
import hashlib
import time

import pytest

oci = pytest.importorskip('oci')


def use(cloud, method, uri, body=None, **headers):
    return cloud.raw(method, uri, body=body, headers={name.replace('_', '-'): value for name, value in headers.items()}, signed=False)


def test_its_life(cloud):
    bucket, storage = cloud.bucket(), cloud.storage
    made = cloud.par(bucket, 'ObjectRead', 'a b/c')
    assert made.full_path == cloud.about['endpoint'] + made.access_uri
    listed = storage.list_preauthenticated_requests(cloud.namespace, bucket).data
    assert [(one.id, one.object_name) for one in listed] == [(made.id, 'a b/c')] and not hasattr(listed[0], 'access_uri')
    assert storage.get_preauthenticated_request(cloud.namespace, bucket, made.id).data.name == 'one'
    with pytest.raises(oci.exceptions.ServiceError) as caught:
        storage.delete_bucket(cloud.namespace, bucket)
    assert caught.value.code == 'PreauthenticatedRequestStillExists'
    storage.put_object(cloud.namespace, bucket, 'a b/c', b'data')
    assert use(cloud, 'GET', made.access_uri) == (200, b'data')
    storage.delete_preauthenticated_request(cloud.namespace, bucket, made.id)
    assert use(cloud, 'GET', made.access_uri)[0] == 401


def test_it_gives_only_what_it_says(cloud):
    bucket = cloud.bucket()
    read, write = cloud.par(bucket, 'ObjectRead', 'x').access_uri, cloud.par(bucket, 'ObjectWrite', 'x').access_uri
    assert use(cloud, 'PUT', read, b'data')[0] == 404
    assert use(cloud, 'PUT', write, b'data')[0] == 200
    assert use(cloud, 'GET', write)[0] == 404
    assert use(cloud, 'GET', read) == (200, b'data')
    assert use(cloud, 'GET', read[:-1] + 'y')[0] == 404
    status, answer = use(cloud, 'PUT', write, b'data', content_md5=base64.b64encode(hashlib.md5(b'other').digest()).decode())
    assert (status, answer['code']) == (400, 'UnmatchedContentMD5')


def test_any_object(cloud):
    bucket = cloud.bucket()
    uri = cloud.par(bucket, 'AnyObjectReadWrite', listing='ListObjects').access_uri
    assert uri.endswith('/o/')
    assert use(cloud, 'PUT', uri + 'x/y', b'data')[0] == 200
    assert use(cloud, 'GET', uri)[1]['objects'] == [{'name': 'x/y'}]
    assert use(cloud, 'GET', cloud.par(bucket, 'AnyObjectRead').access_uri)[0] == 404


def test_it_expires(cloud):
    bucket = cloud.bucket()
    cloud.storage.put_object(cloud.namespace, bucket, 'x', b'data')
    uri = cloud.par(bucket, 'ObjectRead', 'x', seconds=3).access_uri
    assert use(cloud, 'GET', uri)[0] == 200
    time.sleep(3.1)
    assert use(cloud, 'GET', uri)[0] == 401
    with pytest.raises(oci.exceptions.ServiceError) as caught:
        cloud.par(bucket, 'ObjectRead', 'x', seconds=-1)
    assert caught.value.code == 'InvalidParCreateRequest'


def test_a_multipart_upload(cloud):
    bucket = cloud.bucket()
    uri = cloud.par(bucket, 'ObjectWrite', 'a b').access_uri
    status, made = use(cloud, 'PUT', uri, opc_multipart='true', opc_meta_digest='abc')
    assert status == 200 and made['accessUri'].endswith('/u/a%20b/id/' + made['uploadId'] + '/')
    assert use(cloud, 'PUT', made['accessUri'] + '2', b'two')[0] == 200
    assert use(cloud, 'PUT', made['accessUri'] + '1', b'one')[0] == 200
    assert use(cloud, 'PUT', made['accessUri'] + 'x', b'one')[0] == 400
    # whoever has signed may look, and commit
    listed = cloud.storage.list_multipart_upload_parts(cloud.namespace, bucket, 'a b', made['uploadId']).data
    assert [one.part_number for one in listed] == [1, 2]
    assert use(cloud, 'POST', made['accessUri'])[0] == 200
    got = cloud.storage.get_object(cloud.namespace, bucket, 'a b')
    assert (got.data.content, got.headers['opc-meta-digest']) == (b'onetwo', 'abc')


def test_a_multipart_upload_is_aborted(cloud):
    bucket = cloud.bucket()
    made = use(cloud, 'PUT', cloud.par(bucket, 'ObjectWrite', 'x').access_uri, opc_multipart='true')[1]
    other = cloud.par(bucket, 'ObjectWrite', 'x').access_uri.split('/')[2]
    wrong = made['accessUri'].replace(made['accessUri'].split('/')[2], other)
    assert use(cloud, 'PUT', wrong + '1', b'x')[0] == 401
    use(cloud, 'PUT', made['accessUri'] + '1', b'x')
    assert use(cloud, 'DELETE', made['accessUri'])[0] == 204
    assert use(cloud, 'PUT', made['accessUri'] + '1', b'x')[0] == 404
    assert cloud.storage.list_multipart_uploads(cloud.namespace, bucket).data == []
