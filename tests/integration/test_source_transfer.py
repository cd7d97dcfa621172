# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How boot media images reach a builder pod: mounted by the cluster, pulled by the pod, or sent by the module host."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess

import pytest
from plays import CORES, hidden
from pods import IMAGE, LAB, lab

from ansible_collections.ocne.images.plugins.module_utils.artifact.record import load_record
from ansible_collections.ocne.images.plugins.module_utils.files import digests

pytestmark = pytest.mark.parametrize("core", CORES[-1:], indirect=True)
PULL = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ocne.images.ocne_boot_image:
        source: "{{ source }}"
        architecture: "{{ architecture | default('amd64') }}"
        dest: "{{ dest }}"
        registry: "{{ registry | default({}) }}"
        retries: 0
        builder: "{{ builder }}"
      register: pulled
    - ansible.builtin.debug: {msg: "way={{ pulled.source_transfer }} digest={{ pulled.manifest_digest }}"}
"""
CUSTOMIZE = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ocne.images.ocne_image_customize: {src: "{{ src }}", dest: "{{ dest }}", platform: oci, builder: "{{ builder }}"}
"""
PLAIN = {"verify": False}


@pytest.fixture(autouse=True)
def once(core):
    """Which ansible-core: see pytestmark."""


def builder(space, **more):
    return dict({"type": "pod", "kubeconfig": space.kubeconfig, "image": IMAGE}, **more)


def login(cluster):
    tls = cluster["registries"]["tls"]
    return {"ca_cert": tls["ca"], "username": tls["username"], "password": tls["password"]}


def sound(path, architecture="amd64"):
    record = load_record(str(path))
    assert record.sha256 == digests.sha256_file(path)[0] and record.options["architecture"] == architecture
    assert hidden(path.parent) == []
    return record


@pytest.mark.parametrize(("way", "told", "level"), [("auto", "image_volume", "restricted"), ("image_volume", "image_volume", "baseline"),
                                                    ("pull", "pull", "restricted"), ("push", "push", "baseline")])
def test_the_ways_to_a_boot_image(inside, namespace, cluster, tmp_path, way, told, level):
    space, dest = namespace(level), tmp_path / "boot.qcow2"
    play = inside(PULL, extra={"source": cluster["images"]["tiny"]["plain"], "registry": PLAIN, "dest": str(dest),
                               "builder": builder(space, security=level, source_transfer=way)})
    record = sound(dest)
    assert f"way={told} digest={record.values['manifest_digest']}" in play.text
    assert space.empty() == []


@pytest.mark.parametrize(("way", "told"), [("auto", "image_volume"), ("pull", "pull")])
def test_with_a_login(inside, namespace, cluster, tmp_path, way, told):
    space, dest = namespace(), tmp_path / "boot.qcow2"
    # nobody has pulled this one on the node, so the login is asked for
    registry = dict(login(cluster))
    play = inside(PULL, extra={"source": cluster["images"]["tiny-zstd"]["tls"], "registry": registry, "dest": str(dest),
                               "builder": builder(space, source_transfer=way)})
    assert f"way={told}" in play.text and registry["password"] not in play.text
    assert registry["password"] not in json.dumps(sound(dest).dump())
    assert space.empty() == []


def test_the_user_s_own_login_goes_along_and_no_other(inside, namespace, cluster, tmp_path):
    tls, dest = cluster["registries"]["tls"], tmp_path / "boot.qcow2"
    auth = tmp_path / "auth.json"
    entry = base64.b64encode(f"{tls['username']}:{tls['password']}".encode()).decode()
    auth.write_text(json.dumps({"auths": {tls["address"]: {"auth": entry}, "other.example.com": {"auth": "b3RoZXI6c2VjcmV0"}}}))
    space = namespace()
    play = inside(PULL, extra={"source": cluster["images"]["tiny"]["tls"], "registry": {"ca_cert": tls["ca"]}, "dest": str(dest),
                               "builder": builder(space, name="mine", create=True, source_transfer="pull")}, env={"REGISTRY_AUTH_FILE": str(auth)})
    assert "way=pull" in play.text
    pod = space.ctl("get", "pods", "-o", "name").strip()
    kept = space.ctl("exec", pod, "--", "sh", "-c", "grep -ah auths /workspace/files/*")
    assert entry in kept and "other.example.com" not in kept


def test_an_image_of_another_architecture_is_not_mounted_but_pulled(inside, namespace, cluster, tmp_path):
    space, dest = namespace(), tmp_path / "boot.qcow2"
    variables = {"source": cluster["images"]["tiny"]["plain"], "registry": PLAIN, "dest": str(dest), "architecture": "arm64", "builder": builder(space)}
    assert "way=pull" in inside(PULL, extra=variables).text
    sound(dest, "arm64")
    variables["builder"]["source_transfer"] = "image_volume"
    os.unlink(dest)
    fault = inside(PULL, extra=variables, fails=True)
    assert "has not mounted this image" in fault.text
    assert space.empty() == []


def test_where_the_node_cannot_pull_the_pod_does(inside, namespace, cluster, tmp_path):
    space, dest = namespace(), tmp_path / "boot.qcow2"
    # the node is not given the login
    variables = {"source": cluster["images"]["tiny-docker"]["tls"], "registry": login(cluster), "dest": str(dest),
                 "builder": builder(space, pod_overrides={"spec": {"imagePullSecrets": None}})}
    assert "way=pull" in inside(PULL, extra=variables).text
    os.unlink(dest)
    variables["builder"]["source_transfer"] = "image_volume"
    assert "the cluster does not mount the boot media image" in inside(PULL, extra=variables, fails=True).text
    assert space.empty() == []


def test_where_the_pod_cannot_pull_the_module_host_does(inside, namespace, cluster, tmp_path):
    space = namespace()
    # only this host's registries.conf knows that this registry speaks plain http
    (tmp_path / ".config/containers").mkdir(parents=True)
    (tmp_path / ".config/containers/registries.conf").write_text('[[registry]]\nlocation = "10.244.0.1:5000"\ninsecure = true\n')
    environment = {"HOME": str(tmp_path)}
    named = builder(space, name="mine", create=True)
    variables = {"source": cluster["images"]["tiny"]["plain"], "dest": "workspace:boot", "builder": dict(named, source_transfer="pull")}
    assert "plain http" in inside(PULL, extra=variables, env=environment, fails=True).text
    # the pod is there now, and has nothing mounted
    variables["builder"] = named
    assert "way=push" in inside(PULL, extra=variables, env=environment).text
    kept = space.ctl("exec", space.ctl("get", "pods", "-o", "name").strip(), "--", "ls", "/workspace/files").split()
    assert "boot" in kept


@pytest.fixture(params=["none", "apiserver"])
def without_image_volumes(cluster, request):
    """The cluster as those before 1.35 are by default, or with an older node; afterwards it is as before, with new keys."""
    if not cluster["started"]:
        pytest.skip("the cluster that runs was not started by these tests, so it is not started anew")
    lab("down")
    cluster.update(json.loads(lab("up", "--image-volumes", request.param)))
    try:
        yield request.param
    finally:
        lab("down")
        cluster.update(json.loads(lab("up")))


def test_a_cluster_without_image_volumes(without_image_volumes, inside, namespace, cluster, tmp_path):
    assert cluster["image_volumes"] == without_image_volumes
    space, dest = namespace(), tmp_path / "boot.qcow2"
    variables = {"source": cluster["images"]["tiny"]["plain"], "registry": PLAIN, "dest": str(dest), "builder": builder(space, wait_timeout=3600)}
    # a pod that may take longer to start than this test may is not waited for
    assert "way=pull" in inside(PULL, extra=variables).text
    os.unlink(dest)
    variables["builder"]["source_transfer"] = "image_volume"
    told = inside(PULL, extra=variables, fails=True).text
    assert "the cluster does not mount the boot media image" in told, told
    assert space.empty() == []


def test_where_nobody_can_pull_the_pod_s_fault_is_told(inside, namespace, cluster, tmp_path):
    space = namespace()
    play = inside(PULL, extra={"source": cluster["images"]["tiny"]["plain"] + "-none", "registry": PLAIN, "dest": str(tmp_path / "boot.qcow2"),
                               "builder": builder(space)}, fails=True)
    assert "there is no such image" in play.text
    assert space.empty() == [] and hidden(tmp_path) == []


@contextlib.contextmanager
def counted():
    """[bytes] that users of the API server have sent it, once left."""
    rule, found = ["-p", "tcp", "-d", "10.244.0.1", "--dport", "443", "-m", "comment", "--comment", "counted"], []

    def iptables(*arguments):
        return subprocess.run([LAB / "enter", "iptables", *arguments], check=True, capture_output=True, text=True).stdout
    iptables("-I", "INPUT", *rule)
    try:
        yield found
    finally:
        lines = [line.split() for line in iptables("-nvxL", "INPUT").splitlines() if "/* counted */" in line]
        found.append(int(lines[0][1]))
        iptables("-D", "INPUT", *rule)


@pytest.mark.parametrize(("way", "more"), [("image_volume", False), ("pull", False), ("push", True), ("auto", False)])
def test_a_source_that_came_from_a_registry_is_not_sent(inside, namespace, cluster, tmp_path, way, more):
    space, boot, dest = namespace(), tmp_path / "boot.qcow2", tmp_path / "oci.qcow2"
    inside(PULL.partition("    - ansible.builtin.debug")[0], extra={
        "source": cluster["images"]["tiny"]["plain"], "registry": PLAIN, "dest": str(boot), "builder": {"type": "local"}})
    with counted() as sent:
        inside(CUSTOMIZE, extra={"src": str(boot), "dest": str(dest), "builder": builder(space, source_transfer=way)})
    # a quarter of it is left when it is compressed; programs and requests are some hundred kilobytes
    assert (sent[0] > boot.stat().st_size // 5) == more
    assert space.empty() == []
    assert load_record(str(dest)).sha256 == digests.sha256_file(dest)[0]


def test_a_source_that_was_changed_since_is_sent(inside, namespace, cluster, tmp_path, tiny):
    """Its record says where it came from, and is not true any more."""
    space, boot, dest = namespace(), tmp_path / "boot.qcow2", tmp_path / "oci.qcow2"
    inside(PULL.partition("    - ansible.builtin.debug")[0], extra={
        "source": cluster["images"]["tiny"]["plain"], "registry": PLAIN, "dest": str(boot), "builder": {"type": "local"}})
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 7 100M 64k", boot], check=True, capture_output=True)
    inside(CUSTOMIZE, extra={"src": str(boot), "dest": str(dest), "builder": builder(space)})
    subprocess.run(["qemu-io", "-f", "qcow2", "-r", "-c", "read -P 7 100M 64k", dest], check=True, capture_output=True)
