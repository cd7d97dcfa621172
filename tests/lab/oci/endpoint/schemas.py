# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Compute: the global image capability schema with its versions, and the schemas of images."""
import secrets

from . import clock, images, pages, tags
from .errors import ServiceError, conflict, invalid, not_found
from .messages import Answer
from .service import ocid

VOLUMES = ['ISCSI', 'SCSI', 'IDE', 'PARAVIRTUALIZED']
GLOBAL = 'ocid1.computeglobalimgcapschema.oc1.iad.labglobalschema'
# From the documentation of capabilities (Configuring Image Capabilities for Custom Images); each version adds to the one before.
VERSIONS = (('2020-06-02', 'f1b1b1d0-0001-4c1a-9d00-00000000lab1'), ('2021-09-14', 'f1b1b1d0-0002-4c1a-9d00-00000000lab2'),
            ('2024-03-28', 'f1b1b1d0-0003-4c1a-9d00-00000000lab3'))
ENUMS = {
    'Compute.LaunchMode': (['NATIVE', 'EMULATED', 'PARAVIRTUALIZED', 'CUSTOM'], 'PARAVIRTUALIZED', 0),
    'Compute.Firmware': (['BIOS', 'UEFI_64'], 'UEFI_64', 0),
    'Storage.BootVolumeType': (VOLUMES, 'PARAVIRTUALIZED', 0),
    'Storage.RemoteDataVolumeType': (VOLUMES, 'PARAVIRTUALIZED', 0),
    'Storage.LocalDataVolumeType': (VOLUMES + ['VFIO', 'NVME'], 'PARAVIRTUALIZED', 0),
    'Network.AttachmentType': (['VFIO', 'E1000', 'PARAVIRTUALIZED', 'VDPA'], 'PARAVIRTUALIZED', 0)}
BOOLEANS = {'Storage.ConsistentVolumeNaming': (True, 0), 'Storage.ParaVirtualization.EncryptionInTransit': (True, 0), 'Compute.SecureBoot': (False, 1),
            'Storage.Iscsi.MultipathDeviceSupported': (False, 1), 'Network.IPv6Only': (False, 2)}
NUMBERS = {'Storage.ParaVirtualization.AttachmentVersion': ([1, 2], 2, 0)}


def _global_data(version):
    made = {}
    for kind, table in (('enumstring', ENUMS), ('enuminteger', NUMBERS)):
        for name, (values, default, since) in table.items():
            if since <= version:
                made[name] = {'descriptorType': kind, 'source': 'GLOBAL', 'values': values, 'defaultValue': default}
    for name, (default, since) in BOOLEANS.items():
        if since <= version:
            made[name] = {'descriptorType': 'boolean', 'source': 'GLOBAL', 'defaultValue': default}
    return made


def _describe_global():
    return {'id': GLOBAL, 'compartmentId': None, 'name': 'OCI.ComputeGlobalImageCapabilitySchema', 'currentVersionName': VERSIONS[-1][1],
            'displayName': 'OCI.ComputeGlobalImageCapabilitySchema', 'timeCreated': VERSIONS[0][0] + 'T00:00:00.000Z', 'freeformTags': {}, 'definedTags': {}}


def _describe_version(number):
    day, name = VERSIONS[number]
    return {'name': name, 'computeGlobalImageCapabilitySchemaId': GLOBAL, 'displayName': 'OCI.ComputeGlobalImageCapabilitySchema',
            'timeCreated': day + 'T00:00:00.000Z'}


def list_globals(request):
    """ListComputeGlobalImageCapabilitySchemas: there is one."""
    if 'compartmentId' in request.query:
        request.service.compartment(request.query['compartmentId'])
    summary = _describe_global()
    del summary['name']
    found = [r for r in [summary] if request.query.get('displayName', r['displayName']) == r['displayName']]
    shown, headers = pages.page(request, found, lambda record: record['id'])
    return Answer(200, shown, headers)


def _global(request):
    if request.parameters['computeGlobalImageCapabilitySchemaId'] != GLOBAL:
        raise not_found()


def get_global(request):
    """GetComputeGlobalImageCapabilitySchema."""
    _global(request)
    return Answer(200, _describe_global(), {'etag': 'lab'})


def list_versions(request):
    """ListComputeGlobalImageCapabilitySchemaVersions."""
    _global(request)
    found = [_describe_version(number) for number in range(len(VERSIONS))]
    if request.query.get('sortOrder', 'DESC') == 'DESC':
        found.reverse()
    shown, headers = pages.page(request, found, lambda record: record['name'])
    return Answer(200, shown, headers)


def get_version(request):
    """GetComputeGlobalImageCapabilitySchemaVersion, with its data."""
    _global(request)
    for number, (_day, name) in enumerate(VERSIONS):
        if name == request.parameters['computeGlobalImageCapabilitySchemaVersionName']:
            return Answer(200, dict(_describe_version(number), schemaData=_global_data(number)))
    raise not_found()


def _number(name):
    names = [known for _day, known in VERSIONS]
    if name not in names:
        raise invalid("computeGlobalImageCapabilitySchemaVersionName '%s' does not exist" % name)
    return names.index(name)


def _check(data, version):
    """A schema only narrows the global one; ServiceError 400."""
    known = _global_data(version)
    if not data:
        raise invalid('schemaData may not be empty')
    for name, about in data.items():
        if name not in known:
            raise invalid("schemaData: the capability '%s' is not in the global schema version" % name)
        if about['descriptorType'] != known[name]['descriptorType']:
            raise invalid("schemaData: the capability '%s' is of type '%s'" % (name, known[name]['descriptorType']))
        if about['descriptorType'] == 'boolean':
            continue
        if not about['values'] or not set(about['values']) <= set(known[name]['values']):
            raise invalid("schemaData: the values of the capability '%s' must be among %s" % (name, known[name]['values']))
        if about.get('defaultValue') is not None and about['defaultValue'] not in about['values']:
            raise invalid("schemaData: the default of the capability '%s' is not among its values" % name)


def _describe(identity, record, data=None):
    made = {'id': identity, 'compartmentId': record['compartment'], 'imageId': record['image'], 'displayName': record['name'],
            'computeGlobalImageCapabilitySchemaId': GLOBAL, 'computeGlobalImageCapabilitySchemaVersionName': record['version'],
            'timeCreated': clock.iso(record['created']), 'freeformTags': record['freeform'], 'definedTags': record['defined']}
    if data is None:
        del made['computeGlobalImageCapabilitySchemaId']
        return made
    return dict(made, schemaData=data)


def create(request):
    """CreateComputeImageCapabilitySchema: one for an image."""
    service, body = request.service, request.body
    tags.check(body)
    service.compartment(body['compartmentId'])
    _check(body['schemaData'], _number(body['computeGlobalImageCapabilitySchemaVersionName']))
    with service.store.lock:
        images.available(request, body['imageId'])
        token = request.headers.get('opc-retry-token')
        for identity, record in service.store.all('schema'):
            if record['image'] == body['imageId']:
                if token and record['token'] == token:
                    return Answer(200, _describe(identity, record, record['data']), {'etag': record['etag']})
                raise conflict('The image %s already has a capability schema.' % body['imageId'])
        identity = ocid('computeimgcapschema', request.region)
        record = {'region': request.region, 'compartment': body['compartmentId'], 'image': body['imageId'], 'name': body.get('displayName') or 'schema',
                  'version': body['computeGlobalImageCapabilitySchemaVersionName'], 'data': body['schemaData'], 'created': clock.now(service.settings),
                  'freeform': body.get('freeformTags') or {}, 'defined': body.get('definedTags') or {}, 'etag': secrets.token_hex(32), 'token': token}
        service.store.put('schema', identity, record)
    return Answer(200, _describe(identity, record, record['data']), {'etag': record['etag']})


def _find(request):
    identity = request.parameters['computeImageCapabilitySchemaId']
    record = request.service.store.get('schema', identity)
    if record is None or record['region'] != request.region:
        raise not_found()
    request.service.compartment(record['compartment'])
    wanted = request.headers.get('if-match')
    if wanted not in (None, '*', record['etag']):
        raise ServiceError(412, 'NoEtagMatch', "The If-Match header '%s' does not match the current ETag." % wanted)
    return identity, record


def get(request):
    """GetComputeImageCapabilitySchema; with isMergeEnabled over the global one."""
    identity, record = _find(request)
    data = record['data']
    if request.query.get('isMergeEnabled'):
        data = dict(_global_data(_number(record['version'])), **data)
    return Answer(200, _describe(identity, record, data), {'etag': record['etag']})


def list_all(request):
    """ListComputeImageCapabilitySchemas, of a compartment or of an image."""
    service, query = request.service, request.query
    found = [(key, r) for key, r in service.store.all('schema') if r['region'] == request.region and r['compartment'] not in service.settings['denied']]
    if 'compartmentId' in query:
        service.compartment(query['compartmentId'])
    for name, field in (('compartmentId', 'compartment'), ('imageId', 'image'), ('displayName', 'name')):
        if name in query:
            found = [item for item in found if item[1][field] == query[name]]
    found.sort(key=lambda item: (item[1]['created'], item[0]), reverse=query.get('sortOrder', 'DESC') == 'DESC')
    shown, headers = pages.page(request, found, lambda item: item[0])
    return Answer(200, [_describe(*item) for item in shown], headers)


def update(request):
    """UpdateComputeImageCapabilitySchema: the version stays."""
    store, body = request.service.store, request.body
    tags.check(body)
    with store.lock:
        identity, record = _find(request)
        if body.get('schemaData') is not None:
            _check(body['schemaData'], _number(record['version']))
        for name, field in (('displayName', 'name'), ('freeformTags', 'freeform'), ('definedTags', 'defined'), ('schemaData', 'data')):
            if body.get(name) is not None:
                record[field] = body[name]
        record['etag'] = secrets.token_hex(32)
        store.put('schema', identity, record)
    return Answer(200, _describe(identity, record, record['data']), {'etag': record['etag']})


def delete(request):
    """DeleteComputeImageCapabilitySchema."""
    with request.service.store.lock:
        identity, _record = _find(request)
        request.service.store.delete('schema', identity)
    return Answer(204)
