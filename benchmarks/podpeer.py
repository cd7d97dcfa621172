# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Builder pods against the peer's way on the same cluster: pull on the controller, `kubectl cp` up, guestfish in a pod, `cat` down."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import subprocess
import sys
import threading
import time

import customize
from bench import ROOT
from measure import Fault, Pairs, Row, pairs, say
from ours import artifact_sync, work
from plays import play
from podlab import IMAGE, LAB, job, opened
from tools import run

_MEMORY = 128 << 20    # bytes
#: bytes of requests and programs that a main job sends; an image has hundreds of times as many
_REQUESTS = 2 << 20
_PEER = "/workspace/peer"
_APPLIANCE = ("qemu-system", "supermin", "qemu-kvm")
_PERIOD = 0.05         # seconds between two looks at the machine's processes
_POD = {
    "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "peer"},
    "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "volumes": [{"name": "workspace", "emptyDir": {}}],
             "containers": [{"name": "peer", "image": IMAGE, "command": ["sleep", "7200"], "volumeMounts": [{"name": "workspace", "mountPath": "/workspace"}],
                             "securityContext": {"runAsUser": 0}}]}}
#: libguestfs' own appliance, as it comes with the packages
_ORDINARY = "export HOME=/workspace TMPDIR=/workspace LIBGUESTFS_CACHEDIR=/workspace LIBGUESTFS_BACKEND=direct; unset LIBGUESTFS_PATH; "


class _Appliances(threading.Thread):
    """While entered, sees when any virtual machine of libguestfs runs on this machine, in a pod or not; then `seconds` of it."""

    def __init__(self):
        super().__init__(name="appliances", daemon=True)
        self._end, self.seconds = threading.Event(), 0.0

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc_info):
        self._end.set()
        self.join()

    def run(self):
        before = time.monotonic()
        while not self._end.wait(_PERIOD):
            now = time.monotonic()
            if any(self._is_one(entry) for entry in os.listdir("/proc") if entry.isdigit()):
                self.seconds += now - before
            before = now

    @staticmethod
    def _is_one(pid):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", encoding="utf-8") as file:
            return file.read().startswith(_APPLIANCE)
        return False


class _Peer:
    """The documented way on a cluster, from the registry to the customized image on the controller."""

    def __init__(self, bench, cluster):
        self.bench, self.cluster = bench, cluster
        job_ = customize.options(bench)
        self.script = customize.Peer(bench, job_)
        first = bench.path("pod-peer-first")
        work("customize", job_, first)
        self.script.labels = self.script.look(os.path.join(first, "image.qcow2"))[0]
        shutil.rmtree(first)

    def edits(self, image):
        """A shell command in the pod that customizes an image there; its files are to be in _PEER."""
        return f"{_ORDINARY}cd {_PEER} && guestfish --format=qcow2 -a {image} < {_PEER}/script"

    def send_files(self, pod, folder):
        """The script and what it uploads, to the pod."""
        with open(f"{folder}/script", "w", encoding="utf-8") as file:
            file.write(self.script.script(_PEER).replace(self.script.contents, f"{_PEER}/files"))
        self.cluster.ctl("exec", pod, "--", "mkdir", "-p", f"{_PEER}/files")
        self.cluster.ctl("cp", f"{folder}/script", f"{pod}:{_PEER}/script")
        self.cluster.ctl("cp", f"{self.script.contents}/.", f"{pod}:{_PEER}/files")

    def run(self, folder):
        """The whole job."""
        source = self.cluster.images["1.33"]
        run([f"{LAB}/enter", "skopeo", "--override-arch", "amd64", "copy", "--quiet", "--src-tls-verify=false", source, f"dir:{folder}/image"])
        layer = json.load(open(f"{folder}/image/manifest.json", encoding="utf-8"))["layers"][0]["digest"].partition(":")[2]
        run(["tar", "--extract", "--gzip", "--file", f"{folder}/image/{layer}", "--directory", folder, "disk/boot.qcow2"])
        self.cluster.ctl("create", "-f", "-", input=json.dumps(_POD).encode())
        try:
            self.cluster.ctl("wait", "--for=condition=Ready", "pod/peer", "--timeout=120s")
            self.send_files("peer", folder)
            self.cluster.ctl("cp", f"{folder}/disk/boot.qcow2", "peer:/workspace/image.qcow2")
            self.cluster.ctl("exec", "peer", "--", "sh", "-c", self.edits("/workspace/image.qcow2"))
            with open(f"{folder}/image.qcow2", "wb") as file:
                self.cluster.ctl("exec", "peer", "--", "cat", "/workspace/image.qcow2", stdout=file)
        finally:
            self.cluster.ctl("delete", "pod", "peer", "--now")
        artifact_sync(f"{folder}/image.qcow2", folder)


def _ours(cluster, folder):
    cluster.play(f"{ROOT}/playbooks/build-oci-image.yml", job(cluster, folder, oci_image_builder=cluster.builder()))
    os.link(f"{folder}/boot.qcow2-1.33-amd64.oci", f"{folder}/image.qcow2")


def whole(bench):
    """From the registry to the customized image on the controller, pod start included on both sides."""
    with opened(bench) as cluster:
        peer, rest = _Peer(bench, cluster), {"ours": [], "peer": []}
        # the playbook derives the UUIDs from where the image comes from
        first = bench.path("pod-whole-first")
        _ours(cluster, first)
        peer.script.take_uuids(f"{first}/image.qcow2")
        shutil.rmtree(first)

        def timed(side, action, folder):
            with _Appliances() as appliances:
                began = time.monotonic()
                action(folder)
                took = time.monotonic() - began
            rest[side].append(took - appliances.seconds)
            say(f"{side}: {took:.1f} s, {appliances.seconds:.1f} s of them an appliance")

        found = pairs(bench.pairs, functools.partial(timed, "ours", functools.partial(_ours, cluster)), functools.partial(timed, "peer", peer.run),
                      bench.path("pod-whole"), "whole job", peer.script.same)
        against = "pull on the controller, `kubectl cp`, `guestfish` in a pod, `cat`"
        yield found.row("main job in a pod, pod start included", against, 0.5)
        # the first of each was to see that both make the same
        parts = Pairs(rest["ours"][1:], rest["peer"][1:])
        yield parts.row("the same, without the time in which an appliance runs", against, 0.33)


def same_pod(bench):
    """Customize in a pod, against guestfish with libguestfs' own appliance in that pod; the image is there already."""
    with opened(bench) as cluster:
        peer, builder = _Peer(bench, cluster), cluster.builder(name="bench", create=True, idle_timeout=3600)
        pull = {"architecture": "amd64", "registry": {"verify": False}, "source": cluster.images["1.33"], "dest": "workspace:base", "builder": builder}
        cluster.play([{"ocne.images.ocne_boot_image": pull}])
        pod, folder = cluster.pod(), bench.path("same-pod-files")
        peer.send_files(pod, folder)
        image = f"{_PEER}/image"
        command = f"rm -f {image}; cp /workspace/files/base {image} && chmod u+w {image} && {peer.edits(image)} && sync {image}"
        # the appliance that this way makes itself first is not counted
        cluster.ctl("exec", pod, "--", "sh", "-c", command)

        def theirs(_to):
            cluster.ctl("exec", pod, "--", "sh", "-c", command)

        asked = json.dumps({"builder": builder, "kind": "customize", "options": dict(customize.options(bench), src="workspace:base"),
                            "staging": "workspace:oci"})

        def ours(_to):
            run([f"{LAB}/enter", sys.executable, f"{ROOT}/benchmarks/podwork.py"], input=asked)

        found = pairs(bench.pairs, ours, theirs, bench.path("same-pod"), "customize in a pod")
        yield found.row("customize in a pod, checked and with its checksum", "`cp` and `guestfish` with its ordinary appliance in that pod", 0.65)


@contextlib.contextmanager
def _counted():
    """[bytes] that users of the API server have sent it, once left."""
    rule, found = ["-p", "tcp", "-d", "10.244.0.1", "--dport", "443", "-m", "comment", "--comment", "bench"], []
    run([f"{LAB}/enter", "iptables", "-I", "INPUT", *rule])
    try:
        yield found
    finally:
        listing = subprocess.run([f"{LAB}/enter", "iptables", "-nvxL", "INPUT"], check=True, capture_output=True, text=True).stdout
        found += [int(line.split()[1]) for line in listing.splitlines() if "/* bench */" in line]
        run([f"{LAB}/enter", "iptables", "-D", "INPUT", *rule])


def bytes_in(bench):
    """What of the image crosses the API server on its way to the pod; and the memory of the controller's processes meanwhile."""
    with opened(bench) as cluster:
        folder = bench.path("bytes")
        with _counted() as sent:
            processes = play(bench, f"{ROOT}/playbooks/build-oci-image.yml", job(cluster, folder, oci_image_builder=cluster.builder()),
                             watched=True, within=[f"{LAB}/enter"])
        size = os.stat(f"{folder}/boot.qcow2-1.33-amd64").st_size
        shutil.rmtree(folder)
        if size < 20 * _REQUESTS:
            raise Fault("the image is too small to tell it from requests")
        yield Row("bytes to the API server in a main job in a pod", f"an image of {size >> 20} MiB", f"{sent[0] / (1 << 20):.2f} MiB, requests and programs",
                  f"< {_REQUESTS >> 20} MiB, as no image crosses", sent[0] < _REQUESTS)
        largest = max(processes, key=lambda process: process.memory)
        say(f"largest: {largest.memory >> 20} MiB, {largest.command[:100]}")
        ratio = largest.memory / _MEMORY
        yield Row("memory of the largest process on the module host, main job in a pod", "128 MiB", f"{ratio:.2f}", "<= 1", ratio <= 1)
