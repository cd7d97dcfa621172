# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Object Storage: pre-authenticated requests, their administration, and the access through them (Working with Pre-Authenticated Requests)."""
import hashlib
import re
import secrets
from urllib.parse import parse_qsl, quote, unquote

from . import api, buckets, clock, multipart, objects, pages
from .errors import ServiceError, invalid, not_authenticated
from .messages import Answer
from .service import caller

ANY = {'AnyObjectRead', 'AnyObjectWrite', 'AnyObjectReadWrite'}
READS = {'ObjectRead', 'ObjectReadWrite', 'AnyObjectRead', 'AnyObjectReadWrite'}
WRITES = {'ObjectWrite', 'ObjectReadWrite', 'AnyObjectWrite', 'AnyObjectReadWrite'}
PATH = re.compile(r'^/p/(?P<token>[^/]+)/n/(?P<namespaceName>[^/]+)/b/(?P<bucketName>[^/]+)/(?P<what>o|u)/(?P<rest>.*)$')
UPLOAD = re.compile(r'^(?P<objectName>.+)/id/(?P<uploadId>[^/]+)/(?P<number>[^/]*)$')
OPERATIONS = {('o', 'GET'): 'par_get_object', ('o', 'HEAD'): 'par_head_object', ('o', 'PUT'): 'par_put_object',
              ('u', 'PUT'): 'par_upload_part', ('u', 'POST'): 'par_commit_upload', ('u', 'DELETE'): 'par_abort_upload', ('u', 'GET'): 'par_list_parts'}
STREAMED = {'par_put_object': 'put_object', 'par_upload_part': 'upload_part'}


def _digest(token):
    """The endpoint keeps no token, as the service keeps none."""
    return hashlib.sha256(token.encode()).hexdigest()


def _describe(record):
    made = {name: record[name] for name in ('id', 'name', 'accessType', 'objectName', 'bucketListingAction')}
    return dict(made, timeCreated=clock.iso(record['created']), timeExpires=clock.iso(record['expires']))


def create(request):
    """CreatePreauthenticatedRequest: the only answer that has the URI."""
    service, body = request.service, request.body
    bucket = buckets.find(request)
    expires = clock.parse_iso(body['timeExpires'])
    if expires <= clock.now(service.settings):
        raise ServiceError(400, 'InvalidParCreateRequest', 'The expiration date must be in the future')
    if body['accessType'] not in ANY and not body.get('objectName'):
        raise ServiceError(400, 'InvalidParCreateRequest', "An object name is required for the access type '%s'" % body['accessType'])
    listing = body.get('bucketListingAction')
    if listing not in (None, 'Deny', 'ListObjects') or listing == 'ListObjects' and body['accessType'] not in ANY:
        raise ServiceError(400, 'InvalidParCreateRequest', "bucketListingAction does not accept the value '%s' here" % listing)
    if body.get('objectName'):
        objects.check_name(body['objectName'])
    token = secrets.token_urlsafe(48)
    # as the service's, an id has characters that must be quoted in a path
    identity = '%s:%s' % (secrets.token_urlsafe(24) + '+/=', body.get('objectName') or '')
    record = {'id': identity, 'name': body['name'], 'accessType': body['accessType'], 'objectName': body.get('objectName'),
              'bucketListingAction': listing, 'created': clock.now(service.settings), 'expires': expires, 'bucket': bucket['bucket'],
              'token': _digest(token), 'creator': caller(request)}
    service.store.put('par', '%s/%s' % (bucket['bucket'], identity), record)
    name = '' if body['accessType'] in ANY else quote(record['objectName'], safe='/')
    uri = '/p/%s/n/%s/b/%s/o/%s' % (token, service.namespace, bucket['name'], name)
    return Answer(200, dict(_describe(record), accessUri=uri, fullPath=request.base + uri))


def _find(request):
    bucket = buckets.find(request)
    key = '%s/%s' % (bucket['bucket'], request.parameters['parId'])
    record = request.service.store.get('par', key)
    if record is None:
        raise ServiceError(404, 'PreauthenticatedRequestNotFound', "The pre-authenticated request '%s' was not found" % request.parameters['parId'])
    return key, record


def get(request):
    """GetPreauthenticatedRequest: all but the URI."""
    return Answer(200, _describe(_find(request)[1]))


def list_all(request):
    """ListPreauthenticatedRequests of a bucket."""
    bucket, prefix = buckets.find(request), request.query.get('objectNamePrefix', '')
    found = [r for _key, r in request.service.store.all('par', bucket['bucket'] + '/') if (r['objectName'] or '').startswith(prefix)]
    shown, headers = pages.page(request, found, lambda record: record['id'])
    return Answer(200, [_describe(record) for record in shown], headers)


def delete(request):
    """DeletePreauthenticatedRequest."""
    key, _record = _find(request)
    request.service.store.delete('par', key)
    return Answer(204)


def route(request):
    """Operation and parameters of a request for /p/...; ServiceError 404 or 405."""
    match = PATH.match(request.path)
    if not match:
        raise ServiceError(404, 'NotFound', 'There is no operation supported at the URI path and HTTP method you specified in the request.')
    operation = OPERATIONS.get((match['what'], request.method))
    if operation is None:
        raise ServiceError(405, 'MethodNotAllowed', 'The target resource does not support the HTTP method.')
    request.operation = operation
    request.parameters = {name: unquote(match[name]) for name in ('namespaceName', 'bucketName', 'token')}
    if match['what'] == 'o':
        request.parameters['objectName'] = unquote(match['rest'])
        return
    upload = UPLOAD.match(match['rest'])
    if not upload:
        raise ServiceError(404, 'NotFound', 'There is no operation supported at the URI path and HTTP method you specified in the request.')
    request.parameters.update(objectName=unquote(upload['objectName']), number=upload['number'])
    request.query['uploadId'] = upload['uploadId']


def usable(service, region, token, bucket_name):
    """The pre-authenticated request of a token; ServiceError 401 for one that is not there or has expired."""
    digest = _digest(token)
    bucket = service.store.get('bucket', '%s/%s' % (region, bucket_name))
    for _key, record in service.store.all('par', (bucket or {'bucket': '-'})['bucket'] + '/'):
        if digest in (record['token'], *record.get('uploads', {}).values()):
            if record['expires'] <= clock.now(service.settings):
                raise not_authenticated('PAR is expired')
            return record
    raise not_authenticated('PAR does not exist')


def _allowed(request, record):
    """This request is of what the pre-authenticated one gives; ServiceError 404 else."""
    name, given = request.parameters['objectName'], record['objectName']
    fits = name.startswith(given or '') if record['accessType'] in ANY else name == given
    reads = request.operation in ('par_get_object', 'par_head_object')
    if not fits or record['accessType'] not in (READS if reads else WRITES):
        raise ServiceError(404, 'NotAuthorizedOrNotFound', 'Authorization failed or requested resource not found.')


def serve(request):
    """An access through a pre-authenticated request: nobody signed it."""
    service = request.service
    record = usable(service, request.region, request.parameters['token'], request.parameters['bucketName'])
    like = {'par_get_object': 'get_object', 'par_head_object': 'head_object'}.get(request.operation)
    pairs = parse_qsl(request.target.partition('?')[2], keep_blank_values=True)
    if request.operation == 'par_get_object' and request.parameters['objectName'] in ('', record['objectName']) and record['accessType'] in ANY:
        if record['bucketListingAction'] != 'ListObjects':
            raise ServiceError(404, 'NotAuthorizedOrNotFound', 'Authorization failed or requested resource not found.')
        request.query = dict({'prefix': record['objectName'] or ''}, **api.query('list_objects', pairs))
        return objects.list_all(request)
    _allowed(request, record)
    if like:
        request.query = api.query(like, pairs)
        api.headers(like, request.headers)
        return {'get_object': objects.get, 'head_object': objects.head}[like](request)
    if pairs:
        raise invalid("Unknown query parameter '%s'" % pairs[0][0])
    if request.operation in STREAMED:
        api.headers(STREAMED[request.operation], {name: value for name, value in request.headers.items() if name != 'opc-multipart'})
    if request.operation == 'par_put_object':
        if 'opc-multipart' in request.headers:
            return _begin(request, record)
        return objects.put(request)
    return _of_upload(request, record)


def _begin(request, record):
    """PUT with `opc-multipart: true`: an upload, whose own URI takes the parts."""
    if request.headers['opc-multipart'].lower() != 'true' or request.headers.get('content-length', '0') != '0':
        raise invalid("The header opc-multipart must be 'true', and the body empty")
    service, bucket = request.service, buckets.find(request)
    name = request.parameters['objectName']
    token = secrets.token_urlsafe(48)
    with service.store.lock:
        upload = multipart.begin(request, bucket, name, objects.kept(request.headers))
        uploads = dict(record.get('uploads', {}), **{upload['id']: _digest(token)})
        service.store.put('par', '%s/%s' % (bucket['bucket'], record['id']), dict(record, uploads=uploads))
    uri = '/p/%s/n/%s/b/%s/u/%s/id/%s/' % (token, service.namespace, bucket['name'], quote(name, safe='/'), upload['id'])
    return Answer(200, {'namespace': service.namespace, 'bucket': bucket['name'], 'object': name, 'uploadId': upload['id'],
                        'timeCreated': clock.iso(upload['created']), 'storageTier': 'Standard', 'accessUri': uri})


def _of_upload(request, record):
    """PUT accessUri + number, POST and DELETE accessUri. The token is the upload's own, not that of the pre-authenticated request."""
    bucket, store = buckets.find(request), request.service.store
    if record.get('uploads', {}).get(request.query['uploadId']) != _digest(request.parameters['token']):
        raise not_authenticated('PAR does not exist')
    upload, number = multipart.find(request, bucket), request.parameters['number']
    if request.operation == 'par_upload_part':
        if not re.fullmatch('[0-9]{1,5}', number):
            raise ServiceError(400, 'InvalidUploadPartNumber', "The part number '%s' is not valid" % number)
        return multipart.receive_part(request, bucket, upload, int(number))
    if number or request.operation == 'par_list_parts':
        raise ServiceError(405, 'MethodNotAllowed', 'The target resource does not support the HTTP method.')
    with store.lock:
        there = multipart.parts(store, upload)
        if request.operation == 'par_abort_upload':
            multipart.forget(store, upload, there)
            return Answer(204)
        if not there:
            raise ServiceError(400, 'InvalidUploadPart', 'The upload has no parts')
        return multipart.finish(request, bucket, upload, [there[number] for number in sorted(there)], there)
