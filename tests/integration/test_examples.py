# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The examples of every module's documentation, run as they stand: only folders and hosts are those of the lab."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess

import pytest
from plays import CORES, ROOT
from pods import IMAGE

from sample import build

#: those that need a cluster
POD_MODULES = ("ocne_builder", "ocne_builder_info")
#: those that need Oracle's cloud
CLOUD_MODULES = ("ocne_oci_image_import", "ocne_oci_image_info")
MODULES = sorted({path.stem for path in (ROOT / "plugins" / "modules").glob("*.py")} - set(POD_MODULES) - set(CLOUD_MODULES))
#: folders of the examples, all made one
FOLDERS = re.compile(r"/var/lib/images|/srv/images|/srv/site|/var/tmp|/media/usb|/etc/pki")
pytestmark = pytest.mark.parametrize("core", CORES[-1:], indirect=True)


def examples(module):
    tree = ast.parse((ROOT / "plugins" / "modules" / f"{module}.py").read_text())
    return next(node.value.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "EXAMPLES")


def indented(text):
    """Tasks as a play has them."""
    return "".join(f"    {line}\n" if line else "\n" for line in text.splitlines())


@pytest.fixture
def home(tmp_path, registry, tiny):
    """A user's home whose Oracle registry is the lab's, and the files that the examples name."""
    plain, tls = registry["plain"], registry["tls"]
    folder = tmp_path / "home"
    (folder / ".config" / "containers").mkdir(parents=True)
    (folder / ".config" / "containers" / "registries.conf").write_text(
        f'[[registry]]\nprefix = "container-registry.oracle.com"\nlocation = "{plain["address"]}"\ninsecure = true\n')
    (folder / ".ssh").mkdir()
    (folder / ".ssh" / "id_ed25519.pub").write_text("ssh-ed25519 AAAA example\n")
    place = tmp_path / "place"
    for name in ("images", "small"):
        (place / name).mkdir(parents=True)
    shutil.copy(tiny["tiny"], place / "boot.qcow2")
    shutil.copy(tls["ca"], place / "example-ca.pem")
    (place / "chrony.conf").write_text("pool ntp.example.com\n")
    for kind, name in (("vhdx", "disk.vhdx"), ("vmdk", "boot.vmdk")):
        subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", kind, place / "boot.qcow2", place / name], check=True)
    source = build.media(real_too=False)["tiny"]
    for target in (f"docker://{plain['address']}/olcne/ock:1.32", f"oci-archive:{place}/ock-1.33.tar"):
        subprocess.run(["skopeo", "copy", "-q", "--all", "--dest-tls-verify=false", source, target], check=True)
    raw = subprocess.run(["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{plain['address']}/olcne/ock:1.32"], check=True, capture_output=True)
    digest = subprocess.run(["sha256sum"], input=raw.stdout, check=True, capture_output=True).stdout.split()[0].decode()
    return folder, place, {"registry.example.com:5000": tls["address"], "username: puller": f"username: {tls['username']}",
                           "7f5d0b9a4a6e0e4f2c7a6b8a3c1d2e3f405162738495a6b7c8d9eaf001122334": digest}


@pytest.mark.parametrize("module", MODULES)
def test_examples_run(run, home, registry, module):
    folder, place, words = home
    text = FOLDERS.sub(str(place), examples(module))
    for old, new in words.items():
        text = text.replace(old, new)
    tasks = indented(text)
    play = run(f"- hosts: localhost\n  gather_facts: false\n  tasks:\n{tasks}", extra={"registry_password": registry["tls"]["password"]},
               env={"HOME": str(folder), "XDG_RUNTIME_DIR": ""})
    assert "failed=0" in play.text
    assert json.dumps(registry["tls"]["password"]) not in play.text
    assert not [name for name in os.listdir(place) if name.endswith(".ocne-staging")]


@pytest.mark.parametrize("module", POD_MODULES)
def test_examples_of_pods_run(inside, namespace, module):
    space = namespace("restricted")
    text = examples(module).replace("namespace: images", f"namespace: {space.name}").replace("registry.example.com/ocne/builder:latest", IMAGE)
    tasks = indented(text)
    # the default image is not in the lab, and the account of its test has no pull secret
    defaults = {f"ocne.images.{name}": {"kubeconfig": space.kubeconfig} for name in POD_MODULES}
    defaults["ocne.images.ocne_builder"].update(image=IMAGE, security="restricted")
    play = inside(f"- hosts: localhost\n  gather_facts: false\n  module_defaults: {json.dumps(defaults)}\n  tasks:\n{tasks}")
    assert "failed=0" in play.text


@pytest.fixture
def in_the_cloud(run, cloud, tmp_path):
    """in_the_cloud(text of tasks, **variables) -> the Play of a user of it, who works in the compartment team/builds."""
    (tmp_path / "home/.oci").mkdir(parents=True)
    shutil.copy(cloud.about["config"], tmp_path / "home/.oci/config")
    reached = {name: value for name, value in cloud.options().items() if name != "config_file_location"}
    # the lab's imports take a second
    defaults = {"group/ocne.images.oracle": reached, "ocne.images.ocne_oci_image_import": {"wait_interval": 1}}

    def go(text, **variables):
        tasks = indented(FOLDERS.sub(str(tmp_path), text.replace("kubernetes/images", "team/builds")))
        return run(f"- hosts: localhost\n  gather_facts: false\n  module_defaults: {json.dumps(defaults)}\n  tasks:\n{tasks}", extra=variables,
                   env={"HOME": str(tmp_path / "home"), "NO_PROXY": "localhost"})
    return go


def test_examples_of_images_in_the_cloud_run(in_the_cloud, cloud, tiny):
    image = cloud.image(tiny["tiny"], "ock", "team/builds", {"ocne/architecture": "arm64", "ocne/kubernetes": "1.33"})
    cloud.schema(image, "team/builds", **{"Compute.Firmware": "UEFI_64"})
    play = in_the_cloud(examples("ocne_oci_image_info"))
    assert "failed=0" in play.text and "changed=0" in play.text


def test_examples_of_an_import_run(in_the_cloud, cloud, tiny, tmp_path):
    for disk, name in (("tiny", "boot.qcow2-1.33-amd64.oci"), ("tiny-arm64", "boot.qcow2-1.33-arm64.oci")):
        shutil.copy(tiny[disk], tmp_path / name)
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "vmdk", tiny["tiny"], tmp_path / "boot.vmdk"], check=True)
    bucket = cloud.bucket("team/builds")
    there = ("-ns", cloud.namespace, "-bn", bucket)
    cloud.cli("os", "object", "put", *there, "--name", "boot.qcow2", "--file", tiny["tiny"])
    share = cloud.cli("os", "preauth-request", "create", *there, "--name", "theirs", "--access-type", "ObjectRead", "--object-name", "boot.qcow2",
                      "--time-expires", "2100-01-01")
    make = "- ocne.images.ocne_image_convert: {src: /srv/images/boot.vmdk, src_format: vmdk, dest: /srv/images/boot.qcow2, format: qcow2}\n" \
           "- ocne.images.ocne_image_convert: {src: /srv/images/boot.qcow2, dest: /srv/images/boot-pca.oci, format: pca_archive, architecture: amd64}\n"
    play = in_the_cloud(make + examples("ocne_oci_image_import").replace("bucket: golden", f"bucket: {bucket}"),
                        address_of_the_object=cloud.about["endpoint"] + share["access-uri"])
    assert "failed=0" in play.text and share["access-uri"].split("/")[2] not in play.text
