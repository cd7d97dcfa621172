# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The image for builder pods and AWX: built and pushed by its playbook, used by pods, and by Ansible in a pod of a cluster."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time

import pytest
from plays import CORES, ROOT, VENVS, Play
from pods import LAB

from cluster import builder_image, config, debian
from registry import control

pytestmark = pytest.mark.parametrize("core", CORES[-1:], indirect=True)
PLAYBOOK = ROOT / "playbooks/build_builder_image.yml"
TASKS = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ocne.images.ocne_builder: "{{ pod }}"
      register: made
    - ocne.images.ocne_image_customize: {src: "{{ src }}", dest: "{{ folder }}/oci.qcow2", platform: oci, builder: "{{ made.builder }}"}
"""
IN_CLUSTER = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.command: {argv: ["{{ ansible_playbook_python }}", -c, "import kubernetes, oci, ansible_runner; print(kubernetes.__version__)"]}
    - ansible.builtin.command: {argv: [ansible-doc, ocne.images.ocne_builder]}
    - ansible.builtin.command: {argv: [qemu-img, create, -f, qcow2, /runner/a.qcow2, 64M]}
    - ocne.images.ocne_image_convert: {src: /runner/a.qcow2, dest: /runner/a.raw, format: raw, builder: {type: pod, image: "IMAGE"}}
      register: converted
    - ansible.builtin.assert: {that: [converted is changed, converted.size == 67108864]}
"""


@pytest.fixture(autouse=True)
def once(core):
    """Which ansible-core: see pytestmark."""


@pytest.fixture(scope="module")
def registries(cluster, tmp_path_factory):
    """Registries on loopback over what the cluster's registries hold: a build needs a way to packages, and the cluster's network has none."""
    state = tmp_path_factory.mktemp("registries")
    (state / "storage").symlink_to(config.registry_storage() / "storage")
    try:
        yield control.up(state)
    finally:
        control.down(state)


@pytest.fixture(scope="module")
def build(registries, tmp_path_factory):
    """build(arguments..., fails=False, env=[], variables...) -> what the playbook said. podman's storage is the lab's, which has the first layers."""
    tls, plays = registries["tls"], []

    def go(*arguments, fails=False, env=(), **more):
        folder = tmp_path_factory.mktemp("build")
        variables = {"builder_image": f"{tls['address']}/ocne/builder:test", "builder_image_base": builder_image.base(),
                     "builder_image_registry": {"username": tls["username"], "password": tls["password"], "ca_cert": tls["ca"]},
                     "builder_image_ca_certificates": [str(path) for path in builder_image.authorities()],
                     "builder_image_build_options": builder_image.BUILD_OPTIONS, "builder_image_push_options": ["--compression-format=zstd"], **more}
        (folder / "variables.json").write_text(json.dumps(variables))
        # its mounts end with it
        command = [*debian.ISOLATED, "env", *env, str(VENVS / CORES[-1] / "bin/ansible-playbook"), str(PLAYBOOK),
                   "-e", f"@{folder}/variables.json", *arguments]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        environment.update(builder_image.storage(), LC_ALL="C.UTF-8", ANSIBLE_NOCOLOR="1", TMPDIR=str(folder))
        play = Play(command, environment, folder)
        plays.append(play)
        assert bool(play.wait(900)) == fails, play.text
        assert tls["password"] not in play.text and "Traceback" not in play.text
        # work files, and with them the login
        assert [name for name in os.listdir(folder) if name.startswith("ocne-builder-image")] == []
        return play.text

    yield go
    for play in plays:
        play.kill_all()


@pytest.fixture(scope="module")
def image(build):
    """The image as the cluster's pods know it."""
    return "10.244.0.1:5000/" + result(build())


def result(text):
    """The image by its digest, without the registry."""
    return re.search(r"builder: \{image: [^/]+/(ocne/builder@sha256:[0-9a-f]{64})\}", text).group(1)


def test_what_is_there_is_not_built_again(build, image):
    again = build()
    assert "changed=0" in again and image.endswith(result(again))
    other = build("--check", builder_image_with_ansible=False)
    assert "It would be built and pushed" in other and "changed=1" in other
    assert "changed=0" in build("--check")


@pytest.mark.parametrize("more, words", [
    ({"builder_image": "builder"}, "builder is not the name of an image in a registry"),
    ({"builder_image": "localhost:9/ocne/builder"}, "The registry cannot be asked for localhost:9/ocne/builder:latest"),
    ({"builder_image_base": "localhost/nothing/here:latest"}, "podman could not build the image"),
])
def test_what_goes_wrong_is_one_sentence(build, more, words):
    assert words in build(fails=True, **more)


def test_nothing_to_build_with(build, tmp_path):
    for name in ("chmod", "cp", "env", "find", "mkdir", "rm", "sh", "sleep"):
        (tmp_path / name).symlink_to(shutil.which(name))
    text = build(fails=True, env=[f"PATH={tmp_path}"])
    assert "This host has no podman, buildah or docker to build the image with: install podman" in text


def test_a_pod_of_it_does_tasks(inside, namespace, image, tiny, tmp_path):
    space = namespace("restricted")
    pod = {"name": "mine", "namespace": space.name, "kubeconfig": space.kubeconfig, "image": image, "security": "restricted"}
    inside(TASKS, extra={"pod": pod, "src": tiny["tiny"], "folder": str(tmp_path)})
    assert (tmp_path / "oci.qcow2").exists()
    assert space.ctl("exec", "job/mine", "--", "cat", "/usr/lib/ocne-images/appliance/kind").strip() == "quick"


def test_ansible_in_a_pod_needs_no_kubeconfig(namespace, image):
    space = namespace()
    play = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "play"}, "data": {"play.yml": IN_CLUSTER.replace("IMAGE", image)}}
    # as a container group of AWX makes it
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "awx"}, "spec": {
        "serviceAccountName": "ocne-builder", "restartPolicy": "Never", "volumes": [{"name": "play", "configMap": {"name": "play"}}],
        "containers": [{"name": "worker", "image": image, "args": ["ansible-playbook", "/play/play.yml"],
                        "volumeMounts": [{"name": "play", "mountPath": "/play"}]}]}}
    for thing in (play, pod):
        subprocess.run([LAB / "ctl", "--namespace", space.name, "apply", "-f", "-"], input=json.dumps(thing), text=True, check=True, capture_output=True)
    deadline = time.monotonic() + 180
    while (phase := space.ctl("get", "pod", "awx", "-o", "jsonpath={.status.phase}")) not in ("Succeeded", "Failed") and time.monotonic() < deadline:
        time.sleep(0.5)
    assert phase == "Succeeded", space.ctl("logs", "awx", check=False) or space.ctl("describe", "pod", "awx")
    assert "changed=4" in space.ctl("logs", "awx")
    space.ctl("delete", "pod", "awx", "--grace-period=1")
    assert space.empty() == []


def test_a_plain_image_without_a_way_to_packages(inside, namespace, registries):
    """What a pod of an image without tools does where its package manager, which asks the proxy, reaches nothing."""
    subprocess.run([*debian.ISOLATED, "skopeo", "copy", "-q", "--dest-tls-verify=false", f"containers-storage:{builder_image.base()}",
                    f"docker://{registries['plain']['address']}/ocne/debian:latest"], check=True, env={**os.environ, **builder_image.storage()})
    space = namespace()
    options = {"namespace": space.name, "kubeconfig": space.kubeconfig, "image": "10.244.0.1:5000/ocne/debian:latest",
               "environment": {"HTTP_PROXY": "http://127.0.0.1:9"}}
    play = "- {hosts: localhost, gather_facts: false, tasks: [{ocne.images.ocne_builder: '{{ pod }}'}]}"
    text = inside(play, extra={"pod": options}, fails=True).text
    assert "lacks qemu-img skopeo zstd libguestfs, and they could not be installed" in text
    assert re.search(r"E: .*Could not connect to 127\.0\.0\.1:9", text), text
    space = namespace("restricted")
    options.update(namespace=space.name, kubeconfig=space.kubeconfig, security="restricted")
    text = inside(play, extra={"pod": options}, fails=True).text
    assert "the pod may not install them" in text and "the playbook ocne.images.build_builder_image builds it" in text
