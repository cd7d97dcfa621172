# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ways through the API server to the agent of a builder pod: its proxy, which is the faster one, or a command in the pod."""

from __future__ import annotations

# pylint does not follow Unreachable and ConnectionLost to Exception, which is two modules away
# pylint: disable=bad-exception-cause
import contextlib
import http.client
import socket
import threading
import time

from ...agent.protocol import TOKEN_HEADER
from ...common import advice
from ...common.errors import ImageError
from ..remote import package
from ..remote.client import AgentClient, ConnectionLost, Response
from . import exec, pod_life, pod_spec
from .cluster import Unreachable, is_starting

_TUNNEL_TIMEOUT = 30   # seconds until a tunnel is there
_PAUSE = 0.2           # seconds between two attempts


class _PodClient(AgentClient):
    def __init__(self, cluster, pod, token):
        super().__init__()
        self._cluster, self._pod, self._token = cluster, pod, token

    def headers(self):
        return {TOKEN_HEADER: self._token}

    def ended(self, wait_seconds=0):
        """ImageError with the reason where the pod has ended, else None: pod_life.fate()."""
        return pod_life.fate(self._cluster, self._pod, wait_seconds)

    def lost(self, reason):
        """ConnectionLost, or what became of the pod where that is known."""
        try:
            ended = self.ended()
        except ImageError:
            ended = None
        return ended or ConnectionLost(reason)


def _watched(cluster):
    """{ident of a thread: the connection it waits at}, of the connections that urllib3 makes to the API server."""
    pool = cluster.client.rest_client.pool_manager.connection_from_url(cluster.host)
    if not hasattr(pool.ConnectionCls, "waiting"):
        class Connection(pool.ConnectionCls):
            """The same, and known while it is used."""

            waiting = {}

            def request(self, *arguments, **options):
                self.waiting[threading.get_ident()] = self
                return super().request(*arguments, **options)

        pool.ConnectionCls = Connection
    return pool.ConnectionCls.waiting


class ProxyClient(_PodClient):
    """The API server's proxy to a port of the pod: plain HTTP behind it, so the token is what tells us from other pods. Needs pods/proxy."""

    def __init__(self, cluster, pod, token):
        super().__init__(cluster, pod, token)
        self._answered, self._waiting = False, _watched(cluster)
        self.prefix = f"/api/v1/namespaces/{cluster.namespace}/pods/{pod}:{pod_spec.PORT}/proxy"

    def connect(self):
        raise NotImplementedError   # urllib3 keeps the connections, and knows the user's certificates and proxies

    def close(self, ident=None):
        """End what another thread waits for; connections that nobody waits at are kept for the next request."""
        connection = None if ident is None else self._waiting.pop(ident, None)
        if connection is not None:
            with contextlib.suppress(OSError, AttributeError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    def _request(self, method, path, body, headers, timeout):
        try:
            answer = self._cluster.send(method, self.prefix + path, body, {**self.headers(), **(headers or {})}, timeout, decode=False)
        except Unreachable as error:
            raise self.lost(error.what) from error
        finally:
            self._waiting.pop(threading.get_ident(), None)
        response = self.understood(Response(answer.status, answer.headers, answer.data))
        self._answered = True
        return response

    def foreign(self, status, headers, body):
        # one that has just started knows neither roles nor bindings yet
        if is_starting(status, body.decode("utf-8", "replace")) or (status == 403 and self._answered):
            return ConnectionLost("the API server refuses what it has allowed before")
        error = super().foreign(status, headers, body)
        return self.lost(error.what) if isinstance(error, ConnectionLost) or status == 404 else error


class _TunnelConnection(http.client.HTTPConnection):
    """HTTP over the standard input and output of a command in the pod."""

    def __init__(self, client):
        super().__init__("127.0.0.1", pod_spec.PORT)
        self._client = client

    def connect(self):
        self.sock = self._client.tunnel(self.timeout if isinstance(self.timeout, (int, float)) else _TUNNEL_TIMEOUT)


class ExecClient(_PodClient):
    """A command in the pod that speaks to the agent for us. Needs pods/exec only."""

    def __init__(self, cluster, pod, token):
        super().__init__(cluster, pod, token)
        self._allowed = False

    def connect(self):
        return _TunnelConnection(self)

    def tunnel(self, timeout):
        command = ["python3", "-I", "-c", package.TUNNEL, pod_spec.PROGRAM, str(pod_spec.PORT)]
        try:
            process = exec.Exec(self._cluster, self._pod, pod_spec.CONTAINER, command, stdin=True)
        except ImageError as error:
            # one that has just started knows neither roles nor bindings yet
            if self._allowed and error.details.get("status") == 403:
                raise ConnectionLost("the API server refuses what it has allowed before") from error
            raise
        self._allowed = True
        return exec.Stream(process, timeout)

    def _request(self, method, path, body, headers, timeout):
        try:
            return super()._request(method, path, body, headers, timeout)
        except Unreachable as error:
            self.close()
            raise self.lost(error.what) from error
        except ConnectionLost as error:
            raise self.lost(error.what.rpartition("lost: ")[2]) from error


def read_token(cluster, pod):
    """The token of a pod that another task has made: it is only in the pod and in its Secret. Raises ImageError."""
    try:
        status, output, errors = exec.run(cluster, pod, pod_spec.CONTAINER, ["cat", pod_spec.TOKEN])
    except Unreachable as error:
        raise ImageError(error.what, f"pod {pod}, namespace {cluster.namespace}", advice.RUN_AGAIN) from error
    if status:
        raise ImageError(f"its token cannot be read: {errors.decode('utf-8', 'replace').strip()}", f"pod {pod}, namespace {cluster.namespace}",
                         "is this a builder pod of ocne.images?")
    return output.decode().strip()


def ready(cluster, name, token, timeout, progress):
    """Wait until a builder answers: (name of its pod, the best client that is allowed, the agent's status). Raises ImageError.

    token: None where another task has made it. timeout: seconds.
    """
    deadline = time.monotonic() + timeout
    pod = pod_life.wait(cluster, name, timeout, progress)["metadata"]["name"]
    # its first process may install packages before the agent is there
    if token is None:
        token = read_token(cluster, pod)
    proxy = ProxyClient(cluster, pod, token)
    for client in (proxy, ExecClient(cluster, pod, token)):
        while True:
            try:
                return pod, client, client.json("GET", "/v1/status", timeout=20)
            except ConnectionLost as error:
                if time.monotonic() > deadline:
                    raise ImageError(f"the builder did not answer after {timeout} s: {error.what}", f"pod {pod}, namespace {cluster.namespace}",
                                     "raise wait_timeout, or look at it with kubectl logs") from error
            except ImageError as error:
                if client is proxy and error.details.get("status") == 403:
                    break
                raise
            time.sleep(_PAUSE)
    raise AssertionError
