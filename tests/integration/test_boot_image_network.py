# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Pulling over a network that breaks, stalls and counts: real skopeo, real registry, a bad line between them."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import socket
import subprocess
import sys
import threading

import pytest
from plays import CORES

from registry import control
from sample import oci_layout

# the network is the same with every ansible-core
pytestmark = pytest.mark.parametrize("core", CORES[-1:], indirect=True)
#: bytes of the disk in the layer; they do not compress
SIZE = 24 << 20
WORK = "import sys; from ansible_collections.ocne.images.plugins.module_utils.work.program import main; main()"


class Line(threading.Thread):
    """A TCP line to a registry. rule(number of the connection, bytes sent down it) -> None, "refuse" (at 0) or "cut"."""

    def __init__(self, target, rule=lambda number, count: None):
        super().__init__(daemon=True)
        self._target, self._rule = target, rule
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"localhost:{self._server.getsockname()[1]}"
        self.connections, self.bytes, self.asked, self.events = 0, 0, b"", []
        self.start()

    def run(self):
        while True:
            try:
                ours = self._server.accept()[0]
            except OSError:
                return
            self.connections += 1
            if self._rule(self.connections, 0) == "refuse":
                ours.close()
                continue
            theirs = socket.create_connection(self._target)
            threading.Thread(target=self._up, args=(ours, theirs), daemon=True).start()
            threading.Thread(target=self._down, args=(ours, theirs, self.connections), daemon=True).start()

    def _up(self, ours, theirs):
        with ours, theirs:
            try:
                for data in iter(lambda: ours.recv(65536), b""):
                    self.asked += data
                    theirs.sendall(data)
                theirs.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _down(self, ours, theirs, number):
        count = 0
        try:
            for data in iter(lambda: theirs.recv(65536), b""):
                ours.sendall(data)
                self.bytes, count = self.bytes + len(data), count + len(data)
                what = self._rule(number, count)
                if what:
                    self.events.append(what)
                if what == "cut":
                    break
            ours.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def requests(self):
        """[(method, path)] of what was asked for over this line."""
        return [(method.decode(), path.decode()) for method, path in re.findall(rb"(GET|HEAD) (/v2/\S+) HTTP", self.asked)]

    def close(self):
        self._server.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """(address, sha256 of the disk) of a registry with one image of SIZE bytes that do not compress."""
    folder = tmp_path_factory.mktemp("served")
    disk = folder / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "1G"], check=True)
    with open(disk, "ab") as file:
        file.write(random.Random(1).randbytes(SIZE))
    layout = oci_layout.Layout(folder / "oci")
    layout.index([layout.image("amd64", [layout.layer({"disk/boot.qcow2": str(disk)}, "gzip")])], "big")
    layout.close()
    try:
        known = control.push(folder / "state", {"big": f"oci:{folder}/oci:big"})
        host, port = known["plain"]["address"].split(":")
        yield ("127.0.0.1", int(port)), hashlib.sha256(disk.read_bytes()).hexdigest()
    finally:
        control.down(folder / "state", purge=True)


@pytest.fixture
def line(served):
    """line(rule) -> a Line to the registry."""
    lines = []

    def make(*rule):
        lines.append(Line(served[0], *rule))
        return lines[-1]
    yield make
    for one in lines:
        one.close()


@pytest.fixture(autouse=True)
def once(core):
    """Which ansible-core: see pytestmark."""


def work(address, staging, timeout=300, **options):
    """(what the work program answers, the phases it told of) for one pull into a new folder `staging`."""
    staging.mkdir()
    options = dict({"source": f"docker://{address}/olcne/ock:big", "architecture": "amd64", "path": "disk/boot.qcow2", "format": "qcow2",
                    "registry": {"verify": False}, "retries": 3}, **options)
    job = {"job": {"kind": "boot_image", "options": options, "staging": str(staging), "check": False, "protocol": 1}}
    done = subprocess.run([sys.executable, "-c", WORK], input=json.dumps(job).encode(), stdout=subprocess.PIPE, timeout=timeout, check=False)
    lines = [json.loads(text) for text in done.stdout.splitlines()]
    return lines[-1], [event["progress"]["phase"] for event in lines[:-1]]


def bytes_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def range_capable():
    """skopeo 1.12 and newer continue a broken blob by themselves; older ones have it pulled again."""
    words = subprocess.run(["skopeo", "--version"], check=True, capture_output=True, text=True).stdout
    return tuple(int(number) for number in re.findall(r"\d+", words)[:2]) >= (1, 12)


@pytest.mark.parametrize("after", [1 << 20, 20 << 20])
def test_a_connection_broken_in_a_blob(line, served, tmp_path, after):
    broken = []
    bad = line(lambda number, count: (broken.append(number) or "cut") if count > after and not broken else None)
    answer, phases = work(bad.address, tmp_path / "staging")
    assert bad.events == ["cut"]
    assert bytes_of(tmp_path / "staging/disk") == served[1] == answer["result"]["artifacts"][0]["sha256"]
    if range_capable():
        assert bad.bytes < SIZE + (1 << 20), "the whole layer was pulled again"
    else:
        assert any("before try 2" in phase for phase in phases)


def test_a_connection_that_always_breaks_ends(line, tmp_path):
    bad = line(lambda number, count: "cut" if count > 2 << 20 else None)
    answer, _phases = work(bad.address, tmp_path / "staging", retries=1)
    assert "connection to the registry broke" in answer["error"]["what"] and "retries" in answer["error"]["todo"]
    assert len(bad.events) >= 2


def test_a_registry_that_comes_back(line, served, tmp_path):
    bad = line(lambda number, count: "refuse" if number <= 3 else None)
    answer, phases = work(bad.address, tmp_path / "staging")
    assert answer["result"]["artifacts"][0]["sha256"] == served[1]
    assert any("before try" in phase for phase in phases)


def test_one_request_tells_that_nothing_changed(line, served, run, tmp_path):
    good = line()
    play = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ocne.images.ocne_boot_image: {source: "%s", architecture: amd64, registry: {verify: false}, dest: "%s"}
""" % ("{{ address }}/olcne/ock:big", tmp_path / "disk")
    assert "changed=1" in run(play, extra={"address": good.address}).text
    assert bytes_of(tmp_path / "disk") == served[1]
    manifests = [path for method, path in good.requests() if "/manifests/" in path]
    blobs = [path for method, path in good.requests() if "/blobs/" in path]
    # by its tag once, then by digest only: the index and the image's own; configuration and layer
    assert len([path for path in manifests if path.endswith("/big")]) == 1 and len(manifests) == 3 and len(blobs) == 2
    good.asked = b""
    assert "changed=0" in run(play, extra={"address": good.address}).text
    assert [path for _method, path in good.requests() if path != "/v2/"] == ["/v2/olcne/ock/manifests/big"]
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


def test_a_proxy_of_the_environment_is_used(line, served, tmp_path, monkeypatch):
    """Nobody but the proxy knows the name; the registry itself, which takes GET http://..., stands in for one."""
    proxy = line()
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.address}")
    answer, _phases = work("registry.invalid", tmp_path / "staging")
    assert answer["result"]["artifacts"][0]["sha256"] == served[1]
    assert b"GET http://registry.invalid/v2/" in proxy.asked


def test_memory_stays_small(line, tmp_path):
    """Peak resident memory of the work program and of each of its children, in KiB."""
    staging = tmp_path / "staging"
    staging.mkdir()
    job = {"job": {"kind": "boot_image", "staging": str(staging), "check": False, "protocol": 1, "options": {
        "source": f"docker://{line().address}/olcne/ock:big", "architecture": "amd64", "path": "disk/boot.qcow2", "format": "qcow2",
        "registry": {"verify": False}, "retries": 0}}}
    time = shutil.which("time")
    if not time:
        pytest.skip("the program time is not installed")
    done = subprocess.run([time, "-f", "%M", sys.executable, "-c", WORK], input=json.dumps(job).encode(), capture_output=True, check=True)
    assert int(done.stderr.split()[-1]) < 128 << 10
    assert os.path.getsize(pathlib.Path(staging, "disk")) > SIZE
