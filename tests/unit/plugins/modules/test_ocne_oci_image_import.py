# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module in a process of its own, against the lab's endpoint: what it says, what it returns, and what it leaves behind when it is killed."""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import time

import pytest

from ansible_collections.ocne.images.plugins.module_utils.artifact.record import Record, write_record
from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle.launch_metadata import encoded, launch_metadata
from ansible_collections.ocne.images.plugins.module_utils.files.digests import sha256_file, stat_of
from ansible_collections.ocne.images.plugins.module_utils.work.disk import headers, oci_archive
from ansible_collections.ocne.images.plugins.modules import ocne_oci_image_import
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.builders.remote.agents import environment
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.clouds.conftest import options_for
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.targets import conftest as targets

pytest.importorskip("oci.core", reason="the SDK of Oracle's cloud (oci) is not installed")

no_bundle, endpoint, cloud, own_cloud, disk, no_variables = (
    targets.no_bundle, targets.endpoint, targets.cloud, targets.own_cloud, targets.disk, targets.no_variables)
state_home, file = targets.state_home, targets.file

START = """
import json, sys
from ansible.module_utils import basic
basic._ANSIBLE_ARGS, basic._ANSIBLE_PROFILE = sys.stdin.buffer.read(), "legacy"
from {module} import main
main()
"""


@pytest.fixture
def bucket(cloud):
    made = cloud.bucket()
    cloud.control.forget()
    return made


class Task:
    """A task with this module: its options, and runs of it."""

    def __init__(self, cloud, **options):
        self.options = {**options_for(cloud), "compartment": cloud.compartment, "architecture": "amd64", "wait_interval": 1, "retry_seconds": 20, **options}

    def start(self, **more):
        internal = {f"_ansible_{name}": more.pop(name) for name in ("check_mode", "diff") if name in more}
        options = {name: value for name, value in {**self.options, **more}.items() if value is not None}
        child = subprocess.Popen([sys.executable, "-c", START.format(module=ocne_oci_image_import.__name__)], env=environment(), stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        child.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": {**options, **internal}}).encode())
        child.stdin.close()
        return child

    def run(self, **more):
        """(what it says, all that it has written)"""
        with self.start(**more) as child:
            said, errors = child.stdout.read(), child.stderr.read()
        assert said.lstrip().startswith(b"{"), errors.decode()
        return json.loads(said), (said + errors).decode()

    def good(self, **more):
        answer, _text = self.run(**more)
        assert not answer.get("failed"), answer["msg"]
        return answer

    def bad(self, **more):
        answer, _text = self.run(**more)
        assert answer["failed"], answer
        return answer["msg"]


@pytest.fixture
def task(cloud, bucket, file):
    return Task(cloud, src=str(file), bucket=bucket)


def left(cloud, bucket):
    """What of an import is left in the cloud beside images."""
    told = cloud.control.left()
    return ([one for kind in ("objects", "uploads") for one in told[kind] if one.startswith(bucket + "/")]
            + cloud.storage.list_preauthenticated_requests(cloud.namespace, bucket).data)


def images_of(cloud, content):
    """The OCIDs of the images of a content, whatever their state."""
    found = cloud.compute.list_images(cloud.compartment).data + cloud.compute.list_images(cloud.compartment, lifecycle_state="DELETED").data
    return [image.id for image in found if image.freeform_tags.get("ocne-images/content") == content]


def only_reads(cloud):
    return all(name.split("_")[0] in ("list", "get", "head") for name in cloud.control.counters()["operations"])


# --- check, apply, again, change, force, remove ------------------------------------------------------


def test_the_life_of_an_image(task, cloud, bucket, file):
    cloud.control.set(page_size=1000)
    name = "n" + secrets.token_hex(4)
    would = task.good(check_mode=True, diff=True, display_name=name)
    assert (would["changed"], would["image_id"], would["reason"]) == (True, None, "there is no such image in the compartment")
    assert name in would["diff"]["after"] and only_reads(cloud) and not list(file.parent.glob(".*"))

    made = task.good(display_name=name, kubernetes_version="1.33", diff=True)
    assert made["changed"] and made["lifecycle_state"] == "AVAILABLE" and made["corrected"] == []
    assert made["content"] == sha256_file(str(file))[0] and made["uploaded"] == file.stat().st_size
    assert made["image"]["freeform_tags"]["ocne/kubernetes"] == "1.33"
    assert made["capability_schema"]["Compute.Firmware"] == {"values": ["UEFI_64"], "default": "UEFI_64"}
    assert '"UEFI_64"' in made["diff"]["after"] and name in made["diff"]["after"] and made["diff"]["before"] == ""
    assert left(cloud, bucket) == [] and not list(file.parent.glob(".*"))

    cloud.control.forget()
    again = task.good(display_name=name, kubernetes_version="1.33", diff=True)
    assert (again["changed"], again["image_id"], again["uploaded"]) == (False, made["image_id"], 0)
    assert again["diff"]["before"] == again["diff"]["after"] and only_reads(cloud)
    assert len(cloud.control.counters()["requests"]) <= 8

    changed = dict(display_name=name + "-2", kubernetes_version="1.34", remove_shapes=["VM.Standard2.1"], freeform_tags={"team": "a"})
    would = task.good(check_mode=True, diff=True, **changed)
    assert would["changed"] and would["corrected"] == ["image", "shapes"] and only_reads(cloud)
    assert name + "-2" in would["diff"]["after"] and name + "-2" not in would["diff"]["before"]
    now = task.good(**changed)
    assert now["changed"] and now["corrected"] == ["image", "shapes"] and now["image_id"] == made["image_id"]
    assert now["image"]["display_name"] == name + "-2" and now["image"]["freeform_tags"]["team"] == "a" and "VM.Standard2.1" not in now["shapes"]
    assert not task.good(**changed)["changed"]

    forced = task.good(force=True, **changed)
    assert forced["changed"] and forced["reason"] == "force is set" and forced["image_id"] != made["image_id"]

    gone = dict(state="absent", src=None, architecture=None, display_name=name + "-2")
    assert task.good(check_mode=True, keep=1, **gone)["removed"] == [made["image_id"]]
    assert task.good(keep=1, **gone)["removed"] == [made["image_id"]]
    assert not task.good(keep=1, **gone)["changed"]
    by_id = dict(gone, image_id=forced["image_id"], compartment=None, display_name=None)
    assert task.good(**by_id)["removed"] == [forced["image_id"]] and not task.good(**by_id)["changed"]


def test_known_by_its_record(task, cloud, file):
    record = Record("ocne_image_customize", {"sha256": secrets.token_hex(32)}, {}, sha256_file(str(file))[0], "qcow2", 8 << 20, {}, stat_of(str(file)))
    write_record(str(file), record)
    made = task.good()
    assert made["image"]["freeform_tags"]["ocne-images/recipe"] == record.recipe
    copy = file.with_name("copy.qcow2")
    shutil.copy(file, copy)
    other = task.good(src=str(copy))
    assert other["image_id"] != made["image_id"] or not other["changed"]
    assert not task.good()["changed"]


def test_a_vmdk(task, cloud, bucket, disk, tmp_path):
    path = tmp_path / "boot.vmdk"
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "vmdk", "-o", "subformat=streamOptimized", str(disk), str(path)], check=True)
    made = task.good(src=str(path), src_format="vmdk", display_name="n" + secrets.token_hex(4))
    assert made["lifecycle_state"] == "AVAILABLE" and left(cloud, bucket) == []


def test_an_archive(task, cloud, bucket, disk, tmp_path):
    """It says its shapes and capabilities by itself, so none of ours are set."""
    path, name = tmp_path / "boot.oci", "n" + secrets.token_hex(4)
    oci_archive.write(str(path), encoded(launch_metadata("pca", "amd64", "Oracle Linux", "8")), headers.read_header(str(disk), "qcow2"))
    made = task.good(src=str(path), src_format="pca_archive", display_name=name)
    assert made["lifecycle_state"] == "AVAILABLE" and left(cloud, bucket) == []
    assert "capability_schema" not in made and "shapes" not in made
    assert not task.good(src=str(path), src_format="pca_archive", display_name=name)["changed"]
    path.write_bytes(path.read_bytes()[:1000])
    assert "boot.oci" in task.bad(src=str(path), src_format="pca_archive", display_name=name)


def test_not_waited_for(task, cloud, bucket, file):
    cloud.control.set(import_seconds=120)
    begun = task.good(wait=False)
    assert begun["changed"] and begun["lifecycle_state"] in ("PROVISIONING", "IMPORTING") and begun["work_request_id"]
    assert "shapes" not in begun and len(left(cloud, bucket)) == 1
    same = task.good(wait=False)
    assert (same["changed"], same["image_id"]) == (False, begun["image_id"])
    cloud.control.set(import_seconds=0.1)
    there = task.good()
    assert there["changed"] and there["image_id"] == begun["image_id"] and there["lifecycle_state"] == "AVAILABLE"
    assert left(cloud, bucket) == [] and not task.good()["changed"]


def test_an_object_of_somebody(task, cloud, bucket, disk):
    with open(disk, "rb") as data:
        cloud.storage.put_object(cloud.namespace, bucket, "golden", data)
    named = dict(src=None, object={"bucket": bucket, "name": "golden"}, display_name="n" + secrets.token_hex(4))
    made = task.good(**named)
    assert made["changed"] and made["content"] is None and "ocne-images/source" in made["image"]["freeform_tags"]
    assert not task.good(**named)["changed"] and left(cloud, bucket) == [f"{bucket}/golden"]


def test_an_address_is_kept_secret(task, cloud, bucket, disk):
    with open(disk, "rb") as data:
        cloud.storage.put_object(cloud.namespace, bucket, "golden", data)
    uri = cloud.par(bucket, "ObjectRead", "golden").access_uri
    answer, text = task.run(src=None, url=cloud.about["endpoint"] + uri, display_name="n" + secrets.token_hex(4))
    assert answer["changed"] and answer["lifecycle_state"] == "AVAILABLE"
    # what invocation tells of is what Ansible hides
    assert uri.split("/")[2] not in text


# --- bad input: one sentence, and nothing is left ----------------------------------------------------


def profile(cloud, tmp_path, **words):
    """A configuration file like the lab's own, but for some words of its profile DEFAULT."""
    import configparser
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(cloud.about["config"])
    for word, value in words.items():
        parser["DEFAULT"][word] = value
    with open(tmp_path / "config", "w", encoding="utf-8") as out:
        parser.write(out)
    return str(tmp_path / "config")


def test_credentials_that_are_wrong(task, cloud, bucket, tmp_path):
    other = "00:" * 15 + "00"
    assert "the key file does not exist; check key_file" in task.bad(config_file_location=profile(cloud, tmp_path, key_file=str(tmp_path / "none.pem")))
    assert "is not that of the key" in task.bad(config_file_location=profile(cloud, tmp_path, fingerprint=other))
    stranger = profile(cloud, tmp_path, user="ocid1.user.oc1..aaaaaaaastranger")
    assert "the cloud does not accept the credentials; check api_user" in task.bad(config_file_location=stranger)
    assert left(cloud, bucket) == []


@pytest.mark.parametrize("options, words", [
    ({"compartment": "nowhere/to/be"}, "there is no compartment nowhere in the tenancy; there is"),
    ({"bucket": "no-such-bucket"}, "no-such-bucket: there is no such bucket in the region"),
    ({"src_format": "vmdk"}, "it is not a vmdk image, it looks like qcow2; state its format (qcow2) in the task."),
    ({"src": "/nowhere/boot.qcow2"}, "/nowhere/boot.qcow2: the source image does not exist; check the path"),
    ({"architecture": "aarch64", "launch_mode": "NATIVE"}, "an Arm image cannot have launch_mode NATIVE; set launch_mode to PARAVIRTUALIZED"),
    ({"display_name": ""}, "has 1 to 255 characters"),
    ({"freeform_tags": {"a b": "1"}}, "the key of a freeform tag cannot be 'a b'"),
    ({"add_shapes": ["A"], "remove_shapes": ["A"]}, "shape A is both to be added and to be removed"),
    ({"image_id": "ocid1.image.x"}, "image_id is for removing an image; leave it out, or set state: absent."),
    ({"src": None}, "any of the following are missing: src, object, url"),
    ({"parallel_uploads": 0}, "parallel_uploads"), ({"part_size": -1}, "part_size"), ({"adopt_after": -1}, "adopt_after"),
    ({"wait_interval": 0}, "wait_interval"), ({"keep": -1, "state": "absent"}, "keep is -1"),
    ({"service_endpoints": dict.fromkeys(("object_storage", "compute", "work_requests", "identity"), "https://127.0.0.1:9")},
     "refuses connections; check region, service_endpoints, proxy and the network"),
])
def test_what_cannot_be_done_is_one_sentence(task, cloud, bucket, file, options, words):
    told = task.bad(**{"retry_seconds": 1, **options})
    assert words in told and "\n" not in told and "Traceback" not in told
    assert left(cloud, bucket) == [] and not list(file.parent.glob(".*"))


@pytest.mark.parametrize("convert, words", [
    (["-f", "qcow2", "-O", "qcow2", "-c", "-o", "compression_type=zstd"], "zstd, which the cloud may not read; make one with zlib: ocne_image_convert"),
    (["-f", "qcow2", "-O", "vmdk", "-o", "subformat=monolithicFlat"], "monolithicFlat VMDK, and the cloud imports monolithicSparse and streamOptimized only"),
])
def test_a_format_that_the_cloud_does_not_import(task, cloud, disk, tmp_path, convert, words):
    path = tmp_path / "image"
    subprocess.run(["qemu-img", "convert", *convert, str(disk), str(path)], check=True)
    assert words in task.bad(src=str(path), src_format="vmdk" if "vmdk" in convert else "qcow2")
    assert not set(cloud.control.counters()["operations"]) & {"create_multipart_upload", "create_image"}


def test_a_backing_file(task, disk, tmp_path):
    path = tmp_path / "overlay"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(disk), "-F", "qcow2", str(path)], check=True)
    assert "it has a backing file, so it is not a whole image; flatten it first (ocne_image_convert" in task.bad(src=str(path))


def test_a_limit_of_the_service(task, cloud, bucket, file):
    cloud.control.set(image_limit=0)
    assert "a limit of the service is reached" in task.bad()
    assert left(cloud, bucket) == [] and not list(file.parent.glob(".*"))


# --- stopped and killed ------------------------------------------------------------------------------


def test_stopped_by_ctrl_c(task, cloud, bucket):
    cloud.control.set(import_seconds=20)
    with task.start() as child:
        while "create_image" not in cloud.control.counters()["operations"]:
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        answer = json.loads(child.stdout.read())
    assert answer["msg"].startswith("stopped: received SIGINT")
    cloud.control.set(import_seconds=0.1)
    content = sha256_file(task.options["src"])[0]
    there = task.good()
    assert there["changed"] and images_of(cloud, content) == [there["image_id"]] and left(cloud, bucket) == []


def test_killed_at_any_moment(task, cloud, bucket, file):
    """Five runs are killed with -9 at moments that are spread over the whole of it; then one converges."""
    with open(file, "ab") as more:
        more.write(secrets.token_bytes(6 << 20))
    content, options = sha256_file(str(file))[0], dict(part_size=256 << 10, parallel_uploads=2)
    cloud.control.set(import_seconds=3, rate=1 << 20)
    chance = random.Random(5)
    for _number in range(5):
        child = task.start(**options)
        time.sleep(chance.uniform(1.5, 8))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        with child:
            child.stdout.read()
    there = task.good(**options)
    assert images_of(cloud, content) == [there["image_id"]]
    assert left(cloud, bucket) == [] and not list(file.parent.glob(".*"))
    # one that was whole when its run was killed, but not answered yet, may come again: at most as many as there are connections, for each kill
    sent_again = sum(times - 1 for parts in cloud.control.counters()["parts"].values() for times in parts.values())
    assert sent_again <= 2 * 5 and len(cloud.control.counters()["parts"]) == 1
    assert not task.good(**options)["changed"]
