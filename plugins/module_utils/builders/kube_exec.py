# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A command in a pod: run to its end, or kept as a two-way stream that looks like a socket.

The frames are read here: the client's own buffer grows without limit, and takes time that grows with its square.
Protocol: Kubernetes' v5.channel.k8s.io and v4.channel.k8s.io, one byte of channel number before the data of each WebSocket message.
"""

from __future__ import annotations

import io
import json
import time
from urllib.parse import urlencode

from ..errors import ImageError
from .kube import Unreachable

_STDIN, _STDOUT, _STDERR, _ERROR, _CLOSE = 0, 1, 2, 3, 255
_MESSAGE = 32 << 10       # bytes of one message: larger ones are slower
_LONGEST = 1 << 20        # bytes kept of what a short command says


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
        headers = {key.lower(): value for key, value in cluster.headers().items()}
        try:
            self._socket = ws_client.create_websocket(cluster.configuration, url, headers)
        except (ApiException, WebSocketException, OSError) as error:
            raise self._explain(error, cluster, pod) from error
        self.status = None     # the exit status, once it has ended; -1 where that is unknown
        self.message = ""

    @staticmethod
    def _explain(error, cluster, pod):
        status = getattr(error, "status_code", None) or getattr(error, "status", None)
        where = f"pod {pod}, namespace {cluster.namespace}"
        if status == 403:
            return ImageError("running a command in the pod is forbidden", where,
                              "grant create on pods/exec: see the Role in the documentation of ocne_builder")
        if status == 404:
            return ImageError("the pod is gone", where, "run the task again")
        return Unreachable(f"a command could not be started in the pod: {getattr(error, 'strerror', None) or error}", where)

    def send(self, data):
        """Standard input. Raises Unreachable."""
        view = memoryview(data)
        try:
            while view:
                self._socket.send_binary(b"\0" + view[:_MESSAGE].tobytes())
                view = view[_MESSAGE:]
        except self._faults as error:
            raise Unreachable("the connection to the pod was lost", todo="it is tried again") from error

    def messages(self, timeout):
        """(channel, bytes) of each message, to the end of the command. timeout: seconds without one. Raises Unreachable."""
        while True:
            self._socket.settimeout(timeout)
            try:
                opcode, frame = self._socket.recv_data_frame(True)
            except self._faults as error:
                if self.status is not None:
                    return
                raise Unreachable("the connection to the pod was lost", todo="it is tried again") from error
            if opcode == 8:   # close
                return
            if opcode not in (1, 2) or not frame.data:
                continue
            channel, data = frame.data[0], frame.data[1:]
            if channel == _ERROR:
                self._ended(data)
            elif channel != _CLOSE:
                yield channel, data

    def _ended(self, data):
        found = json.loads(data)
        self.message = found.get("message", "")
        if found.get("status") == "Success":
            self.status = 0
            return
        causes = (found.get("details") or {}).get("causes") or []
        self.status = next((int(cause["message"]) for cause in causes if cause.get("reason") == "ExitCode"), -1)

    def close(self):
        self._socket.close(timeout=1)


def run(cluster, pod, container, command, timeout=30):
    """(exit status, standard output) of a short command."""
    process, output, errors = Exec(cluster, pod, container, command), b"", b""
    deadline = time.monotonic() + timeout
    try:
        for channel, data in process.messages(timeout):
            if channel == _STDOUT:
                output += data
            else:
                errors += data
            if len(output) + len(errors) > _LONGEST or time.monotonic() > deadline:
                raise Unreachable("a command in the pod did not end", f"pod {pod}", "run the task again")
    finally:
        process.close()
    if process.status is None:
        raise Unreachable("the connection to the pod was lost", f"pod {pod}", "run the task again")
    return process.status, output, errors


class Stream(io.RawIOBase):
    """Standard input and output of a command as one socket, for http.client."""

    def __init__(self, process, timeout):
        super().__init__()
        self._process, self._timeout = process, timeout
        self._messages, self._rest = None, b""

    def readable(self):
        return True

    def readinto(self, buffer):
        while not self._rest:
            if self._messages is None:
                self._messages = self._process.messages(self._timeout)
            try:
                channel, data = next(self._messages)
            except StopIteration:
                return 0
            if channel == _STDOUT:
                self._rest = data
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
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
        self.detach()
