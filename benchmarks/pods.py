# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Builder pods on the lab's cluster: transfers against kubectl, the main job against the local builder and against the peer's way."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import secrets
import shutil
import statistics
import subprocess
import sys
import time

from bench import ROOT
from measure import Fault, Row, pairs, say, seconds, spread
from ours import artifact_sync
from plays import play
from podlab import LAB, job, opened
from tools import run

_SIZE = 512 << 20     # bytes
_BLOCK = 64 << 10
_EDITS = 200          # scattered blocks that differ, as an image's after a customization


def _sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _random(path):
    """Content that no compression makes smaller, as the clusters of the real images are."""
    with open(path, "wb") as file:
        for _number in range(_SIZE >> 20):
            file.write(os.urandom(1 << 20))


def _half(path):
    """Content of which half the blocks compress well, as uncompressed clusters do."""
    text = (b"a line of text that is much like the one before it, %08d\n" * 1500)[:_BLOCK]
    with open(path, "wb") as file:
        for number in range(_SIZE // _BLOCK // 2):
            file.write(os.urandom(_BLOCK))
            file.write(text.replace(b"%08d", b"%08d" % number)[:_BLOCK])


class _Module:
    """The process of a module, which does transfers. It runs already: a task has it and its connection for other things, too."""

    def __init__(self, cluster, way):
        self._process = subprocess.Popen([f"{LAB}/enter", sys.executable, f"{ROOT}/benchmarks/through.py", cluster.kubeconfig, cluster.name, "bench", way],
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer("ready")

    def _answer(self, word):
        if self._process.stdout.readline().strip() != word:
            raise Fault("a transfer failed")

    def __call__(self, *words):
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        self._answer("done")

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


class _There:
    """A file to the pod and back, ours and kubectl's."""

    def __init__(self, cluster, path):
        self.cluster, self.path, self.digest, self.pod = cluster, path, _sha256(path), cluster.pod()

    def forget(self, *_folder):
        self.cluster.ctl("exec", self.pod, "--", "sh", "-c", "rm -rf /workspace/peer /workspace/files/x*")

    def ours(self, module, folder):
        name = f"x{secrets.token_hex(4)}"
        module("push", self.path, name)
        module("fetch", name, f"{folder}/back", self.digest)
        artifact_sync(folder)

    def kubectl_push(self, _folder):
        self.cluster.ctl("cp", self.path, f"{self.pod}:/workspace/peer")

    def kubectl_fetch(self, folder):
        with open(f"{folder}/back", "wb") as file:
            self.cluster.ctl("exec", self.pod, "--", "cat", "/workspace/peer", stdout=file)
        artifact_sync(f"{folder}/back", folder)

    def kubectl(self, folder):
        self.kubectl_push(folder)
        self.kubectl_fetch(folder)

    def same(self, our, other):
        if {_sha256(f"{folder}/back") for folder in (our, other)} != {self.digest}:
            raise Fault("a file did not come back as it was sent")


def _edited(path, target):
    shutil.copy(path, target)
    with open(target, "r+b") as file:
        for number in range(_EDITS):
            file.seek(number * (_SIZE // _EDITS) // _BLOCK * _BLOCK)
            file.write(os.urandom(_BLOCK))


def transfers(bench):
    """Images there and back."""
    with opened(bench) as cluster, contextlib.ExitStack() as stack:
        cluster.play([{"ocne.images.ocne_builder": cluster.options(name="bench", idle_timeout=3600)}])
        modules = {way: stack.enter_context(_Module(cluster, way)) for way in ("proxy", "exec")}
        folder, against = bench.path("transfers"), "`kubectl cp` up, `kubectl exec ... cat` down"
        for name, make, goal in (("incompressible", _random, 1.5), ("half of it compressible", _half, 2.0)):
            path = f"{folder}/{name.split()[0]}"
            make(path)
            there = _There(cluster, path)
            for way, least in (("proxy", goal), ("exec", 1.0)):
                found = pairs(bench.pairs, functools.partial(there.ours, modules[way]), there.kubectl, bench.path("there"), f"{name} by {way}",
                              there.same, there.forget)
                yield faster(found, f"512 MiB there and back, {name}, by {'the proxy' if way == 'proxy' else 'exec only'}", against, least)
        yield from _differences(bench, cluster, modules["proxy"], f"{folder}/incompressible", f"{folder}/edited", against)


def _differences(bench, cluster, module, base, edited, against):
    """A customized image comes back: the pod was sent its base, or has read that itself. The customization is not measured."""
    _edited(base, edited)
    digest, there = _sha256(edited), _There(cluster, base)
    module("push", base, "base")
    module("push", edited, "edited")

    def customized(to):
        name = f"x{secrets.token_hex(4)}"
        module("push", base, name)
        module("fetch", "edited", f"{to}/back", digest, base, name)
        artifact_sync(to)

    def back(to):
        module("fetch", "edited", f"{to}/back", digest, base, "base")
        artifact_sync(to)

    found = pairs(bench.pairs, customized, there.kubectl, bench.path("there"), "customized", after=there.forget)
    yield faster(found, "512 MiB there, customized, and what differs back", against, 3.0)
    # the peer's way has the base come by way of the controller
    found = pairs(bench.pairs, back, there.kubectl, bench.path("there"), "difference", after=there.forget)
    yield faster(found, "512 MiB that the pod has read itself, and what differs back", against, 10.0)


def faster(found, what, against, goal):
    """A row whose figure is how many times as fast."""
    ratios = [1 / ratio for ratio in found.ratios]
    return Row(what, against, f"{spread(1 / found.ratio, ratios)} times as fast", f">= {goal:g}", 1 / found.ratio >= goal)


# --- whole jobs --------------------------------------------------------------------------------------


def jobs(bench):
    """The main job in a pod, and again with nothing to do."""
    with opened(bench) as cluster:
        book = f"{ROOT}/playbooks/build-oci-image.yml"
        # pod start alone, for what it adds
        start = statistics.median(seconds(lambda _to: cluster.play([
            {"ocne.images.ocne_builder": cluster.options(name="start")},
            {"ocne.images.ocne_builder": cluster.options(name="start", state="absent")}]), f"{bench.folder}/start-{number}") for number in range(3))

        def inside(folder):
            cluster.play(book, job(cluster, folder, oci_image_builder=cluster.builder()))

        def local(folder):
            play(bench, book, job(cluster, folder), within=[f"{LAB}/enter"])

        found = pairs(bench.pairs, inside, local, bench.path("jobs"), "main job")
        yield found.row("`build-oci-image.yml` in a pod", "the same by the local builder", 1.25 + start / statistics.median(found.peer))

        folder = bench.path("again")
        inside(folder)
        # nobody is asked: there is nothing at that address
        nowhere = job(cluster, folder, oci_image_builder=cluster.builder(kubeconfig="/nothing/here"))
        stat = [{"ansible.builtin.stat": {"path": f"{folder}/boot.qcow2-1.33-amd64.oci", "get_checksum": False}}]
        once = [{"ocne.images.ocne_image_customize": {"src": f"{folder}/boot.qcow2-1.33-amd64", "dest": f"{folder}/boot.qcow2-1.33-amd64.oci",
                                                      "platform": "oci", "builder": nowhere["oci_image_builder"]}}]
        cluster.play(book, nowhere)
        found = pairs(bench.pairs, lambda _to: cluster.play(once), lambda _to: cluster.play(stat), bench.path("again-pairs"), "again, pod")
        each = [ours - peer for ours, peer in zip(found.ours, found.peer)]
        yield Row("again, `ocne_image_customize` with a pod", "`stat` in the same play",
                  f"{spread(found.difference, each, ' s')} more; no request to the cluster", "<= 1 s more", found.difference <= 1)


def many(bench):
    """Eight builds at once in one namespace."""
    with opened(bench) as cluster:
        folder = bench.path("many")
        base = f"{folder}/base.qcow2"
        shutil.copy(bench.disk, base)

        def builds(count, to):
            began = time.monotonic()
            os.makedirs(to)
            running = [play(bench, [{"ocne.images.ocne_image_customize": {
                "src": base, "dest": f"{to}/{number}.qcow2", "platform": "oci", "builder": cluster.builder()}}], within=[f"{LAB}/enter"], wait=False)
                for number in range(count)]
            # all are waited for before one's fault ends this: nothing is left running
            texts = [child.communicate()[0] for child in running]
            for child, text in zip(running, texts):
                if child.returncode:
                    raise Fault(f"one of {count} builds failed: {text[-1000:]}")
            took = time.monotonic() - began
            for number in range(count):
                run(["qemu-img", "check", "-q", "-f", "qcow2", f"{to}/{number}.qcow2"])
            shutil.rmtree(to)
            say(f"{count} builds at once: {took:.1f} s")
            return took

        one = builds(1, f"{folder}/one")
        ratio = builds(8, f"{folder}/eight") / one
        yield Row("8 builds at once in one namespace", "one build", f"{ratio:.2f}", "<= 8", ratio <= 8)
