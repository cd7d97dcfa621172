# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Requests over connections that break: real servers on loopback."""

from __future__ import annotations

import contextlib
import http.server
import json
import socket
import threading
import time

import pytest

from ansible_collections.ocne.images.plugins.module_utils.agent.protocol import Refusal
from ansible_collections.ocne.images.plugins.module_utils.builders.remote.client import ConnectionLost, DirectClient, retry_lost
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError


@contextlib.contextmanager
def http_server(answer):
    """answer(handler) writes the answer of each request."""
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            answer(self)

        def log_message(self, *_arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield DirectClient("127.0.0.1", server.server_address[1], "token")
        finally:
            server.shutdown()


@contextlib.contextmanager
def tcp_server(*conversations):
    """Each connection gets the next conversation: bytes to answer to whatever comes, then it is closed. Yields (client, connections)."""
    listener, seen = socket.create_server(("127.0.0.1", 0)), []

    def serve():
        for answer in conversations:
            try:
                client = listener.accept()[0]
            except OSError:
                return
            with client:
                seen.append(client.recv(65536))
                client.sendall(answer)
        with contextlib.suppress(OSError):
            while True:
                listener.accept()[0].close()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield DirectClient("127.0.0.1", listener.getsockname()[1], "token"), seen
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def reply(handler, status, body=b"", agent=True):
    handler.send_response(status)
    if agent:
        handler.send_header("X-Ocne-Agent", "1")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


OK = b"HTTP/1.1 200 OK\r\nX-Ocne-Agent: 1\r\nContent-Length: 2\r\n\r\n{}"


def test_an_answer():
    def tell(handler):
        reply(handler, 200, json.dumps([handler.path, handler.headers["X-Ocne-Token"], handler.headers["X-More"]]).encode())

    with http_server(tell) as client:
        client.prefix = "/proxy"
        answer = client.request("GET", "/v1/status?a=1", headers={"X-More": "more"})
        assert answer.status == 200 and answer.headers["content-length"] and answer.json() == ["/proxy/v1/status?a=1", "token", "more"]
        assert client.json("GET", "/v1/x") == ["/proxy/v1/x", "token", None]


def test_the_agents_own_error():
    error = ImageError("no", "there", "do it", fact=1)
    with http_server(lambda handler: reply(handler, 409, json.dumps({"error": error.as_dict()}).encode())) as client:
        with pytest.raises(Refusal) as caught:
            client.request("GET", "/v1/status")
        assert caught.value.status == 409 and str(caught.value) == "there: no; do it." and caught.value.details == {"fact": 1}


@pytest.mark.parametrize("status, kind", [(502, ConnectionLost), (503, ConnectionLost), (504, ConnectionLost), (429, ConnectionLost), (500, ConnectionLost),
                                          (401, ImageError), (403, ImageError), (404, ImageError), (200, ImageError)])
def test_the_answer_of_a_proxy(status, kind):
    with http_server(lambda handler: reply(handler, status, b"<html>no</html>", agent=False)) as client:
        with pytest.raises(ImageError, match=f"between here and the builder.*{status}") as caught:
            client.request("GET", "/v1/status")
        assert isinstance(caught.value, ConnectionLost) == (kind is ConnectionLost)


def test_a_connection_is_kept_and_made_anew():
    # the first connection is closed after its answer, which the client finds out at its second request
    with tcp_server(OK, OK) as (client, seen):
        assert client.json("GET", "/v1/a") == {} and client.json("GET", "/v1/b") == {}
        assert [text.split()[1] for text in seen] == [b"/v1/a", b"/v1/b"]
    with http_server(lambda handler: reply(handler, 200, str(handler.client_address[1]).encode())) as client:
        assert len({client.request("GET", "/v1/a").body for _number in range(3)}) == 1


@pytest.mark.parametrize("text", [b"", b"\x00\x01\x02\r\n\r\n", b"HTTP/1.1 200 OK\r\nX-Ocne-Agent: 1\r\nContent-Length: 10\r\n\r\nshort", b"HTTP/1.1 2",
                                  b"HTTP/1.1 500 No\r\nX-Ocne-Agent: 1\r\nContent-Length: 3\r\n\r\nxyz"])
def test_half_an_answer_is_a_lost_one(text):
    with tcp_server(text) as (client, _seen), pytest.raises(ConnectionLost):
        client.request("GET", "/v1/status")


def test_nobody_there():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectionLost, match="connection refused.*check that the cluster"):
        DirectClient("127.0.0.1", port, "token").request("GET", "/v1/status")


def test_silence_has_an_end():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        began = time.monotonic()
        with pytest.raises(ConnectionLost, match="no answer within 0.2 seconds"):
            DirectClient("127.0.0.1", listener.getsockname()[1], "token").request("GET", "/v1/status", timeout=0.2)
        assert time.monotonic() - began < 2


def test_each_thread_has_its_own_and_another_can_end_it():
    release = threading.Event()
    with http_server(lambda handler: release.wait(10) and reply(handler, 200)) as client:
        errors, threads = [], []

        def ask():
            try:
                client.request("GET", "/v1/slow")
            except ImageError as error:
                errors.append(error)

        for _number in range(2):
            threads.append(threading.Thread(target=ask))
            threads[-1].start()
        deadline = time.monotonic() + 5
        while len(client._connections) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        client.close_all()
        for thread in threads:
            thread.join(5)
        release.set()
        assert len(errors) == 2 and all(isinstance(error, ConnectionLost) for error in errors) and not client._connections


def test_patience():
    left, waits = [ConnectionLost("one"), ConnectionLost("two")], []

    def function():
        if left:
            raise left.pop(0)
        return "done"

    assert retry_lost(function, 5, lambda error, seconds: waits.append((str(error), seconds)), sleep=lambda seconds: None) == "done"
    assert ["one" in waits[0][0], "two" in waits[1][0]] == [True, True] and 0 < waits[0][1] < waits[1][1] * 3


def test_patience_has_an_end():
    began, calls = time.monotonic(), []

    def function():
        calls.append(time.monotonic())
        raise ConnectionLost("gone")

    with pytest.raises(ConnectionLost):
        retry_lost(function, 0.6)
    assert 0.5 < time.monotonic() - began < 3 and len(calls) >= 2


def test_other_errors_are_not_waited_for():
    def function():
        raise ImageError("no")

    with pytest.raises(ImageError, match="no"):
        retry_lost(function, 60, sleep=lambda seconds: pytest.fail("it waited"))
