# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Object Storage: multipart uploads (at most 10,000 parts of at most 50 GiB each, and 10 TiB in all)."""
import base64
import hashlib
import uuid

from . import bodies, buckets, clock, objects, pages
from .errors import ServiceError, missing
from .messages import Answer

MAX_PARTS = 10000
MAX_OBJECT = 10 << 40       # bytes


def _describe(request, upload):
    return {'namespace': request.service.namespace, 'bucket': upload['bucket_name'], 'object': upload['object'], 'uploadId': upload['id'],
            'timeCreated': clock.iso(upload['created']), 'storageTier': 'Standard'}


def find(request, bucket):
    """The upload that the request names, of that bucket and object; ServiceError 404."""
    upload = request.service.store.get('upload', request.query['uploadId'])
    if upload is None or upload['bucket'] != bucket['bucket'] or upload['object'] != request.parameters['objectName']:
        raise ServiceError(404, 'UploadNotFound', "The upload ID '%s' was not found" % request.query['uploadId'])
    return upload


def begin(request, bucket, name, about):
    """A new upload of an object of that name."""
    service = request.service
    objects.check_name(name)
    algorithm = request.headers.get('opc-checksum-algorithm')
    if algorithm is not None and algorithm not in bodies.ALGORITHMS:
        raise ServiceError(400, 'MissingOrInvalidChecksumType', "The checksum algorithm '%s' is not supported" % algorithm)
    with service.store.lock:
        record = service.store.get('object', '%s/%s' % (bucket['bucket'], name))
        buckets.match(request, record and record['etag'], 'object')
        upload = {'id': str(uuid.uuid4()), 'bucket': bucket['bucket'], 'bucket_name': bucket['name'], 'object': name, 'headers': about,
                  'created': clock.now(service.settings), 'algorithm': algorithm}
        service.store.put('upload', upload['id'], upload)
    return upload


def create(request):
    """CreateMultipartUpload."""
    bucket, body = buckets.find(request), request.body
    given = {'content-type': body.get('contentType'), 'content-language': body.get('contentLanguage'), 'content-encoding': body.get('contentEncoding'),
             'content-disposition': body.get('contentDisposition'), 'cache-control': body.get('cacheControl')}
    for key, value in (body.get('metadata') or {}).items():
        if not key.lower().startswith('opc-meta-'):
            raise ServiceError(400, 'InvalidMetadata', "The metadata key '%s' does not start with 'opc-meta-'" % key)
        given[key.lower()] = value
    upload = begin(request, bucket, body['object'], {key: value for key, value in given.items() if value is not None})
    return Answer(200, _describe(request, upload), {'location': '/n/%s/b/%s/u/%s' % (request.service.namespace, bucket['name'], body['object'])})


def receive_part(request, bucket, upload, number):
    """One part; of two with one number the later one stays."""
    service, store = request.service, request.service.store
    if not 1 <= number <= MAX_PARTS:
        raise ServiceError(400, 'InvalidUploadPartNumber', 'The part number must be between 1 and %d' % MAX_PARTS)
    key = '%s/%05d' % (upload['id'], number)
    old = store.get('part', key)
    buckets.match(request, old and old['etag'], 'part')
    blob, path = store.new_blob()
    try:
        got = request.receive(path)
        with store.lock:
            if store.get('upload', upload['id']) is None:
                raise ServiceError(404, 'UploadNotFound', "The upload ID '%s' was not found" % upload['id'])
            if upload['algorithm'] != got['algorithm'] and upload['algorithm'] is not None:
                raise ServiceError(400, 'MissingOrInvalidChecksumType', 'The checksum algorithm of a part is that of its upload: %s' % upload['algorithm'])
            old = store.get('part', key)
            etag = str(uuid.uuid4())
            store.put('part', key, {'number': number, 'etag': etag, 'md5': got['md5'], 'size': got['size'], 'digest': got['digest'], 'blobs': [blob]})
            if old:
                store.drop(old['blobs'])
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    service.counters.part(upload['id'], number)
    headers = {'etag': etag, 'opc-content-md5': got['md5']}
    if got['algorithm']:
        headers[bodies.ALGORITHMS[got['algorithm']]] = got['digest']
    return Answer(200, headers=headers)


def put_part(request):
    """UploadPart."""
    bucket = buckets.find(request)
    return receive_part(request, bucket, find(request, bucket), request.query['uploadPartNum'])


def list_uploads(request):
    """ListMultipartUploads of a bucket."""
    bucket = buckets.find(request)
    found = sorted((r for _key, r in request.service.store.all('upload') if r['bucket'] == bucket['bucket']), key=lambda r: (r['object'], r['id']))
    shown, headers = pages.page(request, found, lambda record: record['id'])
    return Answer(200, [_describe(request, record) for record in shown], headers)


def parts(store, upload):
    """The parts that are there, by number."""
    return {record['number']: record for _key, record in store.all('part', upload['id'] + '/')}


def list_parts(request):
    """ListMultipartUploadParts."""
    upload = find(request, buckets.find(request))
    found = [record for _number, record in sorted(parts(request.service.store, upload).items())]
    shown, headers = pages.page(request, found, lambda record: record['number'])
    return Answer(200, [{'etag': r['etag'], 'md5': r['md5'], 'size': r['size'], 'partNumber': r['number']} for r in shown], headers)


def _whole(chosen, field):
    """The digest of the parts' digests, and their number, as `opc-multipart-md5` has it."""
    joined = b''.join(base64.b64decode(part[field]) for part in chosen)
    return joined, len(chosen)


def finish(request, bucket, upload, chosen, there):
    """The parts become the object. Call with the store's lock held."""
    service, store = request.service, request.service.store
    old = store.get('object', '%s/%s' % (bucket['bucket'], upload['object']))
    buckets.match(request, old and old['etag'], 'object')
    if sum(part['size'] for part in chosen) > MAX_OBJECT:
        raise ServiceError(400, 'InvalidUploadPart', 'The object would be larger than 10 TiB')
    joined, count = _whole(chosen, 'md5')
    digest = '%s-%d' % (bodies.text(hashlib.md5(joined).digest()), count)
    record = objects.publish(store, service.settings, bucket, upload['object'], {
        'size': sum(part['size'] for part in chosen), 'md5': None, 'multipart': digest, 'blobs': [part['blobs'][0] for part in chosen],
        'sizes': [part['size'] for part in chosen], 'headers': upload['headers']})
    forget(store, upload, there, {part['number'] for part in chosen})
    headers = {'etag': record['etag'], 'opc-multipart-md5': digest, 'last-modified': clock.http(record['modified']), 'version-id': record['version']}
    if upload['algorithm']:
        joined, count = _whole(chosen, 'digest')
        other = bodies.hasher(upload['algorithm'])
        other.update(joined)
        headers['opc-multipart-' + upload['algorithm'].lower()] = '%s-%d' % (bodies.text(other.digest()), count)
    return Answer(200, headers=headers)


def forget(store, upload, there, kept=()):
    """The upload is over: its records go, and the blobs of parts that no object has."""
    store.delete('upload', upload['id'])
    for number, part in there.items():
        store.delete('part', '%s/%05d' % (upload['id'], number))
        if number not in kept:
            store.drop(part['blobs'])


def commit(request):
    """CommitMultipartUpload: each part that is there is either committed or excluded, in ascending order."""
    store = request.service.store
    with store.lock:
        bucket = buckets.find(request)
        upload = find(request, bucket)
        there, listed = parts(store, upload), request.body['partsToCommit']
        excluded = set(request.body.get('partsToExclude') or ())
        numbers = [part['partNum'] for part in listed]
        if not numbers:
            raise missing('body.partsToCommit may not be empty')
        if numbers != sorted(set(numbers)):
            raise ServiceError(400, 'InvalidUploadPartOrder', 'The list of parts is not in ascending order of part numbers')
        for part in listed:
            if part['partNum'] not in there or there[part['partNum']]['etag'] != part['etag']:
                raise ServiceError(400, 'InvalidUploadPart', "The part %d was not found, or its ETag is not '%s'" % (part['partNum'], part['etag']))
        if excluded & set(numbers) or not excluded <= set(there) or set(there) - excluded - set(numbers):
            raise ServiceError(400, 'InvalidUploadPart', 'Each part must be in either partsToCommit or partsToExclude')
        return finish(request, bucket, upload, [there[number] for number in numbers], there)


def abort(request):
    """AbortMultipartUpload."""
    store = request.service.store
    with store.lock:
        upload = find(request, buckets.find(request))
        forget(store, upload, parts(store, upload))
    return Answer(204)
