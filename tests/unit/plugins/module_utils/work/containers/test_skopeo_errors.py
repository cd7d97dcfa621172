# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What skopeo's words mean."""

from __future__ import annotations

import json

import pytest

from ansible_collections.ocne.images.plugins.module_utils.work.containers import reference
from ansible_collections.ocne.images.plugins.module_utils.work.containers.skopeo_errors import explain

PING = 'pinging container registry h.example: '
GET = PING + 'Get \\"https://h.example/v2/\\": '
FATAL = 'time="2026-01-01T00:00:00Z" level=fatal msg="Error parsing image name \\"docker://h.example/ock:1.3\\": {}"'


@pytest.mark.parametrize("words, what, todo, transient", [
    ("reading manifest 1.3 in h.example/ock: manifest unknown: manifest unknown", "there is no such image", "quote versions", False),
    ("reading manifest 1.3 in h.example/ock: unauthorized: authentication required", "did not let us in", "registry.username", False),
    ("reading manifest 1.3 in h.example/ock: denied: requested access to the resource is denied", "did not let us in", "registry.username", False),
    (GET + "x509: certificate signed by unknown authority",
     "not trusted: x509: certificate signed by unknown authority", "registry.ca_cert", False),
    (GET + "dial tcp: lookup h.example: no such host", "name is not known", "HTTPS_PROXY", False),
    (GET + "dial tcp 1.2.3.4:443: connect: connection refused", "cannot be reached", "proxy", True),
    (GET + "http: server gave HTTP response to HTTPS client", "plain http", "registry.verify", False),
    (PING + "received unexpected HTTP status: 503 Service Unavailable", "fault of its own: received unexpected HTTP status: 503", "retries", True),
    (PING + "received unexpected HTTP status: 502 Bad Gateway", "502", "retries", True),
    ("reading manifest 1.3 in h.example/ock: toomanyrequests: slow down", "slow down", "retries", True),
    ("reading blob sha256:0123: Get \\\"https://h.example/x\\\": net/http: TLS handshake timeout", "in time", "retries", True),
    ("Source image rejected: Running image docker://h.example/ock:1.3 is rejected by policy.", "signature policy", "registry.policy", False),
    ("unexpected EOF", "connection to the registry broke", "retries", True),
    ("read tcp 1.2.3.4:5->6.7.8.9:443: read: connection reset by peer", "connection to the registry broke", "retries", True),
    ("something entirely new", "skopeo: Error parsing image name", None, False),
])
def test_what_skopeo_says(words, what, todo, transient):
    error = explain(FATAL.format(words), reference.parse("h.example/ock:1.3"), 1)
    assert what in error.what
    assert (todo or "") in (error.todo or "")
    assert error.details.get("transient", False) is transient


def test_a_proxy_s_password_is_not_repeated():
    error = explain(FATAL.format("proxyconnect tcp: dial http://user:s3cret@proxy.example:3128: connection refused"), reference.parse("h.example/ock"), 1)
    assert "s3cret" not in json.dumps(error.as_dict()) and "cannot be reached" in error.what


def test_the_last_line_counts_and_the_others_are_kept():
    words = "time=1 level=warning msg=\"x509 of another day\"\n" + FATAL.format("manifest unknown") + "\n"
    error = explain(words, reference.parse("h.example/ock:1.33"), 1)
    assert error.what == "there is no such image" and "quote" not in error.todo
    assert error.details["stderr"] == words.strip() and error.where == "docker://h.example/ock:1.33"


def test_without_words_its_status_is_told():
    error = explain("", reference.parse("h.example/ock"), 3)
    assert "skopeo ended with exit status 3" in error.what and error.details == {"tool": "skopeo", "status": 3, "stderr": ""}
