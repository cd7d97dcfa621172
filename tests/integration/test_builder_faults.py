# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Builder pods where something breaks: the connection, the pod, the cluster's parts, the controller."""

from __future__ import annotations

import json
import os
import random
import subprocess
import time

import pytest
import yaml
from plays import CORES, ROOT, hidden
from pods import IMAGE, LAB, Line

from ansible_collections.ocne.images.plugins.module_utils.artifact.record import load_record
from ansible_collections.ocne.images.plugins.module_utils.files import digests

# what happens is the same with every ansible-core
pytestmark = pytest.mark.parametrize("core", CORES[-1:], indirect=True)
HEAD = """
- hosts: localhost
  gather_facts: false
  tasks:
"""
#: lasts some seconds, as it starts an appliance
CUSTOMIZE = HEAD + """
    - ocne.images.ocne_image_customize: {src: "{{ src }}", dest: "{{ folder }}/made.qcow2", platform: oci, builder: "{{ builder }}"}
"""
#: is mostly transfers
CONVERT = HEAD + """
    - ocne.images.ocne_image_convert:
        {src: "{{ src }}", src_format: raw, dest: "{{ folder }}/made.qcow2", format: qcow2, force: "{{ force | default(false) }}", builder: "{{ builder }}"}
"""
#: seconds; longer is a hang
WAIT = 300
MIB = 1 << 20
SIZE = 48 * MIB


@pytest.fixture(autouse=True)
def once(core):
    """Which ansible-core: see pytestmark."""


@pytest.fixture
def line():
    """A pods.Line."""
    made = Line()
    yield made
    made.remove()


@pytest.fixture
def noise(tmp_path):
    """The path of a raw image that cannot be compressed."""
    (tmp_path / "noise.raw").write_bytes(random.randbytes(SIZE))
    return tmp_path / "noise.raw"


@pytest.fixture
def only_exec(tmp_path):
    """The path of the documented Role without what makes transfers faster."""
    role = yaml.safe_load((ROOT / "docs/builder-role.yaml").read_text())
    role["rules"] = [rule for rule in role["rules"] if rule["resources"] != ["pods/proxy"]]
    (tmp_path / "role.yaml").write_text(json.dumps(role))
    return tmp_path / "role.yaml"


@pytest.fixture
def begin(start, tmp_path):
    """begin(play, source, builder, ...) -> Play, started in the network of the lab's cluster."""
    def go(play, source, builder, within=(str(LAB / "enter"),), **more):
        return start(play, extra=dict({"src": str(source), "folder": str(tmp_path), "builder": builder}, **more), within=within)
    return go


def builder(space, **more):
    return dict({"type": "pod", "kubeconfig": space.kubeconfig, "image": IMAGE}, **more)


def whole(tmp_path):
    """Whether the artifact is what its record says."""
    record = load_record(str(tmp_path / "made.qcow2"))
    return record is not None and record.sha256 == digests.sha256_file(tmp_path / "made.qcow2")[0]


def failed(play):
    """What a task has failed with, as the dictionary `error`, and under "msg" its sentence."""
    assert play.wait(WAIT) != 0 and "Traceback" not in play.text, play.text
    told = next(line for line in play.text.splitlines() if line.startswith("fatal:"))
    answer = json.loads(told.partition("=> ")[2])
    return dict(answer["error"], msg=answer["msg"])


# --- the connection ----------------------------------------------------------------------------------


def test_cut_in_mid_job(begin, namespace, line, tmp_path, tiny):
    space = namespace()
    play = begin(CUSTOMIZE, tiny["tiny"], builder(space), line.within)
    space.working_pod(play)
    line.cut()
    line.wait_until_cut(play)
    line.mend(forgotten=True)
    assert play.wait(WAIT) == 0, play.text
    assert whole(tmp_path) and space.empty() == []


# on the way there, and on the way back
@pytest.mark.parametrize("way, after", [("proxy", SIZE // 2), ("proxy", SIZE + SIZE // 2), ("exec", SIZE // 2)])
def test_cut_in_mid_transfer(begin, namespace, line, tmp_path, noise, only_exec, way, after):
    space = namespace(role=only_exec if way == "exec" else None)
    line.cut(after)
    play = begin(CONVERT, noise, builder(space), line.within)
    line.wait_until_cut(play, tries=4)
    line.mend()
    assert play.wait(WAIT) == 0, play.text
    assert whole(tmp_path) and space.empty() == []


def test_a_cut_that_stays(begin, namespace, line, tmp_path, tiny):
    space = namespace()
    play = begin(CUSTOMIZE, tiny["tiny"], builder(space, idle_timeout=10), line.within)
    pod = space.working_pod(play)
    space.hold(pod)
    line.cut()
    began = time.monotonic()
    assert "the connection to the builder was lost" in failed(play)["msg"]
    assert time.monotonic() - began < 240
    assert not (tmp_path / "made.qcow2").exists() and hidden(tmp_path) == []
    # before its time to live is over
    assert "nobody has spoken to it" in space.ctl("logs", pod)


# --- the pod -----------------------------------------------------------------------------------------


def test_evicted(begin, namespace, tmp_path, tiny):
    space = namespace()
    play = begin(CUSTOMIZE, tiny["tiny"], builder(space))
    pod = space.working_pod(play)
    space.hold(pod)
    # it has been heard of here, too
    play.wait_for("start appliance")
    space.evict(pod)
    error = failed(play)
    assert "Eviction API: evicting" in error["msg"] and "run the task again" in error["todo"]
    assert error["details"]["last"]["phase"] and not (tmp_path / "made.qcow2").exists()
    again = begin(CUSTOMIZE, tiny["tiny"], builder(space))
    assert again.wait(WAIT) == 0, again.text
    assert whole(tmp_path) and space.empty() == []


def test_more_in_the_workspace_than_its_limit(begin, namespace, tiny):
    space = namespace()
    play = begin(CUSTOMIZE, tiny["tiny"], builder(space, workspace="300Mi"))
    pod = space.working_pod(play)
    space.hold(pod)
    space.ctl("exec", pod, "--", "dd", "if=/dev/zero", "of=/workspace/more", "bs=1M", "count=400")
    error = failed(play)
    assert "Evicted" in error["msg"] and 'exceeds the limit "300Mi"' in error["msg"] and "larger workspace" in error["todo"]


def test_out_of_memory(begin, namespace, tiny):
    space = namespace()
    little = {"spec": {"containers": [{"name": "builder", "resources": {"requests": {"memory": "100Mi"}, "limits": {"memory": "160Mi"}}}]}}
    error = failed(begin(CUSTOMIZE, tiny["tiny"], builder(space, pod_overrides=little)))
    assert "out of memory" in error["what"] and "pod_overrides" in error["todo"]
    assert space.empty() == []


def test_the_deadline_in_mid_job(begin, namespace, tiny):
    space = namespace()
    play = begin(CUSTOMIZE, tiny["tiny"], builder(space, deadline=40))
    space.hold(space.working_pod(play))
    error = failed(play)
    assert "its deadline of 40 s" in error["what"] and "raise deadline" in error["todo"]
    assert error["details"]["last"]["phase"]
    assert space.empty() == []


# --- room --------------------------------------------------------------------------------------------

BOOT_IMAGE = HEAD + """
    - ocne.images.ocne_boot_image:
        {source: "{{ src }}", architecture: amd64, dest: "{{ folder }}/made.qcow2", registry: {verify: false}, builder: "{{ builder }}"}
"""
TO_RAW = HEAD + """
    - ocne.images.ocne_image_convert: {src: "{{ src }}", dest: "{{ folder }}/made.raw", format: raw, builder: "{{ builder }}"}
"""


@pytest.fixture
def dense(tmp_path):
    """The path of a qcow2 image of a few KB with 64 MiB in it."""
    (tmp_path / "plain.raw").write_bytes(b"ocne" * (16 * MIB))
    subprocess.run(["qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", tmp_path / "plain.raw", tmp_path / "dense.qcow2"], check=True)
    return tmp_path / "dense.qcow2"


@pytest.mark.parametrize("work", ["boot_image", "customize", "to_raw", "push"])
def test_a_workspace_that_is_too_small(begin, namespace, cluster, tmp_path, tiny, dense, noise, work):
    play, source, size = {
        "boot_image": (BOOT_IMAGE, cluster["images"]["tiny"]["plain"], "1Mi"),
        "customize": (CUSTOMIZE, tiny["tiny"], "64Mi"),
        "to_raw": (TO_RAW, dense, "32Mi"),
        "push": (CONVERT, noise, "32Mi"),
    }[work]
    space = namespace()
    error = failed(begin(play, source, builder(space, workspace=size, source_transfer="pull")))
    assert error["details"]["limit_bytes"] == int(size[:-2]) * MIB and str(error["details"]["limit_bytes"]) in error["what"]
    assert str(error["details"]["needed_bytes"]) in error["what"] and "larger workspace" in error["todo"]
    assert hidden(tmp_path) == []


# --- the parts of the cluster ------------------------------------------------------------------------


def test_parts_restart_in_mid_job(begin, namespace, tmp_path, tiny):
    space = namespace()
    play = begin(CUSTOMIZE, tiny["tiny"], builder(space))
    space.working_pod(play)
    for part in ("containerd", "etcd"):
        subprocess.run([LAB / "restart", part], check=True, capture_output=True)
    assert play.wait(WAIT) == 0, play.text
    assert whole(tmp_path) and space.empty() == []


@pytest.mark.parametrize("way", ["proxy", "exec"])
def test_parts_restart_in_mid_transfer(begin, namespace, line, tmp_path, noise, only_exec, way):
    space = namespace(role=only_exec if way == "exec" else None)
    line.cut(SIZE // 2)
    play = begin(CONVERT, noise, builder(space), line.within)
    # for as long as nothing passes, the transfer lasts
    line.wait_until_cut(play)
    for part in ("kubelet", "apiserver"):
        subprocess.run([LAB / "restart", part], check=True, capture_output=True)
    line.mend()
    assert play.wait(WAIT) == 0, play.text
    assert whole(tmp_path) and space.empty() == []


# --- who we are --------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["proxy", "exec"])
def test_on_behalf_of_another_account(begin, namespace, tmp_path, noise, only_exec, way):
    """The account may do nothing but act for another one, which has the documented Role."""
    rule = {"apiGroups": [""], "resources": ["serviceaccounts"], "resourceNames": ["worker"], "verbs": ["impersonate"]}
    deputy = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "deputy"}, "rules": [rule]}
    (tmp_path / "deputy.yaml").write_text(json.dumps(deputy))
    space = namespace(role=tmp_path / "deputy.yaml")
    space.ctl("create", "serviceaccount", "worker")
    space.ctl("create", "-f", str(only_exec if way == "exec" else ROOT / "docs/builder-role.yaml"))
    space.ctl("create", "rolebinding", "worker", "--role=ocne-builder", f"--serviceaccount={space.name}:worker")
    worker = f"system:serviceaccount:{space.name}:worker"
    play = begin(CONVERT, noise, builder(space, impersonate_user=worker))
    assert play.wait(WAIT) == 0, play.text
    assert whole(tmp_path) and space.empty() == []


# --- the controller ----------------------------------------------------------------------------------


@pytest.mark.parametrize("rounds", [int(os.environ.get("OCNE_KILL_ROUNDS", "5"))])
def test_killed_at_random_moments(begin, namespace, tmp_path, noise, rounds):
    """kill -9 of every process of the play: the cluster forgets it by itself, what is at the destination is whole, and the next run converges."""
    seed = int(os.environ.get("OCNE_KILL_SEED") or random.randrange(1 << 32))
    print(f"OCNE_KILL_SEED={seed}")
    moments, space = random.Random(seed), namespace()
    short = builder(space, deadline=90, idle_timeout=5)

    def build(**more):
        return begin(CONVERT, noise, short, **more)

    first = build()
    assert first.wait(WAIT) == 0, first.text
    length = time.monotonic() - first.started
    for _round in range(rounds):
        play = build(force=True)
        time.sleep(moments.uniform(0.3, length))
        play.kill_all()
        play.process.wait()
        assert play.gone() == []
        assert whole(tmp_path)
    # deadline, grace period and time to live
    assert space.empty(90 + 30 + 60 + 30) == []
    for changed in (1, 0):
        again = build(force=bool(changed))
        assert again.wait(WAIT) == 0 and f"changed={changed}" in again.text, again.text
    assert whole(tmp_path) and hidden(tmp_path) == [] and space.empty() == []
