# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Uploads over TLS to servers that answer as they like; the lab's endpoint, and proxies, are in the tests of work/send.py."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common import https
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.common.http_faults import HttpFault


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """The path of a certificate for localhost that signs itself; its key is beside it."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=DNS:localhost", "-keyout", folder / "key", "-out", folder / "crt"], check=True, capture_output=True)
    return folder / "crt"


class Speaker:
    """A server that does with each connection what talk(connection, number) does; connections are counted from 1."""

    def __init__(self, certificate, talk):
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, certificate.with_name("key"))
        self._talk, self.count = talk, 0
        self._listener = socket.create_server(("localhost", 0))
        self.url = f"https://localhost:{self._listener.getsockname()[1]}/p/TOKEN-of-it/"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                plain = self._listener.accept()[0]
            except OSError:
                return
            self.count += 1
            threading.Thread(target=self._serve, args=(plain, self.count), daemon=True).start()

    def _serve(self, plain, number):
        try:
            with self._context.wrap_socket(plain, server_side=True) as connection:
                self._talk(connection, number)
        except OSError:
            pass

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self._listener.close()


def head_of(connection):
    """The first lines of a request, and what of its body came with them."""
    data = b""
    while b"\r\n\r\n" not in data:
        got = connection.recv(1 << 16)
        if not got:
            raise OSError("gone")
        data += got
    head, _end, body = data.partition(b"\r\n\r\n")
    return head.decode(), body


def read(connection, count):
    data = b""
    while len(data) < count:
        got = connection.recv(1 << 16)
        if not got:
            raise OSError("gone")
        data += got
    return data


def take(connection, answer=b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Y: z\r\n\r\nok"):
    """One request, answered; (first lines, body)."""
    head, body = head_of(connection)
    length = int(next(line.split(": ")[1] for line in head.split("\r\n") if line.lower().startswith("content-length")))
    body += read(connection, length - len(body))
    connection.sendall(answer)
    return head, body


def client(server, certificate, **more):
    return https.Client(https.Server(server.url, str(certificate), **more))


def put(made, data=b"abc", path="/p/TOKEN-of-it/1"):
    return made.put(path, [data[:2], data[2:]], len(data), {"Content-MD5": "x"})


def test_one_request_after_the_other_over_one_connection(certificate):
    seen = []

    def talk(connection, number):
        while True:
            seen.append((number, *take(connection)))
    with Speaker(certificate, talk) as server:
        made = client(server, certificate)
        for _number in range(3):
            answer = put(made)
            assert (answer.status, answer.body, answer.headers.get("x-y")) == (200, b"ok", "z")
        made.close()
        assert put(made).status == 200
        made.close()
    assert [(number, body) for number, _head, body in seen] == [(1, b"abc")] * 3 + [(2, b"abc")]
    lines = seen[0][1].split("\r\n")
    assert lines[0] == "PUT /p/TOKEN-of-it/1 HTTP/1.1" and {"Content-Length: 3", "Content-MD5: x"} <= set(lines)
    assert [line for line in lines if line.startswith("Host: ")] == [f"Host: {server.url.split('/')[2]}"]
    assert not [line for line in lines if line.lower().startswith("transfer-encoding")]


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", b"HTTP/1.0 200 OK\r\n\r\nok",
    b"HTTP/1.1 500 No\r\nContent-Length: 200000\r\n\r\n" + 200_000 * b"x", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok",
])
def test_what_does_not_leave_a_connection_fit_for_another_request(certificate, answer):
    def talk(connection, number):
        take(connection, answer)
        if b"close" not in answer and b"200000" in answer:
            time.sleep(5)
    with Speaker(certificate, talk) as server:
        made = client(server, certificate)
        assert len(put(made).body) in (2, 64 << 10)
        put(made)
        assert server.count == 2
        made.close()


def test_an_answer_before_the_end(certificate):
    """The server says no and hangs up while the body comes."""
    def talk(connection, number):
        head_of(connection)
        connection.sendall(b"HTTP/1.1 403 No\r\nContent-Length: 7\r\n\r\nnot you")
        time.sleep(0.3)
    with Speaker(certificate, talk) as server:
        made, began = client(server, certificate, read_timeout=10), time.monotonic()
        answer = made.put("/p/TOKEN-of-it/1", (bytes(1 << 18) for _number in range(256)), 64 << 20, {})
        assert (answer.status, answer.body) == (403, b"not you") and time.monotonic() - began < 5
        # the rest of the body is in nobody's way
        assert put(made).status == 403 and server.count == 2


def test_an_answer_before_the_end_of_who_does_not_hang_up(certificate, monkeypatch):
    over = threading.Event()

    def talk(connection, number):
        head_of(connection)
        connection.sendall(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
        over.wait(30)
    monkeypatch.setattr(https, "_EARLY", 0.5)
    with Speaker(certificate, talk) as server:
        began = time.monotonic()
        # as much as the kernel takes at once
        answer = client(server, certificate, read_timeout=20).put("/p/TOKEN-of-it/1", [bytes(1 << 18)] * 4, 1 << 20, {})
        assert answer.status == 403 and time.monotonic() - began < 5
    over.set()


@pytest.mark.parametrize("said, words", [
    (b"", "the connection to localhost:.* broke"), (b"nonsense\r\n\r\n", r"broke \(nonsense\)"),
    (b"HTTP/1.1 200 OK\r\nX: " + 70_000 * b"x", "broke"),
])
def test_what_is_no_answer(certificate, said, words):
    def talk(connection, number):
        take(connection, said)
    with Speaker(certificate, talk) as server, pytest.raises(HttpFault, match=words) as caught:
        put(client(server, certificate))
    assert caught.value.passing and not caught.value.connecting and "TOKEN" not in str(caught.value.as_dict())


def test_silence(certificate):
    over = threading.Event()
    with Speaker(certificate, lambda connection, number: over.wait(30)) as server:
        began = time.monotonic()
        with pytest.raises(HttpFault, match="localhost:.* has been silent for too long; check the network"):
            put(client(server, certificate, read_timeout=1))
        # also where it takes nothing
        with pytest.raises(HttpFault, match="has been silent for too long"):
            client(server, certificate, read_timeout=1).put("/p/TOKEN-of-it/1", (bytes(1 << 18) for _number in range(256)), 64 << 20, {})
        assert 1.9 < time.monotonic() - began < 8
    over.set()


def test_another_thread_ends_it(certificate):
    over = threading.Event()
    with Speaker(certificate, lambda connection, number: over.wait(30)) as server:
        made, told = client(server, certificate, read_timeout=30), []
        made.abort()   # nothing to end

        def ask():
            with pytest.raises(HttpFault, match="broke") as caught:
                put(made)
            told.append(caught.value)
        thread = threading.Thread(target=ask)
        thread.start()
        time.sleep(0.5)
        made.abort()
        thread.join(2)
        assert told and not thread.is_alive()
    over.set()


def test_what_the_pieces_raise_is_raised(certificate):
    def pieces():
        yield b"a"
        raise KeyError("over")
    with Speaker(certificate, lambda connection, number: take(connection)) as server:
        made = client(server, certificate)
        with pytest.raises(KeyError):
            made.put("/p/TOKEN-of-it/1", pieces(), 10, {})
        assert put(made).status == 200 and server.count == 2


@pytest.mark.parametrize("url", ["http://localhost/p/TOKEN-of-it/", "https:///p/TOKEN-of-it/", "https://localhost:many/p/TOKEN-of-it/", "/p/TOKEN-of-it/",
                                 "https://localhost/p/TOKEN-of-it/\r\n", "https://localhost/p/TOKEN-of it/", "https://localhost/p/TOKEN-of-it/ä"])
def test_what_is_no_url(url):
    with pytest.raises(ImageError, match="^the URL is none of an HTTPS server; look there") as caught:
        https.Server(url, todo="look there")
    assert "TOKEN" not in str(caught.value.as_dict())


def test_certificates_of_private_authorities(certificate, tmp_path):
    # this one has no key identifiers, as those of older tools
    assert not https.trust(str(certificate)).verify_flags & getattr(ssl, "VERIFY_X509_STRICT", 0)
    assert https.trust(certificate.read_text()).get_ca_certs() == https.trust(str(certificate)).get_ca_certs() != []
    assert https.trust().verify_mode == ssl.CERT_REQUIRED and https.trust().check_hostname


@pytest.mark.parametrize("address, words", [("https://me:hunter2@proxy:1", "a proxy that is spoken to by https is not supported here"),
                                            ("socks5://proxy:1", "a proxy that is spoken to by socks5 is not supported"),
                                            ("http://:1", "proxy is no address of a proxy")])
def test_proxies_that_cannot_be(address, words):
    with pytest.raises(ImageError, match=words) as caught:
        https.Server("https://localhost/", proxy=address)
    assert "hunter2" not in str(caught.value.as_dict())
