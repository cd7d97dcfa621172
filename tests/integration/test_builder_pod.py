# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The tasks of the local builder in a pod of a real cluster, with an account that has the documented Role and nothing else."""

from __future__ import annotations

import calendar
import json
import os
import signal
import subprocess
import time

import pytest
import yaml
from plays import CORES, ROOT, hidden
from pods import IMAGE, LAB

from ansible_collections.ocne.images.plugins.module_utils.artifact.record import load_record
from ansible_collections.ocne.images.plugins.module_utils.files import digests

# builds take long, and what they do is the same with every ansible-core
pytestmark = pytest.mark.parametrize("core", CORES[-1:], indirect=True)
PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ocne.images.ocne_builder: "{{ pod | combine({'state': 'present', 'namespace': namespace}) }}"
      register: made
    - ocne.images.ocne_image_customize: {src: "{{ src }}", dest: "{{ folder }}/oci.qcow2", platform: oci, builder: "{{ made.builder }}"}
    - ocne.images.ocne_image_info: {src: "{{ folder }}/oci.qcow2", builder: "{{ made.builder }}", read: [/etc/hostname], cache: false}
      register: found
    - ocne.images.ocne_image_convert: {src: "{{ folder }}/oci.qcow2", dest: "{{ folder }}/oci.vmdk", format: vmdk, verify: true, builder: "{{ made.builder }}"}
    - ansible.builtin.assert: {that: ["found.ignition.platform == 'oci'", "found.partitions | length == 3"]}
    - ocne.images.ocne_builder: "{{ pod | combine({'state': 'absent', 'namespace': namespace}) }}"
"""
CUSTOMIZE = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ocne.images.ocne_image_customize: {src: "{{ src }}", dest: "{{ folder }}/oci.qcow2", platform: oci, builder: "{{ builder }}"}
"""
BUILDER = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ocne.images.ocne_builder: "{{ options }}"
"""


@pytest.fixture(autouse=True)
def once(core):
    """Which ansible-core: see pytestmark."""


def options(space, **more):
    return dict({"kubeconfig": space.kubeconfig, "image": IMAGE}, **more)


def builder(space, **more):
    return options(space, type="pod", **more)


@pytest.mark.parametrize("level", ["baseline", "restricted"])
def test_all_tasks_in_a_named_pod(inside, namespace, tmp_path, tiny, level):
    space = namespace(level)
    variables = {"src": tiny["tiny"], "folder": str(tmp_path), "namespace": space.name, "pod": options(space, name="mine", security=level)}
    play = inside(PLAY, extra=variables)
    assert "changed=4" in play.text
    assert hidden(tmp_path) == []
    assert space.empty() == []
    record = json.loads((tmp_path / "oci.qcow2.record.json").read_text())
    assert record["sha256"] == digests.sha256_file(tmp_path / "oci.qcow2")[0]
    subprocess.run(["qemu-img", "compare", "-q", "-f", "qcow2", "-F", "vmdk", tmp_path / "oci.qcow2", tmp_path / "oci.vmdk"], check=True)


def test_a_pod_of_its_own_and_none_where_nothing_is_to_do(inside, namespace, tmp_path, tiny):
    space = namespace()
    variables = {"src": tiny["tiny"], "folder": str(tmp_path), "builder": builder(space)}
    assert "changed=1" in inside(CUSTOMIZE, extra=variables).text
    assert space.empty() == []
    # nothing to do: no cluster is asked, so that none needs to be there
    variables["builder"]["kubeconfig"] = "/nothing/here"
    assert "changed=0" in inside(CUSTOMIZE, extra=variables).text


def test_pulling_in_the_pod(inside, namespace, cluster, tmp_path):
    play = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ocne.images.ocne_boot_image:
        source: "{{ source }}"
        architecture: amd64
        dest: "{{ folder }}/boot.qcow2"
        registry: "{{ registry }}"
        builder: "{{ builder }}"
"""
    space, tls = namespace("restricted"), cluster["registries"]["tls"]
    variables = {"folder": str(tmp_path), "source": cluster["images"]["tiny"]["tls"], "builder": builder(space, security="restricted"),
                 "registry": {"ca_cert": tls["ca"], "username": tls["username"], "password": tls["password"]}}
    first = inside(play, extra=variables)
    assert "changed=1" in first.text and tls["password"] not in first.text
    assert space.empty() == []
    # unchanged: one request from here, no pod
    variables["builder"]["kubeconfig"] = "/nothing/here"
    assert "changed=0" in inside(play, extra=variables).text


def test_the_main_job(inside, namespace, cluster, tmp_path):
    space, folder = namespace("restricted"), tmp_path / "images"
    extra = {"oci_image_source": cluster["images"]["1.33"]["plain"], "oci_image_registry": {"verify": False}, "oci_image_directory": str(folder),
             "oci_image_architecture": "amd64", "oci_image_builder": builder(space, security="restricted")}
    first = inside(ROOT / "playbooks/build-oci-image.yml", extra=extra)
    assert "failed=0" in first.text
    # one pod for both tasks
    events = json.loads(space.ctl("get", "events", "-o", "json"))["items"]
    assert len({event["involvedObject"]["name"] for event in events if event["reason"] == "Scheduled"}) == 1
    assert space.empty() == [] and hidden(folder) == []
    for name in ("boot.qcow2-1.33-amd64", "boot.qcow2-1.33-amd64.oci"):
        assert load_record(str(folder / name)).sha256 == digests.sha256_file(folder / name)[0]
        subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", folder / name], check=True)
    # nothing to do: no cluster is asked, so that none needs to be there
    extra["oci_image_builder"]["kubeconfig"] = "/nothing/here"
    assert "changed=0" in inside(ROOT / "playbooks/build-oci-image.yml", extra=extra).text


def test_what_stays_in_the_workspace(inside, namespace, cluster, tmp_path):
    play = """
- hosts: localhost
  gather_facts: false
  module_defaults:
    group/ocne.images.ocne: {builder: "{{ builder }}"}
  tasks:
    - ocne.images.ocne_boot_image: {source: "{{ source }}", architecture: amd64, registry: {verify: false}, dest: "workspace:boot"}
      register: pulled
    - ocne.images.ocne_image_customize: {src: "workspace:boot", dest: "workspace:oci", platform: oci}
    - ocne.images.ocne_image_info: {src: "workspace:oci"}
      register: found
    - ansible.builtin.assert: {that: ["pulled.path == 'workspace:boot'", "found.ignition.platform == 'oci'"]}
      when: not ansible_check_mode
    - ocne.images.ocne_image_convert: {src: "workspace:oci", dest: "{{ folder }}/oci.raw", format: raw}
    - ocne.images.ocne_image_convert: {src: "workspace:oci", dest: "{{ folder }}/oci.oci", format: pca_archive, architecture: amd64, verify: true}
"""
    space = namespace()
    variables = {"source": cluster["images"]["tiny"]["plain"], "folder": str(tmp_path), "builder": builder(space, name="mine", create=True)}
    # what is not there cannot be looked at
    assert "there is no such artifact in the workspace" in inside(play, "--check", extra=variables, fails=True).text
    assert space.objects() == []
    assert "changed=4" in inside(play, extra=variables).text
    again = inside(play, extra=variables).text
    assert "changed=0" in again and "start builder pod" not in again
    assert sorted(name for name in os.listdir(tmp_path) if name.startswith("oci")) == ["oci.oci", "oci.oci.record.json", "oci.raw", "oci.raw.record.json"]
    subprocess.run(["tar", "-xzf", "oci.oci"], check=True, cwd=tmp_path)
    subprocess.run(["qemu-img", "compare", "-q", "-f", "qcow2", "-F", "raw", tmp_path / "output.QCOW2", tmp_path / "oci.raw"], check=True)
    local = dict(variables, builder={"type": "local"})
    assert "a workspace is that of a builder pod" in inside(play, extra=local, fails=True).text


def test_what_is_there_is_proven_later(inside, namespace, tmp_path, tiny):
    space = namespace()
    variables = {"src": tiny["tiny"], "folder": str(tmp_path), "builder": builder(space, name="mine", create=True)}
    play = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ocne.images.ocne_image_convert:
        src: "{{ src }}"
        dest: "{{ folder }}/boot{{ item.1 }}"
        format: "{{ item.0 }}"
        architecture: "{{ 'amd64' if item.0 == 'pca_archive' else omit }}"
        builder: "{{ builder }}"
        verify: "{{ verify }}"
      register: made
      loop: [[pca_archive, .oci], [raw, .raw]]
    - ansible.builtin.assert: {that: ["item.verified == verify", "item is changed != verify"]}
      loop: "{{ made.results }}"
"""
    for verify in (False, True):
        inside(play, extra=dict(variables, verify=verify))


def test_the_role_that_wraps_tasks(inside, namespace, tmp_path, tiny):
    (tmp_path / "tasks.yml").write_text("""
- ocne.images.ocne_image_customize: {src: "{{ src }}", dest: "{{ folder }}/vmware.qcow2", platform: vmware, builder: "{{ builder }}"}
- ocne.images.ocne_image_convert: {src: "{{ folder }}/vmware.qcow2", dest: "{{ folder }}/a.vmdk", format: vmdk, builder: "{{ builder }}"}
- ocne.images.ocne_builder_info: {namespace: "{{ builder.namespace }}", kubeconfig: "{{ builder.kubeconfig }}", activity: true}
  register: found
- ansible.builtin.assert: {that: ["found.builders | length == 1", "found.builders[0].state == 'running'", "found.builders[0].jobs == []"]}
- ansible.builtin.fail: {msg: on purpose}
""")
    space = namespace()
    play = inside("""
- hosts: localhost
  gather_facts: false
  roles:
    - {role: ocne.images.builder, builder_tasks: "{{ folder }}/tasks.yml", builder_pod: "{{ pod }}"}
""", extra={"src": tiny["tiny"], "folder": str(tmp_path), "pod": options(space)}, fails=True)
    assert "on purpose" in play.text and "send" not in play.text.partition("ocne_image_convert")[2]
    assert (tmp_path / "a.vmdk").exists()
    assert space.empty() == []


def test_only_exec_is_granted(inside, namespace, tmp_path, tiny):
    role = yaml.safe_load((ROOT / "docs/builder-role.yaml").read_text())
    role["rules"] = [rule for rule in role["rules"] if rule["resources"] not in (["pods/proxy"], ["events"])]
    (tmp_path / "role.yaml").write_text(json.dumps(role))
    space = namespace(role=tmp_path / "role.yaml")
    inside(CUSTOMIZE, extra={"src": tiny["tiny"], "folder": str(tmp_path), "builder": builder(space)})
    assert load_record(str(tmp_path / "oci.qcow2")).sha256 == digests.sha256_file(tmp_path / "oci.qcow2")[0]


def test_present_and_absent(inside, namespace):
    space = namespace()
    known = options(space, name="b1")
    assert "changed=1" in inside(BUILDER, "--check", extra={"options": known}).text
    assert space.objects() == []
    assert "changed=1" in inside(BUILDER, extra={"options": known}).text
    assert "changed=0" in inside(BUILDER, extra={"options": known}).text
    other = inside(BUILDER, extra={"options": dict(known, deadline=99)}, fails=True)
    assert "there is a builder of that name with other options" in other.text
    assert "changed=1" in inside(BUILDER, "--check", extra={"options": dict(known, state="absent")}).text
    assert "changed=1" in inside(BUILDER, extra={"options": dict(known, state="absent")}).text
    assert "changed=0" in inside(BUILDER, extra={"options": dict(known, state="absent")}).text
    assert space.empty() == []


def test_the_pod_has_no_privilege_and_no_secret(inside, namespace):
    space = namespace()
    inside(BUILDER, extra={"options": options(space, name="b1", environment={"HTTPS_PROXY": "http://me:hidden@proxy"})})
    pod = json.loads(space.ctl("get", "pods", "-o", "json"))["items"][0]
    assert "hidden" not in json.dumps(pod)
    assert not any("hostPath" in volume for volume in pod["spec"]["volumes"]) and not pod["spec"].get("hostNetwork")
    assert not any("serviceaccount" in json.dumps(mount) for mount in pod["spec"]["containers"][0]["volumeMounts"])
    token = space.ctl("exec", pod["metadata"]["name"], "--", "cat", "/run/ocne/token").strip()
    assert len(token) > 20 and token not in json.dumps(pod)


def test_it_ends_and_goes_by_itself(inside, namespace):
    space = namespace()
    inside(BUILDER, extra={"options": options(space, name="b1", idle_timeout=10)})
    deadline = time.monotonic() + 120
    while '"Complete"' not in space.ctl("get", "jobs", "-o", "json"):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert "nobody has spoken to it" in space.ctl("logs", "job/b1")
    gone = inside(BUILDER, extra={"options": options(space, state="absent", expired=True)})
    assert "changed=1" in gone.text
    assert space.empty() == []


def container(**more):
    return {"pod_overrides": {"spec": {"containers": [dict(name="builder", **more)]}}}


@pytest.mark.parametrize("more, words", [
    ({"kubeconfig": "/nothing/here"}, "the kubeconfig does not exist"),
    ({"host": "https://10.244.0.1:9", "kubeconfig": None, "api_key": "x"}, "the API server cannot be reached: Connection refused"),
    ({"api_key": "wrong"}, "does not accept the credentials"),
    ({"namespace": "kube-system"}, "grant the Role"),
    ({"architecture": "arm64"}, "no node can take the pod: 0/1 nodes are available"),
    ({"image": "10.244.0.1:5000/ocne/none:latest"}, "the image of the pod cannot be pulled"),
    ({"image": "10.244.0.1:5000/ocne/none:LATEST/"}, "invalid reference format"),
    ({"workspace": "lots"}, "is not a size"),
    ({"pod_overrides": {"spec": {"hostNetwork": True}}}, "it would add privilege"),
    (container(resources={"requests": {"memory": "900Gi"}}), "Insufficient memory"),
    (container(env=[{"name": "PATH", "value": "/nothing"}]), "the image of the builder pod lacks qemu-img"),
])
def test_what_goes_wrong_is_one_sentence(inside, namespace, more, words):
    space = namespace()
    wanted = options(space, wait_timeout=3600, **more)   # longer than this test may take
    play = inside(BUILDER, extra={"options": {key: value for key, value in wanted.items() if value is not None}}, fails=True)
    assert words in play.text
    assert space.empty() == []


def test_a_namespace_that_refuses_the_pod(inside, namespace):
    space = namespace("restricted")
    play = inside(BUILDER, extra={"options": options(space)}, fails=True)
    assert "violates PodSecurity" in play.text and "set security: restricted" in play.text


def test_check_mode_asks_whether_the_pod_would_be_admitted(inside, namespace, tmp_path, tiny):
    variables = {"src": tiny["tiny"], "folder": str(tmp_path)}
    space = namespace("restricted")
    refused = inside(CUSTOMIZE, "--check", extra=dict(variables, builder=builder(space)), fails=True)
    assert "violates PodSecurity" in refused.text
    admitted = inside(CUSTOMIZE, "--check", extra=dict(variables, builder=builder(space, security="restricted")))
    assert "changed=1" in admitted.text
    assert space.objects() == []


def test_a_quota_that_refuses_the_pod(inside, namespace):
    space = namespace()
    space.ctl("create", "quota", "q", "--hard=pods=0")
    play = inside(BUILDER, extra={"options": options(space)}, fails=True)
    assert "exceeded quota" in play.text and "raise the quota" in play.text


def wait_for_job(space, play):
    """Until the work program runs in the pod."""
    deadline = time.monotonic() + 180
    while True:
        names = [name.partition("/")[2] for name in space.objects("pods")]
        if names and "started: customize" in space.ctl("logs", names[0], check=False):
            return names[0]
        assert play.process.poll() is None and time.monotonic() < deadline, play.text
        time.sleep(0.2)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_task_removes_its_pod(start, namespace, tmp_path, tiny, number):
    space = namespace()
    play = start(CUSTOMIZE, extra={"src": tiny["tiny"], "folder": str(tmp_path), "builder": builder(space)}, within=[str(LAB / "enter")])
    wait_for_job(space, play)
    (os.killpg if number == signal.SIGINT else os.kill)(play.process.pid, number)
    assert play.gone() == []
    assert space.empty() == []
    assert not (tmp_path / "oci.qcow2").exists() and hidden(tmp_path) == []


def test_a_pod_that_goes_in_mid_job_is_told(start, namespace, tmp_path, tiny):
    space = namespace()
    play = start(CUSTOMIZE, extra={"src": tiny["tiny"], "folder": str(tmp_path), "builder": builder(space)}, within=[str(LAB / "enter")])
    space.ctl("delete", "pod", wait_for_job(space, play), "--wait=false", "--grace-period=1")
    assert play.wait() != 0
    assert "the builder pod" in play.text and "Traceback" not in play.text
    assert space.empty() == []


def without_node(space):
    """For how many seconds the cluster knows that a pod there has no node."""
    pods = json.loads(space.ctl("get", "pods", "-o", "json"))["items"]
    since = [condition["lastTransitionTime"] for pod in pods for condition in pod["status"].get("conditions") or []
             if condition["type"] == "PodScheduled" and condition["status"] == "False"]
    return max((time.time() - calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ")) for text in since), default=0)


def test_where_nodes_are_full_it_waits(start, namespace):
    space, most = namespace(), json.loads(subprocess.run([LAB / "ctl", "get", "nodes", "-o", "json"], capture_output=True, check=True).stdout)
    cpus = float(most["items"][0]["status"]["allocatable"]["cpu"])
    # two of these do not fit at once
    large = container(resources={"requests": {"cpu": str(cpus * 0.6)}})
    first, second = (start(BUILDER, extra={"options": options(space, name=name, **large)}, within=[str(LAB / "enter")]) for name in ("first", "second"))
    deadline = time.monotonic() + 180
    while all(play.process.poll() is None for play in (first, second)) and time.monotonic() < deadline:
        time.sleep(0.2)
    done, waits = (first, second) if first.process.poll() is not None else (second, first)
    assert done.wait() == 0, done.text
    waits.wait_for("wait for room on a node of the cluster")
    # longer than an unfit node is waited for
    while without_node(space) < 18:
        assert waits.process.poll() is None, waits.text
        time.sleep(0.3)
    space.ctl("delete", "job", "first" if done is first else "second")
    assert waits.wait() == 0, waits.text


def test_several_at_once(start, namespace, tmp_path, tiny):
    space = namespace()
    plays = []
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        plays.append(start(CUSTOMIZE, extra={"src": tiny["tiny"], "folder": str(folder), "builder": builder(space)}, within=[str(LAB / "enter")]))
    assert [play.wait() for play in plays] == [0, 0, 0], "\n".join(play.text for play in plays)
    assert space.empty() == []


@pytest.mark.parametrize("part", ["kubelet", "apiserver"])
def test_a_part_of_the_cluster_restarts_in_mid_job(start, namespace, tmp_path, tiny, part):
    space = namespace()
    play = start(CUSTOMIZE, extra={"src": tiny["tiny"], "folder": str(tmp_path), "builder": builder(space)}, within=[str(LAB / "enter")])
    wait_for_job(space, play)
    subprocess.run([LAB / "restart", part], check=True, capture_output=True)
    assert play.wait() == 0, play.text
    assert space.empty() == []
