# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Compute: which shapes an image fits."""
from . import images, pages
from .errors import invalid, not_found
from .messages import Answer

X86 = ('BM.Standard.E4.128', 'BM.Standard3.64', 'VM.Standard.E3.Flex', 'VM.Standard.E4.Flex', 'VM.Standard.E5.Flex', 'VM.Standard2.1', 'VM.Standard2.2',
       'VM.Standard3.Flex', 'VM.Optimized3.Flex')
ARM = ('BM.Standard.A1.160', 'VM.Standard.A1.Flex', 'VM.Standard.A2.Flex')
CONSTRAINTS = ('memoryConstraints', 'ocpuConstraints')


def defaults():
    """What an import gives: whatever its bytes are, the service takes them for x86."""
    return {name: {} for name in X86}


def _describe(identity, name, entry):
    return dict({'imageId': identity, 'shape': name, 'memoryConstraints': None, 'ocpuConstraints': None}, **entry)


def _known(request):
    name = request.parameters['shapeName']
    if name not in X86 + ARM:
        raise invalid("The shape '%s' does not exist." % name)
    return name


def list_all(request):
    """ListImageShapeCompatibilityEntries."""
    identity, record = images.available(request)
    shown, headers = pages.page(request, sorted(record['shapes'].items()), lambda item: item[0])
    return Answer(200, [_describe(identity, *item) for item in shown], headers)


def get(request):
    """GetImageShapeCompatibilityEntry."""
    identity, record = images.available(request)
    name = request.parameters['shapeName']
    if name not in record['shapes']:
        raise not_found()
    return Answer(200, _describe(identity, name, record['shapes'][name]))


def add(request):
    """AddImageShapeCompatibilityEntry, or its new constraints."""
    store, name = request.service.store, _known(request)
    entry = {key: value for key, value in (request.body or {}).items() if key in CONSTRAINTS and value is not None}
    with store.lock:
        identity, record = images.available(request)
        store.put('image', identity, dict(record, shapes=dict(record['shapes'], **{name: entry})))
    return Answer(200, _describe(identity, name, entry))


def remove(request):
    """RemoveImageShapeCompatibilityEntry."""
    store, name = request.service.store, request.parameters['shapeName']
    with store.lock:
        identity, record = images.available(request)
        if name not in record['shapes']:
            raise not_found()
        store.put('image', identity, dict(record, shapes={key: value for key, value in record['shapes'].items() if key != name}))
    return Answer(204)
