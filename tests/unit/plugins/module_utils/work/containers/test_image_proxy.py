# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The client of skopeo's image proxy, with the real one and with one that misbehaves."""

from __future__ import annotations

import json
import os
import select
import shutil
import socket
import sys

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.common.progress import silent
from ansible_collections.ocne.images.plugins.module_utils.work.containers import reference
from ansible_collections.ocne.images.plugins.module_utils.work.containers.image_proxy import ImageProxy
from ansible_collections.ocne.images.plugins.module_utils.work.containers.skopeo import Registry, Skopeo
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.work.containers.images import NOISE, Image, member, tar

#: a skopeo that answers {method: [value, data or None, fault or None, fault of FinishPipe or None]} of the file PLAN; or "dies"
PROXY = """#!%s -IS
import json, os, socket, sys, threading
plan = json.load(open(os.path.join(os.path.dirname(sys.argv[0]), "plan")))
if "words" in plan:
    sys.exit(plan["words"])
ours = socket.socket(fileno=int(sys.argv[sys.argv.index("--sockfd") + 1]))
verdict = None
while True:
    asked = json.loads(ours.recv(1 << 15) or sys.exit())
    method = asked["method"]
    if plan.get(method) == "dies":
        sys.exit('time="x" level=fatal msg="connection reset by peer"')
    if method == "FinishPipe":
        writer.join()
        os.close(end)
        ours.send(json.dumps({"success": not verdict, "error": verdict, "value": None, "pipeid": 0}).encode())
        continue
    value, data, fault, verdict = plan.get(method, [None, None, None, None])
    answer = {"success": not fault, "value": value, "pipeid": 0}
    if fault:
        answer.update(error=fault[0], error_code=fault[1])
    descriptors = []
    if data is not None:
        start, end = os.pipe()
        descriptors, answer["pipeid"] = [start], 7
        writer = threading.Thread(target=lambda: [os.write(end, b"x" * min(65536, data - at)) for at in range(0, data, 65536)], daemon=True)
        writer.start()
    socket.send_fds(ours, [json.dumps(answer).encode()], descriptors)
    for one in descriptors:
        os.close(one)
"""
GREETING = ["0.2.8", None, None, None]


@pytest.fixture
def skopeo(tmp_path):
    """skopeo(reference) -> an entered Skopeo; all descriptors are closed at the end."""
    before, entered = len(os.listdir("/proc/self/fd")), []

    def enter(text):
        entered.append(Skopeo(reference.parse(text), Registry(), str(tmp_path), "amd64", 0, silent()))
        return entered[-1].__enter__()
    yield enter
    for one in entered:
        one.__exit__()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.fixture
def proxy(tmp_path, monkeypatch, skopeo):
    """proxy(plan) -> an ImageProxy of such a skopeo."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/skopeo").write_text(PROXY % sys.executable)
    os.chmod(tmp_path / "bin/skopeo", 0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    opened = []

    def start(**plan):
        (tmp_path / "bin/plan").write_text(json.dumps({"Initialize": GREETING, **plan}))
        opened.append(ImageProxy(skopeo("h.example/ock:1")))
        return opened[-1]
    yield start
    for one in opened:
        one.close()


@pytest.mark.skipif(not shutil.which("skopeo"), reason="skopeo is not installed")
def test_an_image_by_the_real_one(tmp_path, skopeo):
    image = Image(tmp_path / "image", [tar(member("disk", NOISE)), tar(member("other", b"x"))])
    proxy = ImageProxy(skopeo(f"dir:{image.folder}"))
    try:
        assert proxy.version >= (0, 2, 3)
        proxy.open(f"dir:{image.folder}")
        digest, manifest = proxy.manifest()
        assert digest == image.digest and manifest["layers"] == image.manifest["layers"]
        assert proxy.config()["architecture"] == "amd64"
        for number, layer in enumerate(manifest["layers"]):
            assert b"".join(proxy.blob(layer)) == image.layer(number)
    finally:
        proxy.close()


def test_a_large_blob_comes_in_pieces(proxy):
    one = proxy(GetBlob=[3 << 20, 3 << 20, None, None], OpenImage=[1, None, None, None])
    assert one.version == (0, 2, 8)
    one.open("docker://h.example/ock:1")
    for _time in range(2):
        pieces = list(one.blob({"digest": "sha256:1", "size": 3 << 20}))
        assert len(pieces) > 1 and b"".join(pieces) == b"x" * (3 << 20)


def test_the_verdict_comes_after_the_last_byte(proxy):
    pieces = proxy(GetBlob=[5, 5, None, "corrupted blob, expecting sha256:1, got sha256:2"]).blob({"digest": "sha256:1", "size": 5})
    assert next(pieces) == b"xxxxx"
    with pytest.raises(ImageError, match="what came is not what its digest says"):
        next(pieces)


@pytest.mark.parametrize("fault, words, transient", [
    (["manifest unknown", "other"], "there is no such image", False),
    (["manifest unknown", "retryable"], "there is no such image", True),
    (["unexpected EOF", ""], "the connection to the registry broke", True),
])
def test_what_it_refuses(proxy, fault, words, transient):
    one = proxy(OpenImage=[None, 3, fault, None])
    with pytest.raises(ImageError, match=words) as caught:
        one.open("docker://h.example/ock:1")
    assert caught.value.where == "docker://h.example/ock:1" and caught.value.details.get("transient", False) is transient


def test_it_dies(proxy):
    with pytest.raises(ImageError, match="the connection to the registry broke: connection reset by peer") as caught:
        proxy(OpenImage="dies").open("docker://h.example/ock:1")
    assert caught.value.details["status"] == 1


def test_an_old_skopeo(proxy):
    with pytest.raises(ImageError, match="cannot serve images .*install skopeo 1.9 or newer"):
        proxy(words='level=fatal msg="unknown command \\"experimental-image-proxy\\" for \\"skopeo\\""')


def test_a_registry_that_does_not_answer(proxy, monkeypatch):
    one, waited = proxy(), []

    def nothing(end, *_arguments):
        waited.append(end.gettimeout())
        raise socket.timeout("timed out")
    monkeypatch.setattr(socket, "recv_fds", nothing)
    with pytest.raises(ImageError, match="the registry did not answer in 120 s") as caught:
        one.open("docker://h.example/ock:1")
    assert caught.value.details["transient"] is True and waited == [120]


def test_a_registry_that_falls_silent(proxy, monkeypatch):
    one, waited = proxy(GetManifest=["sha256:1", 0, None, None]), []

    def nothing(*arguments):
        waited.append(arguments[-1])
        return [], [], []
    monkeypatch.setattr(select, "select", nothing)
    with pytest.raises(ImageError, match="no data came for 120 s") as caught:
        one.manifest()
    assert caught.value.details["transient"] is True and waited == [120]


def test_a_manifest_without_an_end(proxy):
    with pytest.raises(ImageError, match="absurdly large"):
        proxy(GetManifest=["sha256:1", 17 << 20, None, None]).manifest()
