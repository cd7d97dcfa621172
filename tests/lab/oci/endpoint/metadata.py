# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Two plain http sockets on loopback: the instance metadata service (version 2), and the lab's own control."""
import contextlib
import http.server
import json

from .service import HOME, REGIONS


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *_args):
        """Nobody reads it."""

    def _send(self, status, data, kind):
        self.send_response(status)
        self.send_header('content-type', kind)
        self.send_header('content-length', str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Metadata(_Handler):
    """/opc/v2/..., with the header `Authorization: Bearer Oracle`."""

    def do_GET(self):
        service = self.server.service
        pki = service.state / 'pki'
        files = {'/opc/v2/identity/cert.pem': 'instance.crt', '/opc/v2/identity/key.pem': 'instance.key',
                 '/opc/v2/identity/intermediate.pem': 'intermediate.crt'}
        if self.headers.get('authorization') != 'Bearer Oracle':
            return self._send(403, b'', 'text/plain')
        if self.path in files:
            return self._send(200, (pki / files[self.path]).read_bytes(), 'text/plain')
        if self.path == '/opc/v2/instance/region':
            return self._send(200, REGIONS[HOME].lower().encode(), 'text/plain')
        about = {'id': service.instance, 'compartmentId': service.compartments['images'], 'tenantId': service.tenancy, 'region': REGIONS[HOME].lower(),
                 'canonicalRegionName': HOME, 'displayName': 'lab', 'hostname': 'lab', 'shape': 'VM.Standard.E5.Flex',
                 'regionInfo': {'realmKey': 'oc1', 'realmDomainComponent': 'oraclecloud.com', 'regionKey': REGIONS[HOME], 'regionIdentifier': HOME}}
        if self.path.rstrip('/') == '/opc/v2/instance':
            return self._send(200, json.dumps(about).encode(), 'application/json')
        if self.path == '/opc/v2/instance/regionInfo':
            return self._send(200, json.dumps(about['regionInfo']).encode(), 'application/json')
        return self._send(404, b'', 'text/plain')


class Control(_Handler):
    """The lab's own switches: see client.py, which speaks to it."""

    def _serve(self):
        service = self.server.service
        data = self.rfile.read(int(self.headers.get('content-length', 0)))
        try:
            body = json.loads(data) if data else {}
            answer = self._answer(service, self.command, self.path, body)
        except (ValueError, KeyError, TypeError) as fault:
            return self._send(400, json.dumps({'error': str(fault)}).encode(), 'application/json')
        if answer is None:
            return self._send(404, b'{}', 'application/json')
        return self._send(200, json.dumps(answer).encode(), 'application/json')

    do_GET = do_PUT = do_POST = do_DELETE = _serve

    @staticmethod
    def _answer(service, method, path, body):
        if (method, path) == ('GET', '/settings'):
            return service.settings
        if (method, path) == ('PUT', '/settings'):
            service.change(body)
            return service.settings
        if (method, path) == ('PUT', '/faults'):
            service.faults.set(body['faults'], body.get('seed', 0))
            return {}
        if (method, path) == ('GET', '/counters'):
            return service.counters.read()
        if (method, path) == ('DELETE', '/counters'):
            service.counters.clear()
            service.notes.clear()
            return {}
        if (method, path) == ('GET', '/left'):
            return service.left()
        if (method, path) == ('POST', '/keys'):
            return {'fingerprint': service.add_key(body['public_key'])}
        if (method, path) == ('POST', '/sessions'):
            return {'token': service.session(body['seconds'])}
        return None


class Loopback(http.server.ThreadingHTTPServer):
    """One of the two."""
    daemon_threads = True

    def __init__(self, address, service, handler):
        self.service = service
        super().__init__(address, handler)

    def handle_error(self, request, client_address):
        """A connection that its client broke is no news."""
        with contextlib.suppress(OSError):
            request.close()
