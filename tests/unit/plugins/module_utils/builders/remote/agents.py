# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A real agent on loopback, and a TCP proxy that misbehaves as networks do, for unit tests."""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time
import zipfile

from ansible_collections.ocne.images.plugins.module_utils.builders.remote import client, package
from ansible_collections.ocne.images.plugins.module_utils.work import program as work_program

TOKEN = "only-the-two-ends-know"


def until(condition, seconds=10):
    """Wait for something to be so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)


class Agent:
    """One agent process with a workspace of its own."""

    def __init__(self, folder, *arguments, idle_timeout=60, grace=5):
        self.folder = pathlib.Path(folder)
        self.workspace = self.folder / "workspace"
        (self.folder / "program.zip").write_bytes(package.program()[0])
        (self.folder / "token").write_text(TOKEN + "\n")
        self.log = self.folder / "log"
        port_file = self.folder / "port"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-c", package.START, str(self.folder / "program.zip"), "--workspace", str(self.workspace),
                 "--token-file", str(self.folder / "token"), "--host", "127.0.0.1", "--port", "0", "--port-file", str(port_file),
                 "--idle-timeout", str(idle_timeout), "--grace", str(grace), *arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")
        until(lambda: port_file.exists() or self.process.poll() is not None)
        assert port_file.exists(), self.log.read_text()
        self.port = int(port_file.read_text())

    def client(self, port=None, token=TOKEN):
        return client.DirectClient("127.0.0.1", port or self.port, token)

    def raw(self, method, path, body=None, **headers):
        """(status, body) of a request that no client would make."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.putrequest(method, path)
            for name, value in {"X-Ocne-Token": TOKEN, "Content-Length": str(len(body or b"")), **headers}.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def stop(self):
        self.process.terminate()
        try:
            return self.process.wait(20)
        finally:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.stop()


class AgentSession:
    """A pod that is a real agent on loopback, as the session of a task: the builder is named b1, and nothing is mounted."""

    where, retry_seconds, limit, params, own, mounted = "pod b1", 5, 1 << 30, {"name": "b1"}, False, None

    def __init__(self, agent_client):
        self.client, self.there, self.status = agent_client, True, agent_client.json("GET", "/v1/status")

    def open(self, make=True, find=None):
        return self.there or make

    def ask(self, method, path, body=None):
        return self.client.request(method, path, body)

    def ask_json(self, method, path, data=None):
        return self.client.json(method, path, data)

    def has(self, name, digest):
        return self.ask_json("GET", f"/v1/files/{name}/received?digest={digest}&needed=0")["done"]

    def files(self):
        return self.ask_json("GET", "/v1/status")["files"]

    def allocated(self):
        return self.ask_json("GET", "/v1/status")["allocated"]


def program(source):
    """A program for the agent: a zip file whose main() runs this source."""
    parts = work_program.__name__.split(".")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for count in range(1, len(parts)):
            archive.writestr(zipfile.ZipInfo("/".join(parts[:count]) + "/__init__.py"), "")
        archive.writestr(zipfile.ZipInfo("/".join(parts) + ".py"), "import json, os, signal, subprocess, sys, time\n\n\ndef main():\n"
                         + "".join(f"    {line}\n" for line in source.strip().splitlines()))
    return buffer.getvalue()


class Proxy:
    """A TCP proxy to `port`. spoil(data, seen, upstream) returns what goes on, or None: the connection is cut.

    seen: bytes that have gone this way in this connection before; upstream: towards the agent.
    """

    def __init__(self, port, spoil=lambda data, seen, upstream: data):
        self._port, self._spoil = port, spoil
        self._sockets, self._closed = [], False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.connections, self.up, self.down = 0, 0, 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client = self._listener.accept()[0]
                server = socket.create_connection(("127.0.0.1", self._port))
            except OSError:
                return
            self.connections += 1
            self._sockets += [client, server]
            for ends in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, source, target, upstream):
        seen = 0
        with contextlib.suppress(OSError):
            while True:
                data = source.recv(1 << 16)
                if not data:
                    break
                count = len(data)
                data = self._spoil(data, seen, upstream)
                if data is None:
                    break
                seen += count
                if upstream:
                    self.up += count
                else:
                    self.down += count
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        for end in [self._listener, *self._sockets]:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


def environment():
    """For a Python process that shall find the collection."""
    root = str(pathlib.Path(package.__file__).parents[7])
    return dict(os.environ, PYTHONPATH=root)
