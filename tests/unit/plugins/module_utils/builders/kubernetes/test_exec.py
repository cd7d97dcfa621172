# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Against a WebSocket server on loopback that speaks as an API server does; tests/integration has a real one."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import threading
import time

import pytest

from ansible_collections.ocne.images.plugins.module_utils.builders.kubernetes import cluster, exec

pytest.importorskip("kubernetes", reason="the kubernetes client needs Python 3.10")

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"   # RFC 6455 section 1.3
BINARY, CLOSE, PING, PONG = 2, 8, 9, 10
STDIN, STDOUT, STDERR, ERROR = b"\0", b"\1", b"\2", b"\3"


def frame(opcode, data, final=True):
    first = bytes((0x80 * final | opcode,))
    if len(data) < 126:
        return first + bytes((len(data),)) + data
    if len(data) < 1 << 16:
        return first + b"\x7e" + len(data).to_bytes(2, "big") + data
    return first + b"\x7f" + len(data).to_bytes(8, "big") + data


def ended(status):
    if not status:
        return frame(BINARY, ERROR + json.dumps({"status": "Success"}).encode())
    causes = {"causes": [{"reason": "ExitCode", "message": str(status)}]}
    return frame(BINARY, ERROR + json.dumps({"status": "Failure", "message": "it failed", "details": causes}).encode())


class Server:
    """Accepts one command and does conversation(connection) with who asked for it."""

    def __init__(self, conversation):
        self._listener, self._conversation = socket.create_server(("127.0.0.1", 0)), conversation
        self.cluster = cluster.Cluster({"host": f"http://127.0.0.1:{self._listener.getsockname()[1]}", "api_key": "hidden"}, "ns")
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        with self._listener.accept()[0] as connection:
            self.file = connection.makefile("rb")
            lines = iter(self.file.readline, b"\r\n")
            found = dict(line.decode().strip().lower().split(": ", 1) if b": " in line and b"Key" not in line else ("key", line.split()[-1].decode())
                         for line in lines)
            accept = base64.b64encode(hashlib.sha1(found["key"].encode() + _GUID).digest()).decode()
            connection.sendall((f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n"
                                "Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n").encode())
            self._conversation(self, connection)
            self.file.close()

    def received(self):
        """(opcode, data) of the client's next frame, which must be masked."""
        first, second = self.file.read(2)
        length = second & 127
        if length > 125:
            length = int.from_bytes(self.file.read(2 if length == 126 else 8), "big")
        assert first & 0x80 and second & 0x80
        mask = self.file.read(4) * (length // 4 + 1)
        return first & 15, bytes(a ^ b for a, b in zip(self.file.read(length), mask))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc_info):
        self._listener.close()
        self._thread.join(10)
        assert not self._thread.is_alive()


def run(conversation):
    with Server(conversation) as server:
        return exec.run(server.cluster, "pod", "builder", ["true"])


@pytest.mark.parametrize("status", [0, 3])
def test_a_short_command(status):
    large = os.urandom(70_000)

    def conversation(_server, connection):
        # the first ones are empty, as an API server's are
        connection.sendall(frame(BINARY, STDOUT) + frame(BINARY, b"") + frame(BINARY, STDOUT + large) + frame(BINARY, STDERR + b"words" * 40))
        connection.sendall(frame(BINARY, STDOUT + b"in ", final=False) + frame(0, b"pieces") + ended(status) + frame(CLOSE, b"\x03\xe8"))

    assert run(conversation) == (status, large + b"in pieces", b"words" * 40)


def test_a_ping_is_answered():
    answers = []

    def conversation(server, connection):
        connection.sendall(frame(PING, b"are you there"))
        answers.append(server.received())
        connection.sendall(ended(0) + frame(CLOSE, b""))

    assert run(conversation)[0] == 0
    assert answers == [(PONG, b"are you there")]


@pytest.mark.parametrize("last", [b"", frame(BINARY, STDOUT + b"half of it")[:-3]])
def test_a_connection_that_ends_before_the_command(last):
    with pytest.raises(cluster.Unreachable, match="the connection to the pod was lost"):
        run(lambda _server, connection: connection.sendall(last))


def test_a_stream():
    data, pieces = os.urandom(300_001), []

    def conversation(server, connection):
        while sum(len(piece) - 1 for piece in pieces) < len(data):
            opcode, piece = server.received()
            assert opcode == BINARY and piece[:1] == STDIN and len(piece) <= 64 << 10
            pieces.append(piece)
            connection.sendall(frame(BINARY, STDERR + b"not for the reader") + frame(BINARY, STDOUT + piece[1:]))
        connection.sendall(ended(0))

    with Server(conversation) as server:
        stream = exec.Stream(exec.Exec(server.cluster, "pod", "builder", ["cat"], stdin=True), 10)
        stream.sendall(data)
        reader = stream.makefile("rb")
        assert reader.read(len(data)) == data and reader.read(1) == b""
        stream.close()
    assert b"".join(piece[1:] for piece in pieces) == data


def test_another_thread_can_end_a_stream():
    with Server(lambda server, _connection: server.file.read()) as server:
        stream = exec.Stream(exec.Exec(server.cluster, "pod", "builder", ["cat"], stdin=True), 30)
        errors = []

        def wait():
            try:
                stream.makefile("rb").read(1)
            except cluster.Unreachable as error:
                errors.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.1)
        stream.close()
        thread.join(5)
        assert errors and not thread.is_alive()
