# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Requests to the agent of a builder (agent/server.py), over connections that may break at any time."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import http.client
import json as json_text
import socket
import ssl
import threading

from ...agent.protocol import AGENT_HEADER, TOKEN_HEADER, Refusal
from ...common.errors import ImageError
from ...common.retry import retry

#: seconds a lost connection is waited for
RETRY_SECONDS = 300
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10   # seconds between two attempts


class ConnectionLost(ImageError):
    """The other end was not reached, or not to the end of the answer: the same request may be sent again."""

    def __init__(self, reason, **details):
        super().__init__(f"the connection to the builder was lost: {reason}",
                         todo="check that the cluster and its API server can be reached, and run the task again", **details)


@dataclasses.dataclass
class Response:
    """An answer of the agent. headers.get() does not mind upper and lower case."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self):
        return json_text.loads(self.body)


class AgentClient(abc.ABC):
    """A way to one agent. Each thread has a connection of its own, which is kept and made again by itself."""

    #: what comes before the agent's own paths (the API server's proxy)
    prefix = ""

    def __init__(self):
        self._connections, self._lock = {}, threading.Lock()

    @abc.abstractmethod
    def connect(self):
        """A new http.client.HTTPConnection; it may connect at its first request. Raises OSError or ImageError."""

    def headers(self):
        """What every request carries."""
        return {}

    def foreign(self, status, headers, body):   # pylint: disable=unused-argument
        """The exception for an answer that is not the agent's, but that of a proxy in between."""
        if status in (408, 429) or status >= 500:
            return ConnectionLost(f"something between here and the builder answered with HTTP status {status}", status=status)
        return ImageError(f"something between here and the builder answered with HTTP status {status}",
                          todo="check the permissions of the user of the cluster, and proxies", status=status,
                          answer=body[:1000].decode("utf-8", "replace"))

    def request(self, method, path, body=None, headers=None, timeout=60):
        """One request; path begins with /v1. timeout: seconds of silence. Raises Refusal, ConnectionLost, ImageError."""
        used = threading.get_ident() in self._connections
        try:
            return self._request(method, path, body, headers, timeout)
        except ConnectionLost:
            if not used:
                raise
            # a connection that was kept may have ended meanwhile; every request may come twice
            return self._request(method, path, body, headers, timeout)

    def json(self, method, path, data=None, timeout=60):
        """A request with JSON both ways: the answer's body, read."""
        body = None if data is None else json_text.dumps(data).encode()
        return self.request(method, path, body, {"Content-Type": "application/json"} if body else None, timeout).json()

    def _request(self, method, path, body, headers, timeout):
        try:
            connection = self._connection(timeout)
            # Python's own default would forbid what is asked for by Accept-Encoding
            connection.request(method, self.prefix + path, body, {**self.headers(), **(headers or {})})
            answer = connection.getresponse()
            response = Response(answer.status, answer.headers, answer.read())
        except ssl.SSLCertVerificationError as error:
            self.close()
            raise ImageError(f"the server's certificate is not trusted: {error.verify_message}",
                             todo="give the certificate authority's file as ca_cert") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise ConnectionLost(_reason(error, timeout)) from error
        except BaseException:
            # half an answer is of no use to the next request
            self.close()
            raise
        if answer.will_close:
            self.close()
        return self.understood(response)

    def understood(self, response):
        """The response, where it is the agent's and no error. Raises Refusal, ConnectionLost, ImageError."""
        if response.headers.get(AGENT_HEADER) is None:
            raise self.foreign(response.status, response.headers, response.body)
        if response.status >= 400:
            try:
                error = Refusal.of(response.status, response.json()["error"])
            except (ValueError, KeyError, TypeError):
                raise ConnectionLost("an answer is not readable") from None
            raise error
        return response

    def _connection(self, timeout):
        ident = threading.get_ident()
        connection = self._connections.get(ident)
        if connection is None:
            connection = self.connect()
            with self._lock:
                self._connections[ident] = connection
        connection.timeout = timeout
        if connection.sock is not None:
            connection.sock.settimeout(timeout)
        return connection

    def close(self, ident=None):
        """Close the connection of a thread (this one's by default); one that waits for an answer there gets ConnectionLost."""
        with self._lock:
            connection = self._connections.pop(threading.get_ident() if ident is None else ident, None)
        if connection is not None:
            with contextlib.suppress(OSError, AttributeError):
                connection.sock.shutdown(socket.SHUT_RDWR)
            with contextlib.suppress(OSError):
                connection.close()

    def close_all(self):
        """Close the connections of all threads."""
        for ident in list(self._connections):
            self.close(ident)


def _reason(error, timeout):
    if isinstance(error, socket.timeout):
        return f"no answer within {timeout} seconds"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__


class DirectClient(AgentClient):
    """A plain TCP connection to the agent: for tests, no builder is reached in this way yet."""

    def __init__(self, host, port, token):
        super().__init__()
        self._host, self._port, self._token = host, port, token

    def connect(self):
        return http.client.HTTPConnection(self._host, self._port)

    def headers(self):
        return {TOKEN_HEADER: self._token}


def retry_lost(function, retry_seconds=RETRY_SECONDS, on_wait=None, sleep=None):
    """function(), again after each ConnectionLost until `retry_seconds` have passed since the first; then that is raised.

    on_wait(error, seconds) is called before each pause.
    """
    def left(error, _failures, seconds):
        return retry_seconds - seconds if isinstance(error, ConnectionLost) else None
    return retry(function, left, _FIRST_PAUSE, _LONGEST_PAUSE, on_wait, sleep)
