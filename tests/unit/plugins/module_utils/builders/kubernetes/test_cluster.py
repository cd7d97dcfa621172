# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Against a small HTTP server on loopback that answers as an API server does; tests/integration has a real one."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import signal
import threading

import pytest

from ansible_collections.ocne.images.plugins.module_utils.builders.kubernetes import cluster as kube
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError, Interrupted
from ansible_collections.ocne.images.plugins.module_utils.common.lifeline import Lifeline
from ansible_collections.ocne.images.plugins.module_utils.common.process import descendants

pytest.importorskip("kubernetes", reason="the kubernetes client needs Python 3.10")


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    for name in [*os.environ]:
        if name.startswith(("K8S_AUTH_", "KUBE")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def server():
    """Answers with `answers` (status, dictionary), one after the other, and keeps what was asked."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            length = int(self.headers.get("Content-Length") or 0)
            self.server.asked.append((self.command, self.path, self.headers, self.rfile.read(length)))
            status, body = self.server.answers.pop(0)
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_DELETE = do_GET

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.answers, running.asked = [], []
        running.url = f"http://127.0.0.1:{running.server_address[1]}"
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def kubeconfig(server, token="of-the-file", namespace="of-context"):
    return {"apiVersion": "v1", "kind": "Config", "current-context": "a",
            "clusters": [{"name": "c", "cluster": {"server": server.url}}],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "a", "context": {"cluster": "c", "user": "u", "namespace": namespace}},
                         {"name": "b", "context": {"cluster": "c", "user": "u"}}]}


def cluster(server, namespace="ns", **options):
    return kube.Cluster(dict({"host": server.url, "api_key": "hidden"}, **options), namespace)


def test_host_and_token_are_enough(server):
    server.answers = [(200, {"items": [1]})]
    assert cluster(server).list("pods", labelSelector="a=b") == [1]
    (method, path, headers, _body), = server.asked
    assert (method, path) == ("GET", "/api/v1/namespaces/ns/pods?labelSelector=a%3Db")
    assert headers["Authorization"] == "Bearer hidden"


@pytest.mark.parametrize("how", ["dictionary", "file", "KUBECONFIG", "K8S_AUTH_KUBECONFIG", "home"])
def test_a_kubeconfig(server, tmp_path, monkeypatch, how):
    options, path = {}, tmp_path / "config"
    if how == "home":
        path = tmp_path / ".kube/config"
        path.parent.mkdir()
    path.write_text(json.dumps(kubeconfig(server)))
    if how == "dictionary":
        options = {"kubeconfig": kubeconfig(server)}
    elif how == "file":
        options = {"kubeconfig": str(path)}
    elif how != "home":
        monkeypatch.setenv(how, str(path))
    server.answers = [(200, {})]
    known = kube.Cluster(options)
    known.ask("GET", "/version")
    assert known.namespace == "of-context"
    assert server.asked[0][2]["Authorization"] == "Bearer of-the-file"


def test_another_context_has_another_namespace(server):
    assert kube.Cluster({"kubeconfig": kubeconfig(server), "context": "b"}).namespace == "default"


def test_options_are_above_the_kubeconfig(server, monkeypatch):
    monkeypatch.setenv("K8S_AUTH_API_KEY", "of-the-environment")
    server.answers = [(200, {}), (200, {})]
    kube.Cluster({"kubeconfig": kubeconfig(server)}).ask("GET", "/version")
    kube.Cluster({"kubeconfig": kubeconfig(server), "api_key": "of-the-task"}).ask("GET", "/version")
    assert [asked[2]["Authorization"] for asked in server.asked] == ["Bearer of-the-environment", "Bearer of-the-task"]


def test_acting_as_another(server):
    server.answers = [(200, {})]
    cluster(server, impersonate_user="jane", impersonate_groups=["a", "b"]).ask("GET", "/version")
    headers = server.asked[0][2]
    assert headers["Impersonate-User"] == "jane" and headers.get_all("Impersonate-Group") in (["a", "b"], ["a, b"])


@pytest.mark.parametrize("name, value, option, found", [
    ("K8S_AUTH_VERIFY_SSL", "no", "validate_certs", False),
    ("K8S_AUTH_VALIDATE_CERTS", "true", "validate_certs", True),
    ("K8S_AUTH_SSL_CA_CERT", "/ca", "ca_cert", "/ca"),
    ("K8S_AUTH_CERT_FILE", "/crt", "client_cert", "/crt"),
    ("K8S_AUTH_IMPERSONATE_GROUPS", "a,b", "impersonate_groups", ["a", "b"]),
    ("K8S_AUTH_PROXY_HEADERS_BASIC_AUTH", "a:b", "proxy_headers", {"basic_auth": "a:b"}),
])
def test_environment_variables(monkeypatch, name, value, option, found):
    monkeypatch.setenv(name, value)
    assert kube.from_environment({}) == {option: found}


@pytest.mark.parametrize("options, words", [
    ({}, "there is no kubeconfig, and this is not a pod of a cluster"),
    ({"kubeconfig": "/nothing/here"}, "the kubeconfig does not exist"),
    ({"kubeconfig": {"apiVersion": "v1"}}, "the kubeconfig cannot be used"),
])
def test_no_cluster_to_be_found(options, words):
    with pytest.raises(ImageError, match=words):
        kube.Cluster(options)


def test_a_kubeconfig_that_is_no_yaml(tmp_path):
    (tmp_path / "config").write_text("{: [")
    with pytest.raises(ImageError, match="the kubeconfig cannot be used"):
        kube.Cluster({"kubeconfig": str(tmp_path / "config")})


def test_a_stop_while_a_credential_plugin_runs(server, tmp_path):
    """The client only logs what goes wrong with one."""
    plugin = tmp_path / "plugin"
    plugin.write_text("#!/bin/sh\nkill -TERM $PPID\nsleep 1\n")
    plugin.chmod(0o755)
    config = kubeconfig(server)
    config["users"][0]["user"] = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin), "interactiveMode": "Never"}}
    with pytest.raises(Interrupted), Lifeline():
        kube.Cluster({"kubeconfig": config})
    # it is the user's own, and ends by itself: no later test must see it
    for pid in descendants():
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def test_a_context_that_is_not_there(server, tmp_path):
    (tmp_path / "config").write_text(json.dumps(kubeconfig(server)))
    with pytest.raises(ImageError, match="context"):
        kube.Cluster({"kubeconfig": str(tmp_path / "config"), "context": "none"})


def test_a_server_that_is_not_there(server):
    port = server.server_address[1]
    known = cluster(server, host=f"http://127.0.0.1:{port - 1 if port > 1025 else port + 1}")
    with pytest.raises(kube.Unreachable, match="cannot be reached"):
        known.list("pods")


@pytest.mark.parametrize("status, message, words, todo", [
    (401, "Unauthorized", "does not accept the credentials", "renew"),
    (403, 'pods is forbidden: User "x" cannot list resource "pods"', "cannot list resource", "Role"),
    (403, 'pods "x" is forbidden: violates PodSecurity "restricted:latest"', "violates PodSecurity", "security: restricted"),
    (403, 'pods "x" is forbidden: exceeded quota: q', "exceeded quota", "quota"),
    (404, 'namespaces "ns" not found', 'namespaces "ns" not found', "create_namespace"),
    (500, "etcdserver: request timed out", "etcdserver", None),
])
def test_faults_in_words(server, status, message, words, todo):
    server.answers = [(status, {"kind": "Status", "message": message, "reason": "R"})]
    with pytest.raises(kube.ApiFault) as caught:
        cluster(server).list("pods")
    error = caught.value
    assert words in error.what and (error.status, error.reason) == (status, "R")
    assert todo in error.todo if todo else error.todo is None
    assert "hidden" not in json.dumps(error.as_dict())


STARTING = {"message": 'jobs.batch is forbidden: User "x" cannot list resource: RBAC: [clusterrole "system:discovery" not found]'}


def test_a_server_that_does_not_know_its_roles_yet(server):
    server.answers = [(403, STARTING), (200, {"items": []})]
    assert cluster(server).list("pods") == []


def test_a_server_that_comes_back(server):
    server.answers = [(503, {"message": "shutting down"}), (429, {"message": "slow down"}), (200, {"items": []})]
    known = cluster(server)
    known.retry_seconds = 5
    assert known.list("pods") == []
    server.answers = [(503, {"message": "shutting down"})]
    with pytest.raises(kube.ApiFault):
        known.get("pods", "p", may_retry=False)


def test_a_refusal_is_not_asked_again(server):
    server.answers = [(403, {"message": "forbidden"})]
    with pytest.raises(kube.ApiFault):
        cluster(server).list("pods")


def test_a_refusal_of_what_was_allowed_before_is(server):
    server.answers = [(403, {"message": "forbidden"}), (200, {"items": []})]
    known = cluster(server)
    known.retry_seconds = 5
    assert known.list("pods") == []


def test_an_answer_that_is_no_json(server):
    server.answers = [(502, b"<html>bad gateway</html>")]
    with pytest.raises(kube.ApiFault, match="bad gateway"):
        cluster(server).list("pods")


def test_what_is_not_there(server):
    server.answers = [(404, {"message": "not found"}), (404, {"message": "not found"})]
    known = cluster(server)
    assert known.get("jobs", "j") is None
    assert known.delete("jobs", "j") is False
    assert json.loads(server.asked[1][3])["propagationPolicy"] == "Background"


def test_secrets_in_a_kubeconfig():
    assert set(kube.secrets_of({"users": [{"user": {"token": "t", "client-key-data": "k", "exec": {"command": "c"}}}], "clusters": []})) == {"t", "k"}
    assert list(kube.secrets_of("/path")) == []
