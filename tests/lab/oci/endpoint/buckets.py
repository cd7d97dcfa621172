# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Object Storage: namespaces and buckets."""
import re
import secrets

from . import clock, pages, tags
from .errors import ServiceError, conflict
from .messages import Answer
from .service import caller

OPTIONS = {'publicAccessType': 'NoPublicAccess', 'storageTier': 'Standard', 'versioning': 'Disabled', 'objectEventsEnabled': False,
           'autoTiering': 'Disabled', 'metadata': {}, 'freeformTags': {}, 'definedTags': {}}


def check_namespace(request):
    """The caller's namespace is the only one it can reach."""
    if request.parameters['namespaceName'] != request.service.namespace:
        raise ServiceError(404, 'NamespaceNotFound', 'You do not have authorization to perform this request, or the requested resource could not be found.')


def _key(request, name):
    return '%s/%s' % (request.region, name)


def find(request):
    """The bucket of the path. One of another region is not there; ServiceError 404."""
    check_namespace(request)
    name = request.parameters['bucketName']
    record = request.service.store.get('bucket', _key(request, name))
    if record is None or record['compartment'] in request.service.settings['denied']:
        raise ServiceError(404, 'BucketNotFound', "Either the bucket named '%s' does not exist in the namespace '%s' or you are not authorized to access it" % (
            name, request.service.namespace))
    return record


def match(request, etag, what):
    """if-match and if-none-match of a resource with that ETag (None: it is not there); ServiceError 412."""
    wanted, unwanted = request.headers.get('if-match'), request.headers.get('if-none-match')
    if wanted and unwanted:
        raise ServiceError(400, 'InvalidConditionalHeaders', 'Only one of If-Match and If-None-Match is accepted')
    if unwanted not in (None, '*') and request.method not in ('GET', 'HEAD'):
        raise ServiceError(400, 'IfNoneMatchDisallowed', "The only valid value of If-None-Match is '*'")
    if wanted and wanted not in ('*', etag) or wanted == '*' and etag is None:
        raise ServiceError(412, 'IfMatchFailed', "The If-Match header is set to '%s' but the current ETag of the %s is '%s'" % (wanted, what, etag))
    if unwanted == '*' and etag is not None:
        raise ServiceError(412, 'IfNoneMatchFailed', "The If-None-Match header is set to '*' but the %s exists" % what)


def describe(request, record, summary=False):
    """A bucket as the API shows it."""
    made = {'namespace': request.service.namespace, 'name': record['name'], 'compartmentId': record['compartment'], 'createdBy': record['creator'],
            'timeCreated': clock.iso(record['created']), 'etag': record['etag']}
    if summary:
        if 'tags' in request.query.get('fields', ()):
            made.update(freeformTags=record['options']['freeformTags'], definedTags=record['options']['definedTags'])
        return made
    made.update(record['options'], id=record['ocid'], isReadOnly=False, replicationEnabled=False, kmsKeyId=None, objectLifecyclePolicyEtag=None,
                approximateCount=None, approximateSize=None)
    objects = [r for _key, r in request.service.store.all('object', record['bucket'] + '/')]
    fields = request.query.get('fields', ())
    if 'approximateCount' in fields:
        made['approximateCount'] = len(objects)
    if 'approximateSize' in fields:
        made['approximateSize'] = sum(r['size'] for r in objects)
    return made


def get_namespace(request):
    """GetNamespace: a JSON string."""
    if 'compartmentId' in request.query:
        request.service.compartment(request.query['compartmentId'])
    return Answer(200, request.service.namespace)


def get_namespace_metadata(request):
    """GetNamespaceMetadata."""
    check_namespace(request)
    tenancy = request.service.tenancy
    return Answer(200, {'namespace': request.service.namespace, 'defaultS3CompartmentId': tenancy, 'defaultSwiftCompartmentId': tenancy})


def create(request):
    """CreateBucket."""
    check_namespace(request)
    service, body = request.service, request.body
    if not re.fullmatch(r'[A-Za-z0-9._-]{1,256}', body['name']):
        raise ServiceError(400, 'InvalidBucketName', "The bucket name '%s' is not valid" % body['name'])
    if not body['compartmentId'].startswith('ocid1.'):
        raise ServiceError(400, 'InvalidCompartmentId', "Invalid compartmentId '%s'" % body['compartmentId'])
    service.compartment(body['compartmentId'])
    tags.check(body)
    with service.store.lock:
        if service.store.get('bucket', _key(request, body['name'])):
            raise conflict("Either the bucket '%s' in namespace '%s' already exists or you are not authorized to create it" % (
                body['name'], service.namespace), 'BucketAlreadyExists')
        if len(service.store.all('bucket', request.region + '/')) >= service.settings['bucket_limit']:
            raise ServiceError(400, 'TooManyBuckets', 'The number of buckets exceeds the limit of %d' % service.settings['bucket_limit'])
        options = {name: default if body.get(name) is None else body[name] for name, default in OPTIONS.items()}
        identity = secrets.token_hex(8)
        record = {'bucket': identity, 'name': body['name'], 'region': request.region, 'compartment': body['compartmentId'], 'creator': caller(request),
                  'ocid': 'ocid1.bucket.oc1.%s.%s' % (request.region, identity), 'created': clock.now(service.settings),
                  'etag': secrets.token_hex(16), 'options': options}
        service.store.put('bucket', _key(request, body['name']), record)
    return Answer(200, describe(request, record), {'etag': record['etag'], 'location': '/n/%s/b/%s' % (service.namespace, body['name'])})


def get(request):
    """GetBucket."""
    record = find(request)
    if request.headers.get('if-none-match') == record['etag']:
        return Answer(304, headers={'etag': record['etag']})
    match(request, record['etag'], 'bucket')
    return Answer(200, describe(request, record), {'etag': record['etag']})


def head(request):
    """HeadBucket."""
    record = find(request)
    match(request, record['etag'], 'bucket')
    return Answer(200, headers={'etag': record['etag']})


def update(request):
    """UpdateBucket: options, tags, compartment."""
    body, store = request.body, request.service.store
    with store.lock:
        record = find(request)
        match(request, record['etag'], 'bucket')
        tags.check(body)
        if body.get('name') not in (None, record['name']):
            raise ServiceError(400, 'InvalidBucketName', 'Renaming of a bucket is not done here')
        record['compartment'] = request.service.compartment(body.get('compartmentId') or record['compartment'])
        record['options'] = dict(record['options'], **{name: body[name] for name in OPTIONS if body.get(name) is not None})
        record['etag'] = secrets.token_hex(16)
        store.put('bucket', _key(request, record['name']), record)
    return Answer(200, describe(request, record), {'etag': record['etag']})


def list_all(request):
    """ListBuckets of one compartment."""
    check_namespace(request)
    wanted = request.service.compartment(request.query['compartmentId'])
    found = [r for _key, r in request.service.store.all('bucket', request.region + '/') if r['compartment'] == wanted]
    shown, headers = pages.page(request, found, lambda record: record['name'])
    return Answer(200, [describe(request, record, summary=True) for record in shown], headers)


def delete(request):
    """DeleteBucket: only an empty one, without uploads and pre-authenticated requests."""
    store = request.service.store
    with store.lock:
        record = find(request)
        match(request, record['etag'], 'bucket')
        prefix = record['bucket'] + '/'
        if store.all('object', prefix):
            raise conflict("Bucket named '%s' is not empty. Delete all objects first." % record['name'], 'BucketNotEmpty')
        if any(r['bucket'] == record['bucket'] for _key, r in store.all('upload')):
            raise conflict("Bucket named '%s' has pending multipart uploads. Stop all multipart uploads first." % record['name'], 'BucketNotEmpty')
        if any(r['bucket'] == record['bucket'] for _key, r in store.all('par')):
            raise conflict("Bucket named '%s' has pre-authenticated requests. Delete all of them first." % record['name'],
                           'PreauthenticatedRequestStillExists')
        store.delete('bucket', _key(request, record['name']))
    return Answer(204)
