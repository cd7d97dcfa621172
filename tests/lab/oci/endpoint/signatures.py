# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who a request is from: its signature, as the API reference's "Request Signatures" says (draft-cavage-http-signatures, version 1)."""
import base64
import hashlib
import re
from email.utils import parsedate_to_datetime

from . import clock, keys
from .errors import missing, not_authenticated

ALWAYS = ('(request-target)', 'host')
OF_BODY = ('content-length', 'content-type', 'x-content-sha256')
SKEW = 300      # seconds


def _parameters(header):
    """The parameters of an Authorization header; ServiceError 401 unless it is one of a signature."""
    scheme, _space, rest = header.partition(' ')
    if scheme.lower() != 'signature':
        raise not_authenticated()
    made = dict(re.findall(r'(\w+)="([^"]*)"', rest))
    if not {'keyId', 'headers', 'signature', 'algorithm'} <= set(made) or made['algorithm'].lower() != 'rsa-sha256':
        raise not_authenticated()
    if made.get('version', '1') != '1':
        raise not_authenticated()
    return made


def _check_date(headers, now):
    """The date is that of now, five minutes more or less."""
    text = headers.get('x-date') or headers.get('date')
    try:
        given = parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError) as fault:
        raise not_authenticated() from fault
    if abs(given - now) > SKEW:
        words = [clock.http(value).replace('GMT', 'UTC') for value in (given, now, now - SKEW, now + SKEW)]
        raise not_authenticated("Date '%s' is not within allowed clock skew. Current '%s', valid datetime range: ['%s', '%s']" % tuple(words))


def check(service, request, needed, find_key):
    """The principal whose signature the request has: find_key(keyId) gives (principal, key); ServiceError 401 for anything less."""
    header = request.headers.get('authorization')
    if not header:
        raise not_authenticated('The required information to complete authentication was not provided.')
    given = _parameters(header)
    signed = given['headers'].lower().split()
    if not {'date', 'x-date'} & set(signed) or not set(needed) <= set(signed):
        raise not_authenticated()
    principal, key = find_key(given['keyId'])
    lines = []
    for name in signed:
        if name == '(request-target)':
            value = '%s %s' % (request.method.lower(), request.target)
        elif name in request.headers:
            value = request.headers[name]
        else:
            raise not_authenticated()
        lines.append('%s: %s' % (name, value))
    try:
        signature = base64.b64decode(given['signature'], validate=True)
    except ValueError as fault:
        raise not_authenticated() from fault
    if not keys.verify(key, '\n'.join(lines).encode('utf-8'), signature):
        raise not_authenticated()
    _check_date(request.headers, clock.now(service.settings))
    if 'x-content-sha256' in needed:
        digest = base64.b64encode(hashlib.sha256(request.raw).digest()).decode()
        if request.headers['x-content-sha256'] != digest:
            raise not_authenticated('The computed SHA256 of the request body does not match the x-content-sha256 header.')
    return principal


def needed_headers(request, streamed):
    """What must be signed. Bodies of PutObject and UploadPart are not: they have digests of their own."""
    if request.method in ('POST', 'PUT', 'PATCH') and not streamed:
        if 'content-length' not in request.headers:
            raise missing('The header content-length is required')
        return ALWAYS + OF_BODY
    return ALWAYS


def principal_of(service, request, streamed):
    """The caller: {'kind': 'user' or 'instance', 'id': OCID}."""
    def find(key_id):
        if key_id.startswith('ST$'):
            return service.tokens.principal(key_id[3:])
        known = service.api_key(key_id)
        if known is None:
            raise not_authenticated()
        return known
    return check(service, request, needed_headers(request, streamed), find)
