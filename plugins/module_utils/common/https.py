# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Uploads to an HTTPS server, by a proxy where there is one, with the standard library alone.

A path, and the login of a proxy, may be secrets: no exception has them in its words.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import http.client
import re
import select
import socket
import ssl
import struct
import termios
import time
from urllib.parse import unquote, urlsplit

from . import advice, http_faults, proxies
from .errors import ImageError, from_os_error

_PEM = "-----BEGIN CERTIFICATE-----"
_LARGEST_ANSWER = 64 << 10   # bytes that are read of it
_LOOK = 0.05                 # seconds between two looks at what is still on its way
_EARLY = 5                   # seconds after which nothing more goes, but something came: an answer before the end


def is_pem(text):
    """Whether a text is certificates themselves, not a path."""
    return _PEM in text


def trust(ca_cert=None):
    """An ssl.SSLContext that trusts these authorities, or without them those of this system. Raises ImageError.

    ca_cert: a file's path, or PEM text.
    """
    given = {"cadata" if is_pem(ca_cert) else "cafile": ca_cert} if ca_cert else {}
    try:
        context = ssl.create_default_context(**given)
    except ssl.SSLError as error:
        raise ImageError("it has no certificates that can be used", None if "cadata" in given else ca_cert,
                         "name a file of certificates in PEM form with cert_bundle") from error
    except OSError as error:
        raise from_os_error(error, "reading the bundle of certificates", ca_cert) from error
    # from Python 3.13 on certificates without key identifiers would be refused, which older ones of private authorities do not have
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    return context


class Answer:
    """status; headers.get() does not mind upper and lower case; body: bytes, of a long one the first ones."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body


class _ProxyError(OSError):
    """The proxy was not reached, or does not let us through."""


class _Connection(http.client.HTTPConnection):
    """TLS, whose steps until there is a connection are told apart."""

    default_port = http.client.HTTPS_PORT

    def __init__(self, server):
        first = server.proxy or server
        super().__init__(first.host, first.port, timeout=server.connect_timeout)
        self._server, self.connected = server, False
        if server.proxy:
            self.set_tunnel(server.host, server.port, server.proxy.headers)

    def connect(self):
        try:
            super().connect()
        except OSError as error:
            if self._server.proxy:
                raise _ProxyError(str(error)) from error
            raise
        self.sock = self._server.context.wrap_socket(self.sock, server_hostname=self._server.host)
        self.sock.settimeout(self._server.read_timeout)
        self.connected = True


class _Proxy:
    """Where a proxy is, and what it is told. Raises ImageError."""

    def __init__(self, address):
        parts = urlsplit(proxies.checked(address))
        if parts.scheme != "http":
            raise ImageError(f"a proxy that is spoken to by {parts.scheme} is not supported here",
                             todo="write it as http://proxy.example.com:3128: what goes through it is encrypted all the same")
        self.host, self.port, self.headers = parts.hostname, parts.port or 80, {}
        if parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self.headers["Proxy-Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()


class Server:
    """Where a URL leads, and how. Raises ImageError.

    ca_cert: as for trust(). proxy: its address; without it what the environment says. Time-outs are of silence, in seconds.
    todo: what a reader can do where no connection comes about.
    """

    def __init__(self, url, ca_cert=None, proxy=None, connect_timeout=10, read_timeout=60, todo=advice.CHECK_NETWORK):
        try:
            parts = urlsplit(url)
            self.host, self.port = parts.hostname, parts.port or http.client.HTTPS_PORT
        except ValueError:
            self.host = None
        # http.client would refuse others by an exception that has the URL in its words
        if not self.host or parts.scheme != "https" or not re.fullmatch(r"[!-~]+", url):
            raise ImageError("the URL is none of an HTTPS server", todo=todo)
        self.path = parts.path + (f"?{parts.query}" if parts.query else "")
        self.connect_timeout, self.read_timeout, self.todo = connect_timeout, read_timeout, todo
        address = proxy or proxies.of_environment(f"{self.host}:{self.port}").get("https")
        self.proxy = _Proxy(address) if address else None
        self.context = trust(ca_cert)


class Client:
    """Requests to one Server, one after the other, over a connection that is made when it is needed. For one thread; abort() is for others."""

    def __init__(self, server):
        self._server, self._connection = server, None

    def put(self, path, pieces, length, headers):
        """The Answer to a PUT of these pieces, `length` bytes in all. Raises HttpFault where there is none, and what `pieces` raises."""
        connection = self._connection = self._connection or _Connection(self._server)
        kept = False
        try:
            if connection.sock is None:
                connection.connect()
            refused = self._send(connection, path, pieces, dict(headers, **{"Content-Length": str(length)}))
            try:
                if not refused:
                    self._deliver(connection.sock)
                answer = connection.getresponse()
                body = answer.read(_LARGEST_ANSWER)
            except (OSError, http.client.HTTPException):
                if refused:
                    raise refused from None
                raise
            # half a request or answer is of no use to the next one
            kept = not refused and answer.isclosed() and not answer.will_close
            return Answer(answer.status, answer.headers, body)
        except (OSError, http.client.HTTPException) as error:
            raise self._silence(connection, error) from None
        finally:
            if not kept:
                self.close()

    @staticmethod
    def _send(connection, path, pieces, headers):
        """None; or an error, where the server may have said why before it closed the connection."""
        try:
            connection.request("PUT", path, pieces, headers)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError) as error:
            return error
        return None

    def _deliver(self, sock):
        """Wait until the kernel has sent what it was given: of a slow link it may have more than can go in the time of silence."""
        left, since, events = None, time.monotonic(), select.poll()
        events.register(sock, select.POLLIN | select.POLLRDHUP)
        while True:
            came = events.poll(_LOOK * 1000)
            before, left = left, _unsent(sock)
            if not left or (came and came[0][1] != select.POLLIN):
                return
            if before is None or left < before:
                since = time.monotonic()
            elif time.monotonic() - since > (min(_EARLY, self._server.read_timeout) if came else self._server.read_timeout):
                return
            if came:
                # an answer before the end, or what TLS itself has to say
                time.sleep(_LOOK)

    def _silence(self, connection, error):
        """The HttpFault of a request that got no answer."""
        chain = [error]
        while chain[-1].__cause__ or chain[-1].__context__:
            chain.append(chain[-1].__cause__ or chain[-1].__context__)
        stage = http_faults.EXCHANGE if connection.connected else http_faults.PROXY if isinstance(error, _ProxyError) else http_faults.CONNECT
        words, todo, passing, connecting = http_faults.silence(chain, f"{self._server.host}:{self._server.port}", stage, self._server.todo)
        return http_faults.HttpFault(words, None, todo, passing=passing, connecting=connecting)

    def close(self):
        connection, self._connection = self._connection, None
        if connection:
            connection.close()

    def abort(self):
        """End what another thread waits for here: that gets an HttpFault."""
        connection = self._connection
        with contextlib.suppress(OSError, AttributeError, TypeError):
            # that of an SSLSocket would have the other thread send in clear until it is shut
            socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)


def _unsent(sock):
    """Bytes that the other end has not acknowledged (tcp(7), SIOCOUTQ)."""
    return struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))[0]
