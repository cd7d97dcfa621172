# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The import of an image over time: PROVISIONING, IMPORTING, AVAILABLE; or DELETED, with the reason in its work request.

The object, and the pre-authenticated request that leads to it, must be there as they were until the import ends.
"""
import secrets
import shutil
import tempfile
import threading
import time
from pathlib import Path

from . import clock, formats, shapes, workrequests

STEPS = 10


def start(service, identity):
    """Begin, or after a restart begin again, in the background."""
    threading.Thread(target=_run, args=(service, identity), daemon=True, name='import').start()


def resume(service):
    """Imports that were under way when the endpoint ended."""
    for identity, record in service.store.all('image'):
        if record['state'] in ('PROVISIONING', 'IMPORTING'):
            start(service, identity)


def _set(service, identity, **fields):
    with service.store.lock:
        record = service.store.get('image', identity)
        record.update(fields, etag=secrets.token_hex(32))
        service.store.put('image', identity, record)


def _source(service, record):
    """The object's record; Unsound where it is not there as it was."""
    source = record['source']
    found = service.store.get('object', source['object'])
    if found is None or found['etag'] != source['etag']:
        raise formats.Unsound('The object to import is no longer there, or has changed.')
    if source['par'] is not None:
        pre = service.store.get('par', source['par'])
        if pre is None or pre['expires'] <= clock.now(service.settings):
            raise formats.Unsound('The pre-authenticated request of the object to import is no longer there, or has expired.')
    return found


def _wait(service, request, record, first, last):
    """Time passes, percent grow. The parts of it end with the settings of now, so tests may change them."""
    for step in range(first, last):
        time.sleep(service.settings['import_seconds'] / STEPS)
        _source(service, record)
        workrequests.change(service, request, percent=100.0 * step / STEPS)


def _inspect(service, record):
    """What the bytes are (formats.check)."""
    store = service.store
    with store.lock:
        found = _source(service, record)
        paths = store.pin(found['blobs'])
    try:
        with tempfile.TemporaryDirectory(prefix='import.', dir=service.state) as folder:
            path = paths[0]
            if len(paths) > 1:
                path = Path(folder) / 'object'
                with open(path, 'wb') as out:
                    for one in paths:
                        with open(one, 'rb') as file:
                            shutil.copyfileobj(file, out, 1 << 20)
            return formats.check(path, record['source']['kind'], Path(folder))
    finally:
        store.unpin(found['blobs'])


def _run(service, identity):
    record = service.store.get('image', identity)
    request = record['work_request']
    try:
        workrequests.change(service, request, 'IN_PROGRESS', 0.0, 'Image import has started.')
        _wait(service, request, record, 1, 3)
        _set(service, identity, state='IMPORTING')
        workrequests.change(service, request, log='The object is being read.')
        about = _inspect(service, record)
        _wait(service, request, record, 3, STEPS)
        outcome = service.settings['import_outcome']
        if outcome == 'FAILED':
            raise formats.Unsound('Image import failed, as the test asked for.')
        if outcome == 'CANCELED':
            workrequests.change(service, request, 'CANCELING')
            _set(service, identity, state='DELETED')
            workrequests.change(service, request, 'CANCELED', log='Image import was canceled.')
            return
        fields = {name: about[name] for name in ('virtual_size', 'options', 'system', 'version') if name in about}
        # an archive says itself which shapes its image fits
        _set(service, identity, state='AVAILABLE', shapes=about.get('shapes') or shapes.defaults(), **fields)
        workrequests.change(service, request, 'SUCCEEDED', 100.0, 'Image import has succeeded.')
    except formats.Unsound as fault:
        _set(service, identity, state='DELETED')
        workrequests.change(service, request, 'FAILED', log='Image import has failed.', error=('ImageImportFailed', str(fault)))
    except Exception as fault:    # pylint: disable=broad-except
        service.note('import', fault)
        _set(service, identity, state='DELETED')
        workrequests.change(service, request, 'FAILED', error=('InternalServerError', 'the lab itself failed: %r' % fault))
