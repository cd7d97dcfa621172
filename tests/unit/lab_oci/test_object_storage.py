# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Object Storage: buckets, objects, multipart uploads."""
import base64
import hashlib
import os

import pytest

oci = pytest.importorskip('oci')
models = pytest.importorskip('oci.object_storage').models


def refused(call, *args, **kwargs):
    """(status, code) of the service's fault."""
    with pytest.raises(oci.exceptions.ServiceError) as caught:
        call(*args, **kwargs)
    return caught.value.status, caught.value.code


def md5(data):
    return base64.b64encode(hashlib.md5(data).digest()).decode()


def test_buckets(cloud):
    storage, name = cloud.storage, cloud.bucket()
    assert storage.get_bucket(cloud.namespace, name, fields=['approximateCount']).data.approximate_count == 0
    details = models.CreateBucketDetails(name=name, compartment_id=cloud.compartment)
    assert refused(storage.create_bucket, cloud.namespace, details) == (409, 'BucketAlreadyExists')
    names = {one.name for one in oci.pagination.list_call_get_all_results(storage.list_buckets, cloud.namespace, cloud.compartment).data}
    assert name in names
    storage.put_object(cloud.namespace, name, 'x', b'1')
    assert refused(storage.delete_bucket, cloud.namespace, name) == (409, 'BucketNotEmpty')
    storage.delete_object(cloud.namespace, name, 'x')
    storage.delete_bucket(cloud.namespace, name)
    assert refused(storage.get_bucket, cloud.namespace, name) == (404, 'BucketNotFound')
    assert refused(storage.get_bucket, 'other', name) == (404, 'NamespaceNotFound')


def test_a_bucket_of_another_region_is_not_there(cloud):
    name = cloud.bucket(region='eu-frankfurt-1')
    assert refused(cloud.storage.get_bucket, cloud.namespace, name) == (404, 'BucketNotFound')
    assert cloud.client(oci.object_storage.ObjectStorageClient, region='eu-frankfurt-1').get_bucket(cloud.namespace, name).data.name == name


def test_a_bucket_in_a_compartment_that_is_not_there(cloud):
    details = models.CreateBucketDetails(name='nowhere', compartment_id='ocid1.compartment.oc1..none')
    assert refused(cloud.storage.create_bucket, cloud.namespace, details) == (404, 'NotAuthorizedOrNotFound')


def test_an_object(cloud):
    storage, bucket, data = cloud.storage, cloud.bucket(), os.urandom(300000)
    name = 'folder/ä b?#%.qcow2'
    made = storage.put_object(cloud.namespace, bucket, name, data, content_md5=md5(data), opc_meta={'digest': 'abc'}, content_type='application/x-qcow2')
    assert made.headers['opc-content-md5'] == md5(data)
    got = storage.get_object(cloud.namespace, bucket, name)
    assert (got.data.content, got.headers['opc-meta-digest'], got.headers['content-type']) == (data, 'abc', 'application/x-qcow2')
    head = storage.head_object(cloud.namespace, bucket, name).headers
    assert (head['content-length'], head['content-md5'], head['etag']) == ('300000', md5(data), made.headers['etag'])
    part = storage.get_object(cloud.namespace, bucket, name, range='bytes=100-199')
    assert (part.status, part.data.content, part.headers['content-range']) == (206, data[100:200], 'bytes 100-199/300000')
    assert storage.get_object(cloud.namespace, bucket, name, range='bytes=-5').data.content == data[-5:]
    assert refused(storage.get_object, cloud.namespace, bucket, name, range='bytes=300000-') == (416, 'InvalidRange')
    assert refused(storage.get_object, cloud.namespace, bucket, 'other') == (404, 'ObjectNotFound')


def test_digests_of_an_object(cloud):
    storage, bucket = cloud.storage, cloud.bucket()
    assert refused(storage.put_object, cloud.namespace, bucket, 'x', b'data', content_md5=md5(b'other')) == (400, 'UnmatchedContentMD5')
    assert refused(storage.put_object, cloud.namespace, bucket, 'x', b'data', content_md5='nonsense') == (400, 'InvalidContentMD5')
    sha256 = base64.b64encode(hashlib.sha256(b'data').digest()).decode()
    made = storage.put_object(cloud.namespace, bucket, 'x', b'data', opc_checksum_algorithm='SHA256', opc_content_sha256=sha256)
    assert made.headers['opc-content-sha256'] == sha256
    assert refused(storage.put_object, cloud.namespace, bucket, 'y', b'date', opc_content_sha256=sha256) == (400, 'MissingOrInvalidChecksum')
    # the check value of CRC-32C, of the nine digits
    crc = base64.b64encode(bytes.fromhex('e3069283')).decode()
    assert storage.put_object(cloud.namespace, bucket, 'z', b'123456789', opc_content_crc32c=crc).headers['opc-content-crc32c'] == crc
    assert [one.name for one in storage.list_objects(cloud.namespace, bucket).data.objects] == ['x', 'z']


def test_conditions(cloud):
    storage, bucket = cloud.storage, cloud.bucket()
    assert refused(storage.put_object, cloud.namespace, bucket, 'x', b'1', if_match='"no"') == (412, 'IfMatchFailed')
    etag = storage.put_object(cloud.namespace, bucket, 'x', b'1', if_none_match='*').headers['etag']
    assert refused(storage.put_object, cloud.namespace, bucket, 'x', b'2', if_none_match='*') == (412, 'IfNoneMatchFailed')
    assert refused(storage.delete_object, cloud.namespace, bucket, 'x', if_match='other') == (412, 'IfMatchFailed')
    with pytest.raises(oci.exceptions.ServiceError) as caught:
        storage.get_object(cloud.namespace, bucket, 'x', if_none_match=etag)
    assert caught.value.status == 304
    assert storage.put_object(cloud.namespace, bucket, 'x', b'3', if_match=etag).headers['etag'] != etag


def test_lists_come_in_pages(cloud):
    storage, bucket = cloud.storage, cloud.bucket()
    names = ['p/%02d' % number for number in range(12)] + ['q']
    for name in names:
        storage.put_object(cloud.namespace, bucket, name, b'')
    cloud.control.forget()
    cloud.control.set(page_size=5)
    found, start = [], None
    while True:
        page = storage.list_objects(cloud.namespace, bucket, fields='name,size,etag,timeCreated,md5', **({'start': start} if start else {})).data
        found += page.objects
        start = page.next_start_with
        if not start:
            break
    assert [one.name for one in found] == names and found[0].size == 0 and found[0].md5 == md5(b'')
    assert cloud.control.counters()['operations'] == {'list_objects': 3}
    folders = storage.list_objects(cloud.namespace, bucket, delimiter='/').data
    assert (folders.prefixes, [one.name for one in folders.objects]) == (['p/'], ['q'])
    assert [one.name for one in storage.list_objects(cloud.namespace, bucket, prefix='p/0', start_after='p/07').data.objects] == ['p/08', 'p/09']


def upload(cloud, bucket, parts, name='big', **kwargs):
    """(upload ID, [(number, etag)])."""
    storage = cloud.storage
    made = storage.create_multipart_upload(cloud.namespace, bucket, models.CreateMultipartUploadDetails(object=name), **kwargs).data
    tags = [storage.upload_part(cloud.namespace, bucket, name, made.upload_id, number, data, content_md5=md5(data)).headers['etag']
            for number, data in enumerate(parts, 1)]
    return made.upload_id, list(enumerate(tags, 1))


def commit(cloud, bucket, identity, parts, exclude=None, name='big', **kwargs):
    listed = [models.CommitMultipartUploadPartDetails(part_num=number, etag=etag) for number, etag in parts]
    details = models.CommitMultipartUploadDetails(parts_to_commit=listed, parts_to_exclude=exclude)
    return cloud.storage.commit_multipart_upload(cloud.namespace, bucket, name, identity, details, **kwargs)


def test_a_multipart_upload(cloud):
    storage, bucket = cloud.storage, cloud.bucket()
    parts = [os.urandom(70000) for _number in range(7)]
    identity, tags = upload(cloud, bucket, parts)
    assert [one.upload_id for one in storage.list_multipart_uploads(cloud.namespace, bucket).data] == [identity]
    listed = oci.pagination.list_call_get_all_results(storage.list_multipart_upload_parts, cloud.namespace, bucket, 'big', identity).data
    assert [(one.part_number, one.etag, one.size, one.md5) for one in listed] == [(n, e, 70000, md5(parts[n - 1])) for n, e in tags]
    assert refused(storage.delete_bucket, cloud.namespace, bucket) == (409, 'BucketNotEmpty')
    made = commit(cloud, bucket, identity, tags)
    digest = md5(b''.join(hashlib.md5(part).digest() for part in parts)) + '-7'
    assert made.headers['opc-multipart-md5'] == digest
    assert storage.head_object(cloud.namespace, bucket, 'big').headers['opc-multipart-md5'] == digest
    assert storage.get_object(cloud.namespace, bucket, 'big').data.content == b''.join(parts)
    assert storage.get_object(cloud.namespace, bucket, 'big', range='bytes=69990-140009').data.content == b''.join(parts)[69990:140010]
    assert storage.list_multipart_uploads(cloud.namespace, bucket).data == []
    assert refused(commit, cloud, bucket, identity, tags) == (404, 'UploadNotFound')
    assert cloud.control.counters()['parts'] == {identity: {str(number): 1 for number in range(1, 8)}}


def test_a_commit_names_each_part_in_order(cloud):
    bucket = cloud.bucket()
    identity, tags = upload(cloud, bucket, [b'a', b'b', b'c'])
    assert refused(commit, cloud, bucket, identity, tags[::-1]) == (400, 'InvalidUploadPartOrder')
    assert refused(commit, cloud, bucket, identity, tags[:2]) == (400, 'InvalidUploadPart')
    assert refused(commit, cloud, bucket, identity, tags[:2] + [(3, 'other')]) == (400, 'InvalidUploadPart')
    assert refused(commit, cloud, bucket, identity, tags + [(4, 'x')]) == (400, 'InvalidUploadPart')
    commit(cloud, bucket, identity, tags[:2], exclude=[3])
    assert cloud.storage.get_object(cloud.namespace, bucket, 'big').data.content == b'ab'


def test_part_numbers_and_upload_ids(cloud):
    storage, bucket = cloud.storage, cloud.bucket()
    identity, _tags = upload(cloud, bucket, [])
    for number in (0, 10001):
        assert refused(storage.upload_part, cloud.namespace, bucket, 'big', identity, number, b'x') == (400, 'InvalidUploadPartNumber')
    assert refused(storage.upload_part, cloud.namespace, bucket, 'big', 'other', 1, b'x') == (404, 'UploadNotFound')
    assert refused(storage.upload_part, cloud.namespace, bucket, 'another', identity, 1, b'x') == (404, 'UploadNotFound')
    storage.abort_multipart_upload(cloud.namespace, bucket, 'big', identity)
    assert refused(storage.list_multipart_upload_parts, cloud.namespace, bucket, 'big', identity) == (404, 'UploadNotFound')
    storage.delete_bucket(cloud.namespace, bucket)


def test_a_part_that_comes_twice_is_the_later_one(cloud):
    storage, bucket = cloud.storage, cloud.bucket()
    identity, tags = upload(cloud, bucket, [b'old'])
    again = storage.upload_part(cloud.namespace, bucket, 'big', identity, 1, b'new').headers['etag']
    assert refused(commit, cloud, bucket, identity, tags) == (400, 'InvalidUploadPart')
    assert refused(commit, cloud, bucket, identity, [(1, again)], if_match='other') == (412, 'IfMatchFailed')
    commit(cloud, bucket, identity, [(1, again)], if_none_match='*')
    assert storage.get_object(cloud.namespace, bucket, 'big').data.content == b'new'


def test_the_checksum_of_an_upload(cloud):
    storage, bucket = cloud.storage, cloud.bucket()
    made = storage.create_multipart_upload(cloud.namespace, bucket, models.CreateMultipartUploadDetails(object='big'), opc_checksum_algorithm='SHA256').data
    assert refused(storage.upload_part, cloud.namespace, bucket, 'big', made.upload_id, 1, b'x') == (400, 'MissingOrInvalidChecksumType')
    etag = storage.upload_part(cloud.namespace, bucket, 'big', made.upload_id, 1, b'x', opc_checksum_algorithm='SHA256').headers['etag']
    whole = base64.b64encode(hashlib.sha256(hashlib.sha256(b'x').digest()).digest()).decode() + '-1'
    assert commit(cloud, bucket, made.upload_id, [(1, etag)]).headers['opc-multipart-sha256'] == whole


def test_the_upload_manager_of_the_sdk(cloud, tmp_path):
    bucket, data = cloud.bucket(), os.urandom(5 << 20)
    (tmp_path / 'file').write_bytes(data)
    manager = oci.object_storage.UploadManager(cloud.storage, allow_parallel_uploads=True, parallel_process_count=3)
    manager.upload_file(cloud.namespace, bucket, 'big', str(tmp_path / 'file'), part_size=1 << 20)
    assert cloud.storage.get_object(cloud.namespace, bucket, 'big').data.content == data
    assert cloud.control.counters()['operations']['upload_part'] == 5
