# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Faults of a service that is spoken to by HTTPS; what each of its users says is in their tests, before a real endpoint."""

from __future__ import annotations

import email.utils
import errno
import socket
import ssl
import time

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common import http_faults
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.common.http_faults import CONNECT, EXCHANGE, PROXY, HttpFault


def date(seconds):
    return email.utils.formatdate(time.time() + seconds, usegmt=True)


@pytest.mark.parametrize("text, seconds", [
    ("7", 7), ("0", 0), ("0.5", 0.5), (" 3 ", 3), (None, None), ("", None), ("soon", None), ("-3", None), ("nan", None), ("inf", None),
    ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("Wed, 99 Oct 2015 07:28:00 GMT", None),
])
def test_retry_after(text, seconds):
    assert http_faults.retry_after(text) == seconds


def test_retry_after_is_a_date_too():
    assert 100 < http_faults.retry_after(date(120)) <= 120
    # by the clock of who says it, where that is told
    assert http_faults.retry_after(date(1120), date(1000)) in (119, 120, 121)
    assert 100 < http_faults.retry_after(date(120), "nonsense") <= 120


def test_what_passes():
    assert [status for status in (200, 400, 401, 403, 404, 408, 409, 412, 429, 500, 501, 502, 503, 504) if http_faults.passes(status)] == [
        408, 429, 500, 502, 503, 504]
    assert http_faults.passes(400, "UnmatchedContentMD5") and not http_faults.passes(400, "InvalidParameter")


@pytest.mark.parametrize("text, told", [
    ("GET https://h/p/AbC-dEf_123456789/n/ns failed", "GET https://h/p/***/n/ns failed"),
    ("proxy http://me:hunter2@proxy:3128/", "proxy http://***@proxy:3128/"),
    ("two\n lines", "two lines"), ('signature="c2VjcmV0"', 'signature="***"'),
])
def test_secrets_are_in_no_message(text, told):
    assert http_faults.redact(text) == told


# --- another try -------------------------------------------------------------------------------------


class Attempts:
    """Raises these, one after the other, then answers."""

    def __init__(self, *faults):
        self.faults, self.calls = list(faults), 0

    def __call__(self):
        self.calls += 1
        if self.faults:
            raise self.faults.pop(0)
        return "done"


def test_what_may_pass_is_tried_again():
    slept, attempts = [], Attempts(*(HttpFault("x", passing=True, status=500) for _number in range(5)))
    assert http_faults.persist(attempts, sleep=slept.append) == "done"
    assert all(0.75 * pause <= seconds <= 1.25 * pause for seconds, pause in zip(slept, (0.5, 1, 2, 4, 8))) and len(slept) == 5


def test_the_service_is_left_in_peace():
    slept = []
    http_faults.persist(Attempts(HttpFault("x", passing=True, retry_after=30), HttpFault("x", passing=True)), sleep=slept.append)
    assert 30 <= slept[0] <= 37.5 and slept[1] < 2
    with pytest.raises(HttpFault):
        http_faults.persist(Attempts(HttpFault("x", passing=True, retry_after=400)), sleep=pytest.fail)


def test_others_are_not_tried_again():
    for raised in (HttpFault("x", status=404), ImageError("no"), ValueError("a defect")):
        attempts = Attempts(raised)
        with pytest.raises(type(raised)):
            http_faults.persist(attempts, sleep=pytest.fail)
        assert attempts.calls == 1


def test_no_connection_is_not_waited_for_as_long(monkeypatch):
    monkeypatch.setattr(http_faults, "_CONNECT_SECONDS", 0.3)
    began, attempts = time.monotonic(), Attempts(*(HttpFault("x", passing=True, connecting=True) for _number in range(100)))
    with pytest.raises(HttpFault):
        http_faults.persist(attempts)
    assert time.monotonic() - began < 2 and attempts.calls == 2


# --- silence -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("error, stage, words, passing, connecting", [
    (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), CONNECT, "h refuses connections", True, True),
    (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), CONNECT, "the name of h cannot be resolved", False, True),
    (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), CONNECT, "the name of h cannot be resolved", True, True),
    (socket.timeout("timed out"), CONNECT, "h does not answer", True, True),
    (OSError(errno.EHOSTUNREACH, "No route to host"), CONNECT, "h cannot be reached (No route to host)", True, True),
    (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"), CONNECT, "h does not speak TLS", False, True),
    (ssl.SSLCertVerificationError(1, "no"), CONNECT, "the certificate of h is not trusted (it cannot be verified)", False, True),
    (OSError("Tunnel connection failed: 407 No"), PROXY, "the proxy does not let us through to h (Tunnel connection failed: 407 No)", False, True),
    (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), PROXY, "the proxy does not let us through to h ([Errno 111] Connection refused)",
     True, True),
    (socket.timeout("timed out"), EXCHANGE, "h has been silent for too long", True, False),
    (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), EXCHANGE, "the connection to h broke (Connection reset by peer)", True, False),
])
def test_no_answer_is_a_sentence(error, stage, words, passing, connecting):
    told = http_faults.silence([ValueError("around it"), error], "h", stage, "look there")
    assert (told[0], *told[2:]) == (words, passing, connecting)
    assert "407" in words or (told[1] == "look there") == (connecting and stage == CONNECT and "certificate" not in words)


def test_who_knows_that_it_was_late_says_so():
    assert http_faults.silence([ValueError("x")], "h", EXCHANGE, None, late=True)[0] == "h has been silent for too long"
