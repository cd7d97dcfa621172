# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Work Requests of Compute: their state, errors and logs."""
from . import clock, pages
from .errors import not_found
from .messages import Answer
from .service import ocid

ENDED = ('SUCCEEDED', 'FAILED', 'CANCELED')


def start(service, region, compartment, kind, entity, identifier):
    """A new work request, ACCEPTED; its OCID."""
    identity = ocid('coreservicesworkrequest', region)
    service.store.put('workrequest', identity, {
        'region': region, 'compartment': compartment, 'kind': kind, 'entity': entity, 'identifier': identifier, 'status': 'ACCEPTED', 'percent': 0.0,
        'accepted': clock.now(service.settings), 'started': None, 'finished': None, 'errors': [], 'logs': []})
    return identity


def change(service, identity, status=None, percent=None, log=None, error=None):
    """One step of it; error is (code, message)."""
    now = clock.now(service.settings)
    with service.store.lock:
        record = service.store.get('workrequest', identity)
        record['status'] = status or record['status']
        record['percent'] = record['percent'] if percent is None else percent
        if status == 'IN_PROGRESS' and record['started'] is None:
            record['started'] = now
        if status in ENDED:
            record['finished'] = now
        if log:
            record['logs'] = record['logs'] + [[now, log]]
        if error:
            record['errors'] = record['errors'] + [[now, *error]]
        service.store.put('workrequest', identity, record)


def _find(request):
    record = request.service.store.get('workrequest', request.parameters['workRequestId'])
    if record is None or record['region'] != request.region:
        raise not_found()
    request.service.compartment(record['compartment'])
    return record


def _summary(identity, record):
    def when(name):
        return clock.iso(record[name]) if record[name] is not None else None
    return {'id': identity, 'operationType': record['kind'], 'status': record['status'], 'compartmentId': record['compartment'],
            'percentComplete': record['percent'], 'timeAccepted': when('accepted'), 'timeStarted': when('started'), 'timeFinished': when('finished')}


def get(request):
    """GetWorkRequest; Retry-After tells how long to wait before asking again."""
    record, identity = _find(request), request.parameters['workRequestId']
    action = 'IN_PROGRESS' if record['status'] not in ENDED else 'CREATED'
    resources = [{'actionType': action, 'entityType': record['entity'], 'identifier': record['identifier'],
                  'entityUri': '/20160918/%ss/%s' % (record['entity'], record['identifier'])}]
    wait = {} if record['status'] in ENDED else {'retry-after': clock.later(request.service.settings, 1)}
    return Answer(200, dict(_summary(identity, record), resources=resources), wait)


def list_all(request):
    """ListWorkRequests of a compartment, or of one resource in it."""
    wanted, resource = request.service.compartment(request.query['compartmentId']), request.query.get('resourceId')
    found = [(key, r) for key, r in request.service.store.all('workrequest') if r['compartment'] == wanted and r['region'] == request.region and
             resource in (None, r['identifier'])]
    found.sort(key=lambda item: (-item[1]['accepted'], item[0]))
    shown, headers = pages.page(request, found, lambda item: item[0])
    return Answer(200, [_summary(*item) for item in shown], headers)


def _entries(request, name):
    found = list(enumerate(_find(request)[name]))
    if request.query.get('sortOrder', 'DESC') == 'DESC':
        found.reverse()
    return pages.page(request, found, lambda item: item[0])


def list_errors(request):
    """ListWorkRequestErrors."""
    shown, headers = _entries(request, 'errors')
    return Answer(200, [{'code': code, 'message': message, 'timestamp': clock.iso(when)} for _at, (when, code, message) in shown], headers)


def list_logs(request):
    """ListWorkRequestLogs."""
    shown, headers = _entries(request, 'logs')
    return Answer(200, [{'message': message, 'timestamp': clock.iso(when)} for _at, (when, message) in shown], headers)
