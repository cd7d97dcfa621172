# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The agent as a real process, asked over loopback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from ansible_collections.ocne.images.plugins.module_utils.builders.remote import package
from ansible_collections.ocne.images.plugins.module_utils.builders.remote.client import ImageError
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.agent.asking import refused, send, sha256, start
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.builders.remote.agents import TOKEN, Agent, until


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], TOKEN + "x", "\u00e4"])
def test_a_wrong_token_is_refused(agent, token):
    stranger = agent.client(token=token)
    assert "token" in refused(403, stranger.request, "GET", "/v1/status")
    # also where much is sent before the answer can be read
    refused(403, stranger.request, "PUT", "/v1/files/a/chunk?digest=0", bytes(8 << 20))
    stranger.close_all()


def test_status(agent, client):
    status = client.json("GET", "/v1/status")
    assert status["protocol"] == 1 and status["workspace"] == str(agent.workspace) and status["idle_timeout"] == 60
    assert 0 < status["free_bytes"] < status["total_bytes"] and set(status["tools"]) == {"qemu-img", "skopeo", "ostree"}
    assert status["python"] == sys.version.split()[0] and "deflate" in status["encodings"]


@pytest.mark.parametrize("method, path", [
    ("GET", "/"), ("GET", "/v1"), ("GET", "/v1/status/x"), ("PUT", "/v1/status"), ("GET", "/v2/status"), ("GET", "/v1/__init__"), ("GET", "/v1/files"),
    ("GET", "/v1/jobs/x"), ("POST", "/v1/programs/" + "0" * 64), ("GET", "/v1/jobs/none/output"), ("GET", "/v1/files/none/chunks")])
def test_what_is_not_there(client, method, path):
    assert "no such" in refused(404, client.request, method, path, b"" if method != "GET" else None)


def test_a_chunk_that_changed_on_its_way_does_not_count(client):
    data = os.urandom(1000)
    refused(422, send, client, "spoilt", data, check="00000000")
    refused(422, send, client, "spoilt", data[:-1], size=1000, ranges="0:1000")
    assert client.json("GET", f"/v1/files/spoilt/received?digest={sha256(data)}")["ranges"] == []


def test_a_body_that_is_too_large(client):
    refused(413, client.request, "PUT", f"/v1/files/x/chunk?digest={'0' * 64}&size=100&ranges=0:5", bytes((16 << 20) + 1))
    # the connection is still of use
    assert client.json("GET", "/v1/status")


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"program": "x", "job": {}}', b'{"program": "x", "job": []}', b'{"job": {"password": "hunter2"',
                                  b'{"program": "%s", "interpreter": "python3", "job": {}}' % (b"0" * 64)])
def test_a_request_that_is_not_a_job(client, body):
    assert "hunter2" not in refused(400, client.request, "PUT", "/v1/jobs/odd", body)


# --- its end ---------------------------------------------------------------------------------------------


def test_it_ends_when_nobody_speaks(tmp_path):
    with Agent(tmp_path, idle_timeout=0.5) as other:
        friend, stranger = other.client(), other.client(token="wrong")
        began = time.monotonic()
        while time.monotonic() - began < 0.8:
            friend.json("GET", "/v1/status")
            time.sleep(0.1)
        assert other.process.poll() is None
        silent = time.monotonic()
        while other.process.poll() is None and time.monotonic() - silent < 5:
            with pytest.raises(ImageError):
                stranger.request("GET", "/v1/status")
            time.sleep(0.05)
        assert other.process.wait(5) == 0 and 0.3 < time.monotonic() - silent < 3
        assert other.log.read_text().splitlines()[-1] == "builder ended: nobody has spoken to it for 0.5 seconds"


def test_who_waits_for_output_speaks(tmp_path):
    with Agent(tmp_path, idle_timeout=0.4) as other:
        client = other.client()
        start(client, "quiet", "time.sleep(0.9)")
        assert client.request("GET", "/v1/jobs/quiet/output?wait=10").headers["X-State"] == "done"


def test_sigterm_stops_the_jobs(tmp_path):
    with Agent(tmp_path, grace=0.5) as other:
        client = other.client()
        start(client, "polite", "def end(*_):\n    print('cleaned')\n    sys.exit(0)\n"
                                "signal.signal(signal.SIGTERM, end)\nprint('up', flush=True)\ntime.sleep(60)")
        start(client, "deaf", "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint(os.getpid(), flush=True)\ntime.sleep(60)")
        outputs = [tmp_path / f"workspace/jobs/{name}/output" for name in ("polite", "deaf")]
        until(lambda: all(path.read_text().endswith("\n") for path in outputs))
        other.process.send_signal(signal.SIGTERM)
        assert other.process.wait(5) == 1
        assert outputs[0].read_text() == "up\ncleaned\n"
        assert not os.path.exists(f"/proc/{outputs[1].read_text().strip()}")
        log = other.log.read_text()
        assert "job deaf ended: killed by SIGKILL" in log and log.endswith("builder ended: received SIGTERM\n")


def test_an_empty_token_is_no_token(tmp_path):
    (tmp_path / "program.zip").write_bytes(package.program()[0])
    (tmp_path / "token").write_text("\n")
    ended = subprocess.run([sys.executable, "-I", "-c", package.START, str(tmp_path / "program.zip"), "--workspace", str(tmp_path / "w"), "--token-file",
                            str(tmp_path / "token"), "--port", "0", "--idle-timeout", "1"], stderr=subprocess.PIPE, timeout=10, check=False)
    assert ended.returncode == 1 and b"token file is empty" in ended.stderr
