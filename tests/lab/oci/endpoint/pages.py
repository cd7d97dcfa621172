# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Lists in pages: `limit`, `page`, and the opaque `opc-next-page`."""
import base64
import hashlib
import json

from .errors import invalid


def _seal(query):
    """A page token belongs to its question: the same one with another filter is refused."""
    about = {key: value for key, value in query.items() if key not in ('page', 'limit')}
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:8]


def page(request, items, identify):
    """(the items of this page, its headers). identify(item) is what the next page starts after."""
    query = request.query
    size = min(query.get('limit', 1000), request.service.settings['page_size'])
    start = 0
    if 'page' in query:
        try:
            seal, last = json.loads(base64.urlsafe_b64decode(query['page'].encode()))
        except ValueError as fault:
            raise invalid("The parameter 'page' is not valid") from fault
        if seal != _seal(query):
            raise invalid("The parameter 'page' is not of this list")
        known = [identify(item) for item in items]
        # what the page started after may be gone since; then its number serves
        start = known.index(last[0]) + 1 if last[0] in known else min(last[1], len(items))
    shown = items[start:start + size]
    headers = {}
    if start + size < len(items):
        token = json.dumps([_seal(query), [identify(shown[-1]), start + size]]).encode()
        headers['opc-next-page'] = base64.urlsafe_b64encode(token).decode()
    return shown, headers
