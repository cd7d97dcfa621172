# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Against a server on loopback that answers as an API server does; tests/integration has a real one."""

from __future__ import annotations

import http.server
import json
import threading
import time

import pytest

from ansible_collections.ocne.images.plugins.module_utils.builders.kubernetes import clients
from ansible_collections.ocne.images.plugins.module_utils.builders.kubernetes import cluster as kube
from ansible_collections.ocne.images.plugins.module_utils.builders.remote.client import retry_lost
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError, Interrupted
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.builders.remote.agents import until

pytest.importorskip("kubernetes", reason="the kubernetes client needs Python 3.10")


@pytest.fixture
def server():
    """An API server behind whose proxy nobody answers, until `release` is set."""
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            if "/proxy/" in self.path:
                self.server.asked.append(self.path)
                self.server.release.wait(20)
            data = json.dumps({"message": "not found"}).encode()
            self.send_response(404)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.asked, running.release = [], threading.Event()
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield running
        running.release.set()
        running.shutdown()


def test_another_thread_can_end_what_one_waits_for(server):
    cluster = kube.Cluster({"host": f"http://127.0.0.1:{server.server_address[1]}", "api_key": "hidden"}, "ns")
    # one made later for the same cluster does not hide what this one waits for
    client, _other = clients.ProxyClient(cluster, "pod", "token"), clients.ProxyClient(cluster, "pod", "token")
    errors = []

    def ask():
        try:
            client.request("GET", "/v1/slow")
        except ImageError as error:
            errors.append(error)

    threads = [threading.Thread(target=ask) for _number in range(2)]
    for thread in threads:
        thread.start()
    until(lambda: len(server.asked) == 2)
    began = time.monotonic()
    for thread in threads:
        client.close(thread.ident)
    for thread in threads:
        thread.join(10)
    assert len(errors) == 2 and time.monotonic() - began < 2


@pytest.mark.parametrize("kind", [clients.ProxyClient, clients.ExecClient])
def test_a_stop_while_the_pods_fate_is_asked_is_no_lost_connection(server, monkeypatch, kind):
    """That would be waited for, for some minutes."""
    def lost(*_arguments, **_options):
        raise kube.Unreachable("the API server cannot be reached")

    def stop(*_arguments):
        raise Interrupted("received SIGINT")

    cluster = kube.Cluster({"host": f"http://127.0.0.1:{server.server_address[1]}", "api_key": "hidden"}, "ns")
    monkeypatch.setattr(cluster, "send", lost)
    monkeypatch.setattr(clients.exec, "Exec", lost)
    monkeypatch.setattr(clients.pod_life, "fate", stop)
    client, waits = kind(cluster, "pod", "token"), []
    with pytest.raises(Interrupted):
        retry_lost(lambda: client.request("GET", "/v1/status"), 1, on_wait=lambda error, seconds: waits.append(error))
    assert not waits
