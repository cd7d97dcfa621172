# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Object Storage: objects. One is a list of blobs: one of PutObject, one a part of a multipart upload."""
import re
import uuid

from . import bodies, buckets, clock
from .errors import ServiceError, invalid
from .messages import Answer

FIELDS = ('name', 'size', 'etag', 'timeCreated', 'md5', 'timeModified', 'storageTier', 'archivalState')
KEPT_HEADERS = ('content-type', 'content-language', 'content-encoding', 'content-disposition', 'cache-control')
MAX_LIST = 1000


def check_name(name):
    """At most 1,024 bytes of UTF-8, no NUL, line feed or carriage return (Object Names)."""
    if not name or len(name.encode('utf-8', 'surrogatepass')) > 1024 or re.search(r'[\0\r\n]', name):
        raise ServiceError(400, 'InvalidObjectName', "The object name '%s' is not valid" % name)


def not_found(name, bucket):
    """ServiceError 404 of an object."""
    return ServiceError(404, 'ObjectNotFound', "The object '%s' was not found in the bucket '%s'" % (name, bucket['name']))


def kept(headers):
    """What of a request's headers stays with the object."""
    return {name: value for name, value in headers.items() if name in KEPT_HEADERS or name.startswith('opc-meta-')}


def publish(store, settings, bucket, name, about):
    """The object is there from now on, in place of what had its name. Call with the store's lock held."""
    key = '%s/%s' % (bucket['bucket'], name)
    old = store.get('object', key)
    now = clock.now(settings)
    record = dict(about, bucket=bucket['bucket'], name=name, etag=str(uuid.uuid4()), created=old['created'] if old else now, modified=now,
                  version=str(uuid.uuid4()))
    store.put('object', key, record)
    if old:
        store.drop(old['blobs'])
    return record


def put(request):
    """PutObject: the conditions are looked at before the body comes, and again when it is whole."""
    service, name = request.service, request.parameters['objectName']
    bucket = buckets.find(request)
    check_name(name)
    if request.headers.get('expect', '100-continue').lower() != '100-continue':
        raise invalid("The only value of Expect is '100-continue'")
    key = '%s/%s' % (bucket['bucket'], name)
    etag = (service.store.get('object', key) or {}).get('etag')
    buckets.match(request, etag, 'object')
    blob, path = service.store.new_blob()
    try:
        got = request.receive(path)
        with service.store.lock:
            bucket = buckets.find(request)
            buckets.match(request, (service.store.get('object', key) or {}).get('etag'), 'object')
            record = publish(service.store, service.settings, bucket, name, {
                'size': got['size'], 'md5': got['md5'], 'multipart': None, 'blobs': [blob], 'sizes': [got['size']], 'headers': kept(request.headers)})
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    headers = {'etag': record['etag'], 'opc-content-md5': got['md5'], 'last-modified': clock.http(record['modified']), 'version-id': record['version']}
    if got['algorithm']:
        headers[bodies.ALGORITHMS[got['algorithm']]] = got['digest']
    return Answer(200, headers=headers)


def _find(request):
    bucket = buckets.find(request)
    name = request.parameters['objectName']
    record = request.service.store.get('object', '%s/%s' % (bucket['bucket'], name))
    if record is None or request.query.get('versionId', record['version']) != record['version']:
        raise not_found(name, bucket)
    return record


def _headers(record):
    made = dict({'content-type': 'application/octet-stream'}, **record['headers'])
    made.update({'etag': record['etag'], 'last-modified': clock.http(record['modified']), 'accept-ranges': 'bytes', 'storage-tier': 'Standard',
                 'version-id': record['version'], 'content-length': str(record['size'])})
    if record['multipart']:
        made['opc-multipart-md5'] = record['multipart']
    else:
        made['content-md5'] = record['md5']
    return made


def head(request):
    """HeadObject."""
    record = _find(request)
    if request.headers.get('if-none-match') == record['etag']:
        return Answer(304, headers={'etag': record['etag']})
    buckets.match(request, record['etag'], 'object')
    return Answer(200, headers=_headers(record))


def span(header, size):
    """(first byte, number of bytes) of a Range header; None for all; ServiceError 416."""
    if header is None:
        return None
    given = re.fullmatch(r'bytes=(\d*)-(\d*)', header)
    if not given or given.group(0) == 'bytes=-':
        raise ServiceError(416, 'InvalidRange', "The range '%s' is not valid" % header)
    first, last = given.groups()
    if not first:
        first, last = max(0, size - int(last)), size - 1
    else:
        first, last = int(first), min(int(last or size - 1), size - 1)
    if first > last:
        raise ServiceError(416, 'InvalidRange', "The range '%s' is not satisfiable" % header, {'content-range': 'bytes */%d' % size})
    return first, last - first + 1


def get(request):
    """GetObject, or a range of it."""
    store = request.service.store
    with store.lock:
        record = _find(request)
        if request.headers.get('if-none-match') == record['etag']:
            return Answer(304, headers={'etag': record['etag']})
        buckets.match(request, record['etag'], 'object')
        part = span(request.headers.get('range'), record['size'])
        files = store.pin(record['blobs'])
    headers = _headers(record)
    for name in ('Content-Disposition', 'Cache-Control', 'Content-Type', 'Content-Language', 'Content-Encoding', 'Expires'):
        given = request.query.get('httpResponse' + name.replace('-', ''))
        if given is not None:
            headers[name.lower()] = given
    if part:
        headers.update({'content-length': str(part[1]), 'content-range': 'bytes %d-%d/%d' % (part[0], sum(part) - 1, record['size'])})
        # the MD5 is that of the whole
        headers.pop('content-md5', None)
    return Answer(206 if part else 200, headers=headers, files=files, span=part or (0, record['size']), done=lambda: store.unpin(record['blobs']))


def delete(request):
    """DeleteObject."""
    store = request.service.store
    with store.lock:
        record = _find(request)
        buckets.match(request, record['etag'], 'object')
        store.delete('object', '%s/%s' % (record['bucket'], record['name']))
        store.drop(record['blobs'])
    return Answer(204, headers={'last-modified': clock.http(clock.now(request.service.settings))})


def _summary(record, fields):
    about = {'name': record['name'], 'size': record['size'], 'etag': record['etag'], 'timeCreated': clock.iso(record['created']),
             'md5': record['multipart'] or record['md5'], 'timeModified': clock.iso(record['modified']), 'storageTier': 'Standard', 'archivalState': None}
    return {field: about[field] for field in fields}


def list_all(request):
    """ListObjects: names in their order as bytes, from `start` or after `startAfter`, before `end`."""
    bucket, query = buckets.find(request), request.query
    fields = ['name'] + [field for field in query.get('fields', '').split(',') if field and field != 'name']
    known = {field.lower(): field for field in FIELDS}
    for field in fields:
        if field.lower() not in known:
            raise invalid("The parameter 'fields' does not accept the value '%s'" % field)
    if query.get('delimiter', '/') != '/':
        raise invalid("The parameter 'delimiter' accepts only '/'")
    prefix = query.get('prefix', '')
    found = sorted((r for _key, r in request.service.store.all('object', bucket['bucket'] + '/')), key=lambda r: r['name'].encode())
    found = [r for r in found if r['name'].startswith(prefix) and r['name'] >= query.get('start', '') and
             ('startAfter' not in query or r['name'] > query['startAfter']) and ('end' not in query or r['name'] < query['end'])]
    size = min(query.get('limit', MAX_LIST), request.service.settings['page_size'])
    shown, prefixes, following = [], [], None
    for record in found:
        folder = None
        if 'delimiter' in query and '/' in record['name'][len(prefix):]:
            folder = prefix + record['name'][len(prefix):].partition('/')[0] + '/'
            if folder in prefixes:
                continue
        if len(shown) + len(prefixes) == size:
            following = record['name']
            break
        if folder:
            prefixes.append(folder)
        else:
            shown.append(record)
    return Answer(200, {'objects': [_summary(r, [known[f.lower()] for f in fields]) for r in shown], 'prefixes': prefixes if 'delimiter' in query else None,
                        'nextStartWith': following})
