# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab's Kubernetes cluster, for tests of builder pods."""

from __future__ import annotations

import json
import secrets
import subprocess
import time

import pytest
from plays import ROOT

LAB = ROOT / "tests/lab/cluster"
IMAGE = "10.244.0.1:5000/ocne/builder:latest"


def lab(name, *arguments, **options):
    """The output of one of the lab's commands."""
    done = subprocess.run([LAB / name, *arguments], capture_output=True, text=True, check=False, **options)
    if done.returncode == 77:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return done.stdout


def up():
    """Start the cluster with the lab's images in its registries; what `cluster/up` tells, and "images": {tag: {plain, tls, digest}}."""
    known = json.loads(lab("up"))
    lab("builder-image")
    return dict(known, images=json.loads(lab("push")))


class Namespace:
    """A namespace of one test's own, with an account of exactly the documented Role."""

    def __init__(self, level="baseline", role=None):
        self.name = f"t-{secrets.token_hex(4)}"
        made = json.loads(lab("namespace", self.name, "--pod-security", level, *(["--role", str(role)] if role else [])))
        self.kubeconfig = made["kubeconfig"]

    def ctl(self, *arguments, check=True):
        """kubectl as the administrator, in this namespace."""
        done = subprocess.run([LAB / "ctl", "--namespace", self.name, *arguments], capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    def objects(self, kinds="jobs,pods,secrets"):
        """The names of what is there, but for what is on its way out."""
        items = json.loads(self.ctl("get", kinds, "-o", "json"))["items"]
        return sorted(f"{item['kind']}/{item['metadata']['name']}" for item in items if not item["metadata"].get("deletionTimestamp"))

    def empty(self, timeout=120):
        """Wait until nothing is there; returns what still is."""
        deadline = time.monotonic() + timeout
        while self.objects() and time.monotonic() < deadline:
            time.sleep(0.3)
        return self.objects()

    def remove(self):
        subprocess.run([LAB / "ctl", "delete", "namespace", self.name, "--wait=false"], capture_output=True, check=False)
