# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Identity: the tenancy, its compartments, its regions."""
from . import clock, pages
from .errors import invalid, not_found
from .messages import Answer
from .service import HOME, REGIONS


def _compartment(service, identity, record):
    return {'id': identity, 'compartmentId': record['parent'], 'name': record['name'], 'description': 'of the lab', 'timeCreated': clock.iso(record['created']),
            'lifecycleState': record['state'], 'inactiveStatus': None, 'isAccessible': identity not in service.settings['denied'],
            'freeformTags': {}, 'definedTags': {}}


def _root(service):
    return {'id': service.tenancy, 'compartmentId': service.tenancy, 'name': service.name, 'description': 'the root compartment',
            'timeCreated': clock.iso(1690000000), 'lifecycleState': 'ACTIVE', 'inactiveStatus': None, 'isAccessible': True, 'freeformTags': {},
            'definedTags': {}}


def get_compartment(request):
    """GetCompartment; a deleted one is still shown."""
    service, identity = request.service, request.parameters['compartmentId']
    if identity == service.tenancy:
        return Answer(200, _root(service))
    record = service.store.get('compartment', identity)
    if record is None or identity in service.settings['denied']:
        raise not_found()
    return Answer(200, _compartment(service, identity, record))


def list_compartments(request):
    """ListCompartments: the children, or with compartmentIdInSubtree all of the tenancy."""
    service, query = request.service, request.query
    parent = service.compartment(query['compartmentId'])
    subtree = query.get('compartmentIdInSubtree', False)
    if subtree and parent != service.tenancy:
        raise invalid('compartmentIdInSubtree can be set to true only when compartmentId is the tenancy OCID')
    found = [(identity, r) for identity, r in service.store.all('compartment') if subtree or r['parent'] == parent]
    if query.get('accessLevel') == 'ACCESSIBLE':
        found = [item for item in found if item[0] not in service.settings['denied']]
    for name, field in (('name', 'name'), ('lifecycleState', 'state')):
        if name in query:
            found = [item for item in found if item[1][field] == query[name]]
    by_name = query.get('sortBy') == 'NAME'
    found.sort(key=lambda item: (item[1]['name'].lower() if by_name else item[1]['created'], item[0]),
               reverse=query.get('sortOrder', 'ASC' if by_name else 'DESC') == 'DESC')
    shown, headers = pages.page(request, found, lambda item: item[0])
    return Answer(200, [_compartment(service, *item) for item in shown], headers)


def _tenancy(request):
    if request.parameters['tenancyId'] != request.service.tenancy:
        raise not_found()


def get_tenancy(request):
    """GetTenancy."""
    _tenancy(request)
    service = request.service
    return Answer(200, {'id': service.tenancy, 'name': service.name, 'description': 'of the lab', 'homeRegionKey': REGIONS[HOME],
                        'upiIdcsCompatibilityLayerEndpoint': None, 'freeformTags': {}, 'definedTags': {}})


def list_region_subscriptions(request):
    """ListRegionSubscriptions."""
    _tenancy(request)
    return Answer(200, [{'regionKey': key, 'regionName': name, 'status': 'READY', 'isHomeRegion': name == HOME} for name, key in REGIONS.items()])


def list_regions(_request):
    """ListRegions."""
    return Answer(200, [{'key': key, 'name': name} for name, key in REGIONS.items()])


def list_availability_domains(request):
    """ListAvailabilityDomains."""
    service = request.service
    service.compartment(request.query['compartmentId'])
    return Answer(200, [{'name': 'lab:%s-AD-1' % request.region.upper(), 'id': 'ocid1.availabilitydomain.oc1..lab1', 'compartmentId': service.tenancy}])


def get_user(request):
    """GetUser of the one user."""
    service = request.service
    if request.parameters['userId'] != service.user:
        raise not_found()
    return Answer(200, {'id': service.user, 'compartmentId': service.tenancy, 'name': 'lab', 'description': 'of the lab', 'lifecycleState': 'ACTIVE',
                        'timeCreated': clock.iso(1690000000), 'isMfaActivated': False})
