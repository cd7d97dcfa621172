# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab's Kubernetes cluster, for tests of builder pods."""

from __future__ import annotations

import concurrent.futures
import json
import random
import secrets
import subprocess
import time

import pytest
from plays import ROOT, SHARED

from cluster.lab import enter_network

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
    if SHARED and (SHARED / "images.json").exists():
        # the run of all tests has started it for these ones
        started = json.loads((SHARED / "cluster.json").read_text())["started"]
        return dict(known, started=started, images=json.loads((SHARED / "images.json").read_text()))
    lab("builder-image")
    return dict(known, images=json.loads(lab("push")))


class Endpoint:
    """The lab's stand-in for Oracle's cloud, in the cluster's network at an address that pods reach. Its state is in a folder.

    about: what `oci/up` tells.
    """

    def __init__(self, state, address):
        self._state = ["--state", str(state)]
        self._thread = concurrent.futures.ThreadPoolExecutor(1, initializer=enter_network)
        self.about = json.loads(self._run("up", "--host", address))

    def inside(self, function, *arguments, **keywords):
        """What a function returns that is called in that network."""
        return self._thread.submit(function, *arguments, **keywords).result()

    def _run(self, name, *more):
        return subprocess.run([LAB / "enter", ROOT / "tests/lab/oci" / name, *self._state, *more], capture_output=True, text=True, check=True).stdout

    def close(self):
        self._thread.shutdown()
        self._run("down", "--purge")


#: waits for QEMU, and stops it
_HOLD = """
import glob, os, signal, time
found = []
while not found:
    time.sleep(0.1)
    for path in glob.glob("/proc/[0-9]*"):
        try:
            if os.readlink(path + "/exe").startswith("/usr/bin/qemu-system-"):
                found.append(int(path.split("/")[2]))
        except OSError:
            pass
for pid in found:
    os.kill(pid, signal.SIGSTOP)
"""


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

    def empty(self, timeout=300):
        """Wait until nothing is there; returns what still is."""
        deadline = time.monotonic() + timeout
        while self.objects() and time.monotonic() < deadline:
            time.sleep(0.3)
        return self.objects()

    def evict(self, pod):
        """Ask the cluster to evict a pod, as draining its node does."""
        wanted = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": self.name}}
        subprocess.run([LAB / "ctl", "create", "--raw", f"/api/v1/namespaces/{self.name}/pods/{pod}/eviction", "-f", "-"],
                       input=json.dumps(wanted), text=True, capture_output=True, check=True)

    def working_pod(self, play, kind="customize", timeout=180):
        """The name of the pod once a Job of this kind runs there for a play."""
        deadline = time.monotonic() + timeout
        while True:
            for name in self.objects("pods"):
                pod = name.partition("/")[2]
                if f"started: {kind}" in self.ctl("logs", pod, check=False):
                    return pod
            assert play.process.poll() is None and time.monotonic() < deadline, play.text
            time.sleep(0.1)

    def hold(self, pod):
        """Stop the appliance that the work in a pod is about to use: then its Job lasts as long as a test needs."""
        self.ctl("exec", pod, "--", "timeout", "180", "python3", "-c", _HOLD)

    def remove(self):
        subprocess.run([LAB / "ctl", "delete", "namespace", self.name, "--wait=false"], capture_output=True, check=False)


class Line:
    """The way of a play to the API server, which can be cut in silence: packets vanish, and neither end is told. Nobody else is cut off.

    A play that runs `within` it has a group of its own, by which the kernel knows its connections.
    """

    def __init__(self):
        # also the mark of its connections: the last four bits tell those before and after each cut
        self._group = random.randrange(1 << 12, 1 << 24) << 4
        self._mark, self._rules = self._group, []
        self.within = [str(LAB / "enter"), "setpriv", f"--regid={self._group}", "--keep-groups"]
        self._mark_new()

    def _mark_new(self):
        self._insert("OUTPUT", "-p", "tcp", "-d", "10.244.0.1", "--dport", "443", "-m", "conntrack", "--ctstate", "NEW",
                     "-m", "owner", "--gid-owner", str(self._group), "-j", "CONNMARK", "--set-mark", str(self._mark))

    def cut(self, after=0):
        """Drop all packets from now on, or once `after` bytes have passed."""
        self._insert("INPUT", "-m", "connmark", "--mark", str(self._mark), "-j", "DROP")
        if after:
            self._insert("INPUT", "-m", "connmark", "--mark", str(self._mark), "-m", "quota", "--quota", str(after), "-j", "ACCEPT")

    def wait_until_cut(self, play, tries=1, timeout=120):
        """Until packets are dropped, and the kernel has tried some times more, after longer and longer pauses."""
        deadline, dropped = time.monotonic() + timeout, 0
        while tries:
            now = sum(int(words[0]) for words in self._counters() if words[2] == "DROP" and words[-1] == hex(self._mark))
            if now != dropped:
                dropped, tries = now, tries - 1
            assert play.process.poll() is None and time.monotonic() < deadline, play.text
            time.sleep(0.1)

    def count(self):
        """Count what goes this way from now on: crossed()."""
        self._insert("OUTPUT", "-m", "owner", "--gid-owner", str(self._group), "-m", "comment", "--comment", f"out-{self._group}")
        self._insert("INPUT", "-m", "connmark", "--mark", str(self._mark), "-m", "comment", "--comment", f"in-{self._group}")

    def crossed(self):
        """(bytes that programs within it have sent to anybody, bytes that the API server has sent to them)"""
        lines = [line for chain in ("OUTPUT", "INPUT") for line in _iptables("-nvxL", chain).splitlines()]
        return tuple(next(int(line.split()[1]) for line in lines if f"{way}-{self._group} " in line) for way in ("out", "in"))

    def mend(self, forgotten=False):
        """Let packets pass again; forgotten: only those of new connections, as where a load balancer has dropped its table."""
        if forgotten:
            self._delete(self._rules[0])
            self._mark += 1
            self._mark_new()
        else:
            for rule in [rule for rule in self._rules if rule[0] == "INPUT"]:
                self._delete(rule)

    def remove(self):
        for rule in list(self._rules):
            self._delete(rule)

    def _insert(self, *rule):
        _iptables("-I", *rule)
        self._rules.append(rule)

    def _delete(self, rule):
        _iptables("-D", *rule)
        self._rules.remove(rule)

    @staticmethod
    def _counters():
        return [line.split() for line in _iptables("-nvxL", "INPUT").splitlines()[2:]]


def _iptables(*arguments):
    return subprocess.run([LAB / "enter", "iptables", "-w", *arguments], capture_output=True, text=True, check=True).stdout
