# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Compute: custom images."""
import hashlib
import json
import re
import secrets
from urllib.parse import unquote, urlsplit

from . import clock, importer, pages, par, tags, workrequests
from .errors import ServiceError, conflict, invalid, missing, not_found
from .messages import Answer
from .service import caller, ocid

# What a launch mode says of an image's launch options (Image, LaunchOptions in the API reference).
LAUNCH = {
    'PARAVIRTUALIZED': ('PARAVIRTUALIZED', 'BIOS', 'PARAVIRTUALIZED', 'PARAVIRTUALIZED'),
    'NATIVE': ('ISCSI', 'UEFI_64', 'VFIO', 'ISCSI'),
    'EMULATED': ('SCSI', 'BIOS', 'E1000', 'SCSI')}
LAUNCH_FIELDS = ('bootVolumeType', 'firmware', 'networkType', 'remoteDataVolumeType')
TOKEN_LIFE = 24 * 3600      # seconds that a retry token is remembered


def describe(identity, record):
    """An image as the API shows it."""
    options = dict(zip(LAUNCH_FIELDS, LAUNCH[record['launch_mode']]), isPvEncryptionInTransitEnabled=False, isConsistentVolumeNamingEnabled=False)
    options.update(record.get('options') or {})
    size = record.get('virtual_size')
    return {
        'id': identity, 'compartmentId': record['compartment'], 'displayName': record['name'], 'lifecycleState': record['state'], 'baseImageId': None,
        'createImageAllowed': True, 'operatingSystem': record['system'], 'operatingSystemVersion': record['version'], 'launchMode': record['launch_mode'],
        'launchOptions': options, 'agentFeatures': None, 'timeCreated': clock.iso(record['created']), 'freeformTags': record['freeform'],
        'definedTags': record['defined'], 'listingType': None, 'sizeInMBs': size and -(-size >> 20), 'billableSizeInGBs': size and -(-size >> 30)}


def find(request, identity=None):
    """(OCID, record) of the image in the path; ServiceError 404."""
    identity = identity or request.parameters['imageId']
    record = request.service.store.get('image', identity)
    if record is None or record['region'] != request.region:
        raise not_found()
    request.service.compartment(record['compartment'])
    return identity, record


def available(request, identity=None):
    """As find; ServiceError 409 unless the image is AVAILABLE."""
    identity, record = find(request, identity)
    if record['state'] == 'DELETED':
        raise not_found()
    if record['state'] != 'AVAILABLE':
        raise conflict('The image %s is in state %s, which does not allow this operation.' % (identity, record['state']), 'IncorrectState')
    return identity, record


def _match(request, record):
    """if-match of an image; ServiceError 412."""
    wanted = request.headers.get('if-match')
    if wanted not in (None, '*', record['etag']):
        raise ServiceError(412, 'NoEtagMatch', "The If-Match header '%s' does not match the current ETag." % wanted)


def _source(request, details):
    """Where the import reads: the object's region, bucket and name, as it is now; ServiceError 400 where it is not there."""
    service, region = request.service, request.region
    gone = invalid('Invalid objectName: Specified object or bucket or namespace to import image from does not exist')
    pre = None
    if details['sourceType'] == 'objectStorageTuple':
        # the service cannot act for an instance here (oci-cli issue 384): it needs a URI
        if request.principal['kind'] != 'user' or details['namespaceName'] != service.namespace:
            raise gone
        bucket_name, name = details['bucketName'], details['objectName']
    else:
        parts = urlsplit(details['sourceUri'])
        match = re.fullmatch(r'(?:/p/(?P<token>[^/]+))?/n/(?P<n>[^/]+)/b/(?P<b>[^/]+)/o/(?P<o>.+)', parts.path)
        if parts.scheme != 'https' or not match or parts.query or unquote(match['n']) != service.namespace:
            raise invalid('Invalid sourceUri: %s' % details['sourceUri'].partition('/p/')[0])
        bucket_name, name = unquote(match['b']), unquote(match['o'])
        region = service.region_of(parts.netloc)
        if region is None:
            raise gone
        if match['token']:
            try:
                record = par.usable(service, region, unquote(match['token']), bucket_name)
            except ServiceError as fault:
                raise invalid('Invalid sourceUri: the pre-authenticated request does not exist or has expired') from fault
            if record['accessType'] not in par.READS or not (record['accessType'] in par.ANY or record['objectName'] == name):
                raise invalid('Invalid sourceUri: the pre-authenticated request does not allow reading the object')
            pre = '%s/%s' % (record['bucket'], record['id'])
        elif request.principal['kind'] != 'user':
            raise gone
    bucket = service.store.get('bucket', '%s/%s' % (region, bucket_name))
    found = bucket and service.store.get('object', '%s/%s' % (bucket['bucket'], name))
    if not found:
        raise gone
    return {'object': '%s/%s' % (bucket['bucket'], name), 'etag': found['etag'], 'par': pre, 'kind': details.get('sourceImageType')}


def _again(request, digest):
    """The image that this retry token made before, or None; ServiceError 409 where the token is no longer good."""
    token = request.headers.get('opc-retry-token')
    if token is None:
        return None
    known = request.service.store.get('token', '%s/%s' % (caller(request), token))
    if known is None or known['at'] + TOKEN_LIFE < clock.now(request.service.settings):
        return None
    if known['digest'] != digest:
        raise conflict('The provided retry token was used in an earlier request with a different body.', 'InvalidRetryToken')
    record = request.service.store.get('image', known['image'])
    if record['state'] == 'DELETED':
        raise conflict('The provided retry token was used in an earlier request, and what that made has been deleted.', 'InvalidatedRetryToken')
    return known['image'], record


def create(request):
    """CreateImage, by import of an object."""
    service, body = request.service, request.body
    tags.check(body)
    if not body.get('imageSourceDetails'):
        raise missing('body.imageSourceDetails may not be null') if not body.get('instanceId') else not_found()
    if body.get('instanceId'):
        raise invalid('Only one of instanceId and imageSourceDetails is accepted')
    mode = body.get('launchMode') or 'PARAVIRTUALIZED'
    if mode not in LAUNCH:
        raise invalid("launchMode does not accept the value '%s' for an import" % mode)
    service.compartment(body['compartmentId'])
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    with service.store.lock:
        before = _again(request, digest)
        if before:
            return Answer(200, describe(*before), {'etag': before[1]['etag'], 'opc-work-request-id': before[1]['work_request']})
        source = _source(request, body['imageSourceDetails'])
        if sum(r['state'] != 'DELETED' and r['region'] == request.region for _key, r in service.store.all('image')) >= service.settings['image_limit']:
            raise ServiceError(400, 'LimitExceeded', 'The following service limits were exceeded: custom-image-count. '
                                                     'Request a service limit increase from the service limits page in the console.')
        identity = ocid('image', request.region)
        now = clock.now(service.settings)
        details = body['imageSourceDetails']
        record = {
            'region': request.region, 'compartment': body['compartmentId'], 'name': body.get('displayName') or 'image' + clock.iso(now)[:19].replace(':', ''),
            'state': 'PROVISIONING', 'system': details.get('operatingSystem') or 'Custom', 'version': details.get('operatingSystemVersion') or 'Custom',
            'launch_mode': mode, 'created': now, 'freeform': body.get('freeformTags') or {}, 'defined': body.get('definedTags') or {},
            'etag': secrets.token_hex(32), 'source': source, 'shapes': None,
            'work_request': workrequests.start(service, request.region, body['compartmentId'], 'CreateImage', 'image', identity)}
        service.store.put('image', identity, record)
        if 'opc-retry-token' in request.headers:
            service.store.put('token', '%s/%s' % (caller(request), request.headers['opc-retry-token']), {'digest': digest, 'image': identity, 'at': now})
    importer.start(service, identity)
    return Answer(200, describe(identity, record), {'etag': record['etag'], 'opc-work-request-id': record['work_request']})


def get(request):
    """GetImage; one that is DELETED is still shown."""
    identity, record = find(request)
    return Answer(200, describe(identity, record), {'etag': record['etag']})


def list_all(request):
    """ListImages of a compartment: without lifecycleState those that are not DELETED."""
    service, query = request.service, request.query
    wanted = service.compartment(query['compartmentId'])
    found = [(key, r) for key, r in service.store.all('image') if r['compartment'] == wanted and r['region'] == request.region]
    state = query.get('lifecycleState')
    found = [item for item in found if (item[1]['state'] == state if state else item[1]['state'] != 'DELETED')]
    for name, field in (('displayName', 'name'), ('operatingSystem', 'system'), ('operatingSystemVersion', 'version')):
        if name in query:
            found = [item for item in found if item[1][field] == query[name]]
    if 'shape' in query:
        found = [item for item in found if query['shape'] in (item[1]['shapes'] or {})]
    if 'sortOrder' in query and 'sortBy' not in query:
        raise invalid('sortOrder needs sortBy')
    by_name = query.get('sortBy') == 'DISPLAYNAME'
    found.sort(key=lambda item: (item[1]['name'] if by_name else item[1]['created'], item[0]),
               reverse=query.get('sortOrder', 'ASC' if by_name else 'DESC') == 'DESC')
    shown, headers = pages.page(request, found, lambda item: item[0])
    return Answer(200, [describe(*item) for item in shown], headers)


def update(request):
    """UpdateImage: name, tags, operating system."""
    service, body = request.service, request.body
    tags.check(body)
    with service.store.lock:
        identity, record = available(request)
        _match(request, record)
        for name, field in (('displayName', 'name'), ('freeformTags', 'freeform'), ('definedTags', 'defined'), ('operatingSystem', 'system'),
                            ('operatingSystemVersion', 'version')):
            if body.get(name) is not None:
                record[field] = body[name]
        record['etag'] = secrets.token_hex(32)
        service.store.put('image', identity, record)
    return Answer(200, describe(identity, record), {'etag': record['etag']})


def delete(request):
    """DeleteImage: one that is still imported cannot be deleted."""
    store = request.service.store
    with store.lock:
        identity, record = available(request)
        _match(request, record)
        store.put('image', identity, dict(record, state='DELETED', etag=secrets.token_hex(32)))
        for key, schema in store.all('schema'):
            if schema['image'] == identity:
                store.delete('schema', key)
    return Answer(204)
