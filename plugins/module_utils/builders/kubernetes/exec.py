# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A command in a pod: run to its end, or kept as a two-way stream that looks like a socket.

The Python client makes the connection; its frames are made and read here. Its own buffer grows without limit and takes time that grows
with its square, and masking in Python takes longer than all the rest of a transfer.
Protocol: Kubernetes' v5.channel.k8s.io and v4.channel.k8s.io, one byte of channel number before the data of each WebSocket message (RFC 6455).
"""

from __future__ import annotations

import contextlib
import io
import json
import socket
import ssl
import time
from urllib.parse import urlencode

from ...common import advice
from ...common.errors import ImageError
from .cluster import SOCKET_OPTIONS, Unreachable, is_starting

_STDIN, _STDOUT, _STDERR, _ERROR, _CLOSE = 0, 1, 2, 3, 255
_BINARY, _CLOSED, _PING = 2, 8, 9     # opcodes of frames, RFC 6455 section 11.8
_FINAL, _MASKED = 0x80, 0x80          # bits of the first and second byte of a frame, section 5.2
#: of a zero mask the content is its own masked form. Masks keep web pages from choosing the bytes that cross a network; TLS does it here
_MASK = bytes(4)
#: bytes of data in one message: with its header it fills four TLS records; with half of it the API server takes a third more time
_MESSAGE = (64 << 10) - 9
_BUFFER = 64 << 10        # bytes that are read at once
_LONGEST = 1 << 20        # bytes kept of what a short command says


def _connected(cluster, url):
    """A WebSocket. As the client's create_websocket() makes it, which leaves out whom to impersonate. Raises what that raises."""
    from kubernetes.stream import ws_client
    from websocket import WebSocket

    configuration = cluster.configuration
    secure = {"cert_reqs": ssl.CERT_NONE}
    if configuration.verify_ssl:
        secure = {"cert_reqs": ssl.CERT_REQUIRED, "ca_certs": configuration.ssl_ca_cert or ws_client.certifi.where()}
    given = {"check_hostname": configuration.assert_hostname, "certfile": configuration.cert_file, "keyfile": configuration.key_file,
             "server_hostname": configuration.tls_server_name}
    secure.update({name: value for name, value in given.items() if value is not None})
    headers = [f"{name}: {value}" for name, value in cluster.headers().items()]
    headers.append(f"Sec-WebSocket-Protocol: {ws_client.V5_CHANNEL_PROTOCOL},{ws_client.V4_CHANNEL_PROTOCOL}")
    proxy = ws_client.websocket_proxycare({}, configuration, url, None) if configuration.proxy else {}
    made = WebSocket(sslopt=secure, sockopt=SOCKET_OPTIONS, skip_utf8_validation=False)
    made.connect(url, header=headers, **proxy)
    return made


class Exec:
    """A command that runs in a container. Raises Unreachable, and ImageError where it may not run."""

    def __init__(self, cluster, pod, container, command, stdin=False):
        from kubernetes.client.exceptions import ApiException
        from kubernetes.stream import ws_client
        from websocket import WebSocketException

        self._faults = (WebSocketException, OSError)
        query = [("container", container), ("stdin", str(stdin).lower()), ("stdout", "true"), ("stderr", "true"), ("tty", "false")]
        query += [("command", word) for word in command]
        path = f"/api/v1/namespaces/{cluster.namespace}/pods/{pod}/exec"
        # TLS, proxies and their names are the client's business
        url = ws_client.get_websocket_url(cluster.host + path) + "?" + urlencode(query)
        try:
            self._socket = _connected(cluster, url).sock
        except (ApiException, WebSocketException, OSError) as error:
            raise self._explain(error, cluster, pod) from error
        self._reader = self._socket.makefile("rb", _BUFFER)
        self._channel, self._left = None, 0    # of the message that is being read: its channel, and bytes that are left
        self.status = None     # the exit status, once it has ended; -1 where that is unknown
        self.message = ""

    @staticmethod
    def _explain(error, cluster, pod):
        status = getattr(error, "status_code", None) or getattr(error, "status", None)
        where = f"pod {pod}, namespace {cluster.namespace}"
        body = getattr(error, "resp_body", None) or b""
        if status == 403 and not is_starting(status, body.decode("utf-8", "replace")):
            return ImageError("running a command in the pod is forbidden", where,
                              "grant create on pods/exec: see the Role in the documentation of ocne_builder", status=status)
        if status == 404:
            return ImageError("the pod is gone", where, advice.RUN_AGAIN)
        return Unreachable(f"a command could not be started in the pod: {getattr(error, 'strerror', None) or error}", where)

    def send(self, data):
        """Standard input. Raises Unreachable."""
        view = memoryview(data)
        try:
            while view:
                self._send(_BINARY, b"\0", view[:_MESSAGE])
                view = view[_MESSAGE:]
        except self._faults as error:
            raise Unreachable("the connection to the pod was lost", todo="it is tried again") from error

    def _send(self, opcode, *parts):
        length = sum(len(part) for part in parts)
        size = bytes((_MASKED | length,)) if length < 126 else bytes((_MASKED | 126,)) + length.to_bytes(2, "big")
        self._socket.sendall(b"".join((bytes((_FINAL | opcode,)), size, _MASK, *parts)))

    def receive(self, buffer, timeout):
        """(channel, number of bytes) of what comes next, in a memoryview; (None, 0) at the end of the command.

        timeout: seconds without anything. Raises Unreachable.
        """
        try:
            self._socket.settimeout(timeout)
            while not self._left:
                if not self._next():
                    return None, 0
            count = self._reader.readinto(buffer[:self._left])
            if not count:
                raise ConnectionError("the stream ended in the middle of a message")
        except self._faults as error:
            if self.status is not None:
                return None, 0
            raise Unreachable("the connection to the pod was lost", todo="it is tried again") from error
        self._left -= count
        return self._channel, count

    def _next(self):
        """Read the head of a frame, and all of one that has no output; False where it is the last one."""
        first, second = self._exactly(2)
        opcode, length = first & 15, second & 127
        if length > 125:
            length = int.from_bytes(self._exactly(2 if length == 126 else 8), "big")
        if opcode == _CLOSED:
            return False
        if opcode > _CLOSED:
            content = self._exactly(length)
            if opcode == _PING:
                self._send(opcode + 1, content)
            return True
        if opcode:      # else it goes on with the message before it
            self._channel, length = (self._exactly(1)[0], length - 1) if length else (None, 0)
        if self._channel in (_ERROR, _CLOSE):
            content = self._exactly(length)
            if self._channel == _ERROR:
                self._ended(content)
        else:
            self._left = length
        return True

    def _exactly(self, count):
        data = self._reader.read(count)
        if len(data) < count:
            raise ConnectionError("the stream ended in the middle of a message")
        return data

    def _ended(self, data):
        found = json.loads(data)
        self.message = found.get("message", "")
        if found.get("status") == "Success":
            self.status = 0
            return
        causes = (found.get("details") or {}).get("causes") or []
        self.status = next((int(cause["message"]) for cause in causes if cause.get("reason") == "ExitCode"), -1)

    def close(self):
        """End the connection, and a thread that waits for it; the command's input ends with it."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
        self._socket.close()


def run(cluster, pod, container, command, timeout=30):
    """(exit status, standard output, standard error) of a short command."""
    process, said, buffer = Exec(cluster, pod, container, command), {_STDOUT: b"", _STDERR: b""}, memoryview(bytearray(_BUFFER))
    deadline = time.monotonic() + timeout
    try:
        while True:
            channel, count = process.receive(buffer, timeout)
            if channel is None:
                break
            said[channel] += buffer[:count]
            if sum(map(len, said.values())) > _LONGEST or time.monotonic() > deadline:
                raise Unreachable("a command in the pod did not end", f"pod {pod}", advice.RUN_AGAIN)
    finally:
        process.close()
    if process.status is None:
        raise Unreachable("the connection to the pod was lost", f"pod {pod}", advice.RUN_AGAIN)
    return process.status, said[_STDOUT], said[_STDERR]


class Stream(io.RawIOBase):
    """Standard input and output of a command as one socket, for http.client."""

    def __init__(self, process, timeout):
        super().__init__()
        self._process, self._timeout = process, timeout

    def readable(self):
        return True

    def readinto(self, buffer):
        while True:
            channel, count = self._process.receive(buffer, self._timeout)
            if channel in (_STDOUT, None):
                return count

    # --- what http.client asks of a socket ---------------------------------------------------------

    def sendall(self, data):
        self._process.send(data)

    def makefile(self, _mode, *_arguments, **_keywords):
        # it is closed after each answer, and the connection goes on
        return _Borrowed(self)

    def settimeout(self, timeout):
        self._timeout = timeout

    def close(self):
        if not self.closed:
            self._process.close()
        super().close()


class _Borrowed(io.BufferedReader):
    """A reader whose end is not the stream's."""

    def close(self):
        pass

    def __del__(self):
        with contextlib.suppress(ValueError):   # the stream was closed before
            self.detach()
