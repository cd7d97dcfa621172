# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""HTTP/1.1 over TLS: from a connection to a checked request, and from an answer to bytes."""
import contextlib
import hashlib
import http.server
import json
import secrets
import socket
import ssl
import struct
import time
from urllib.parse import parse_qsl

from . import api, bodies, clock, faults, operations, par, signatures
from .errors import ServiceError, invalid, not_authenticated
from .messages import Answer, Request

MAX_JSON = 1 << 20      # bytes
DRAIN = 16 << 20        # bytes of an unwanted body that are read, so that the client sees the answer
IDLE = 120              # seconds that a connection may be silent


class Endpoint(http.server.ThreadingHTTPServer):
    """One region's socket. All services share it: their paths differ."""
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address, service, region, certificate):
        self.service, self.region = service, region
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(certificate.with_suffix('.crt'), certificate.with_suffix('.key'))
        super().__init__(address, Connection)

    def get_request(self):
        # the handshake is the connection's own thread's business: a silent client must not keep others out
        connection, address = super().get_request()
        connection.settimeout(IDLE)
        return self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, request, client_address):
        """A connection that its client broke is no news."""


class Connection(http.server.BaseHTTPRequestHandler):
    """One connection: its requests, one after the other."""
    protocol_version = 'HTTP/1.1'
    server_version = 'ocne-lab'
    sys_version = ''
    disable_nagle_algorithm = True

    def setup(self):
        self.pace = bodies.Pace()
        self.request.do_handshake()
        super().setup()

    def handle_expect_100(self):
        """The answer to Expect comes when the body is wanted: after signature and conditions."""
        self._expected = True
        return True

    def log_message(self, *_args):
        """Requests are counted, not logged."""

    def ready(self):
        """The body may come."""
        if self._expected:
            self._expected = False
            self.write(b'HTTP/1.1 100 Continue\r\n\r\n')
        self._body_read = True

    def read_into(self, buffer):
        """Some bytes of the body; 0 at its end."""
        try:
            return self.rfile.readinto1(buffer)
        except (OSError, ssl.SSLError) as fault:
            raise bodies.Broken(str(fault)) from fault

    def write(self, data):
        """Bytes of an answer."""
        try:
            self.wfile.write(data)
        except (OSError, ssl.SSLError) as fault:
            raise bodies.Broken(str(fault)) from fault

    def _break(self):
        """Reset the connection, as a network does."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            # linger for no time: what follows is RST, not FIN
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        # the TLS object would say goodbye; the file descriptor alone does not
        with contextlib.suppress(OSError):
            socket.close(self.connection.detach())

    def _serve(self):
        self._expected, self._body_read = getattr(self, '_expected', False), False
        request = self._request()
        status = 0
        try:
            try:
                answer = self._answer(request)
            except ServiceError as fault:
                answer = self._refusal(request, fault)
            except bodies.Broken:
                raise
            except Exception as fault:    # pylint: disable=broad-except
                # a fault of the endpoint itself must be seen by whoever runs the tests
                self.server.service.note(request.operation, fault)
                answer = self._refusal(request, ServiceError(500, 'InternalServerError', 'the lab itself failed: %r' % fault))
            try:
                if request.fault and request.fault['kind'] == 'lost_answer' and answer.status < 300:
                    raise bodies.Broken('a fault that was asked for')
                self._send(request, answer)
                status = answer.status
            finally:
                if answer.done:
                    answer.done()
        except bodies.Broken:
            self._break()
        except (OSError, ssl.SSLError):
            self.close_connection = True
        finally:
            self._expected = False
            self.server.service.counters.request(request.operation or 'unknown', status, request.fault['kind'] if request.fault else None)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_PATCH = do_OPTIONS = _serve

    def _request(self):
        headers = {}
        for name, value in self.headers.items():
            headers[name.lower()] = headers[name.lower()] + ',' + value if name.lower() in headers else value
        path = self.path.partition('?')[0]
        given = headers.get('opc-request-id') or headers.get('opc-client-request-id') or secrets.token_hex(16).upper()
        identity = '/'.join([given.partition('/')[0], secrets.token_hex(16).upper(), secrets.token_hex(16).upper()])
        return Request(service=self.server.service, region=self.server.region, base='https://%s' % headers.get('host', ''), method=self.command,
                       target=self.path, path=path, headers=headers, id=identity)

    def _read_json(self, request):
        """A body that is no object's bytes: small, and needed for the signature."""
        length = bodies.length_of(dict(request.headers, **{} if 'content-length' in request.headers or 'transfer-encoding' in request.headers
                                       else {'content-length': '0'}))
        if length > MAX_JSON:
            raise ServiceError(413, 'RequestEntityTooLarge', 'The request body is too large')
        self.ready()
        try:
            request.raw = self.rfile.read(length)
        except (OSError, ssl.SSLError) as fault:
            raise bodies.Broken(str(fault)) from fault
        if len(request.raw) < length:
            raise bodies.Broken('the client went away')
        request.service.counters.received(length)

    def _answer(self, request):
        service = request.service
        federation = (request.method, request.path) == ('POST', '/v1/x509')
        shared = request.path.startswith('/p/')
        if federation:
            request.operation = 'federate'
        elif shared:
            par.route(request)
        else:
            request.operation, request.parameters = api.route(request.method, request.path)
        streamed = request.operation in ('par_put_object', 'par_upload_part') or api.OPERATIONS.get(request.operation, {}).get('stream', False)
        if not streamed:
            self._read_json(request)
        request.fault = service.faults.pick(request.operation)
        faults.refuse(request.fault, service.settings)
        if request.fault and request.fault['kind'] == 'stall':
            time.sleep(request.fault.get('seconds', 10))
        if request.fault and request.fault['kind'] == 'reset' and not streamed and request.operation not in ('get_object', 'par_get_object'):
            raise bodies.Broken('a fault that was asked for')
        request.receive = lambda path: bodies.receive(request, self, path)
        if federation:
            return service.tokens.federate(request)
        if shared:
            return par.serve(request)
        request.principal = signatures.principal_of(service, request, streamed)
        if service.settings['credentials_expired']:
            raise not_authenticated()
        self._check(request)
        answer = operations.TABLE[request.operation](request)
        if answer.body is not None:
            api.answer(request.operation, answer.body)
        return answer

    def _check(self, request):
        """All of the request that the specification says something of."""
        _path, _mark, text = request.target.partition('?')
        try:
            pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), errors='strict')
        except ValueError as fault:
            raise invalid('The query string is not valid') from fault
        request.query = api.query(request.operation, pairs)
        api.headers(request.operation, request.headers)
        if not api.OPERATIONS[request.operation].get('stream'):
            request.body = api.body(request.operation, request.raw, request.headers.get('content-type', ''))

    def _refusal(self, request, fault):
        if not self._body_read:
            self._drain(request)
        return Answer(fault.status, {'code': fault.code, 'message': fault.message}, fault.headers)

    def _drain(self, request):
        """A body that is not wanted: read what is small, and end the connection after the answer."""
        self.close_connection = True
        chunked = 'transfer-encoding' in request.headers
        length = request.headers.get('content-length', str(DRAIN) if chunked else '0')
        if self._expected or not length.isdigit():
            return
        left = min(int(length), DRAIN)
        buffer = memoryview(bytearray(bodies.CHUNK))
        while left:
            got = self.read_into(buffer[:min(left, len(buffer))])
            # the last chunk is an empty one
            if not got or chunked and bytes(buffer[:got]).endswith(b'0\r\n\r\n'):
                return
            left -= got

    def _send(self, request, answer):
        kind = request.fault['kind'] if request.fault else None
        headers = {'opc-request-id': request.id, 'date': clock.http(clock.now(request.service.settings))}
        if 'opc-client-request-id' in request.headers:
            headers['opc-client-request-id'] = request.headers['opc-client-request-id']
        headers.update(answer.headers)
        if kind == 'wrong_md5':
            wrong = bodies.text(hashlib.md5(b'wrong').digest())
            headers.update({name: wrong for name in ('opc-content-md5', 'content-md5') if name in headers})
            if 'opc-multipart-md5' in headers:
                headers['opc-multipart-md5'] = wrong + '-' + headers['opc-multipart-md5'].rpartition('-')[2]
        data = b''
        if answer.body is not None and answer.files is None:
            data = json.dumps(answer.body).encode()
            headers['content-type'] = 'application/json'
        if answer.files is None:
            if answer.status not in (204, 304):
                headers.setdefault('content-length', str(len(data)))
        if self.close_connection:
            headers['connection'] = 'close'
        lines = ['HTTP/1.1 %d %s' % (answer.status, self.responses.get(answer.status, ('Unknown',))[0])]
        lines += ['%s: %s' % item for item in headers.items()]
        self.write(('\r\n'.join(lines) + '\r\n\r\n').encode('latin-1'))
        if request.method != 'HEAD':
            if answer.files is not None:
                bodies.send(answer, request, self)
            elif data:
                self.write(data)
        self.wfile.flush()
