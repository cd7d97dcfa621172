# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The whole work on images in local folders, read by the real skopeo; no network."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import time

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.common.progress import silent
from ansible_collections.ocne.images.plugins.module_utils.work import boot_image
from ansible_collections.ocne.images.plugins.module_utils.work.job import Job
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.work.containers.images import Image, member, qcow2, tar

pytestmark = pytest.mark.skipif(not shutil.which("skopeo"), reason="skopeo is not installed")

PATH = "disk/boot.qcow2"
DISK = qcow2(filling=random.Random(7).randbytes(2_000_000))
#: nothing here may depend on the policy of the machine
ANYTHING = {"default": [{"type": "insecureAcceptAnything"}]}


@pytest.fixture
def work(tmp_path):
    """work(source, **options) -> Result; no process and no descriptor is left behind."""
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps(ANYTHING))

    def go(source, policy=policy, check=False, architecture="amd64", **options):
        staging = tmp_path / f"staging{len(os.listdir(tmp_path))}"
        staging.mkdir()
        before = os.listdir("/proc/self/fd")
        options = dict({"source": source, "architecture": architecture, "path": PATH, "format": "qcow2", "registry": {"policy": str(policy)},
                        "retries": 0, "known": []}, **options)
        try:
            return boot_image.run(Job("boot_image", options, str(staging), check), silent())
        finally:
            assert len(os.listdir("/proc/self/fd")) <= len(before)
            children = open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii").read()
            assert children == ""
    return go


def one(tmp_path, disk=DISK, **keywords):
    return Image(tmp_path / "image", [tar(member("disk/readme", b"x")), tar(member(PATH, disk))], **keywords)


def test_a_disk_and_what_is_told_of_it(work, tmp_path):
    image = one(tmp_path, labels={"org.opencontainers.image.version": "1.33"})
    result = work(f"dir:{image.folder}")
    artifact = result.artifacts[0]
    assert open(artifact.path, "rb").read() == DISK
    assert (artifact.size, artifact.sha256, artifact.virtual_size) == (len(DISK), hashlib.sha256(DISK).hexdigest(), 1 << 30)
    assert result.values == {"image_digest": image.digest, "manifest_digest": image.digest, "changed": True,
                             "layer_digest": image.manifest["layers"][1]["digest"], "labels": {"org.opencontainers.image.version": "1.33"}}


@pytest.mark.parametrize("packing", ["none", "zstd", "gzip-members"])
def test_packings_through_the_proxy(work, tmp_path, packing):
    if packing == "zstd" and not shutil.which("zstd"):
        pytest.skip("zstd is not installed")
    assert open(work(f"dir:{one(tmp_path, packing=packing).folder}").artifacts[0].path, "rb").read() == DISK


def test_what_is_known_is_not_pulled(work, tmp_path):
    image = one(tmp_path)
    for layer in image.manifest["layers"]:
        os.unlink(os.path.join(image.folder, layer["digest"].partition(":")[2]))
    result = work(f"dir:{image.folder}", known=["sha256:other", image.digest])
    assert not result.artifacts and result.values["changed"] is False


def test_check_mode_pulls_nothing(work, tmp_path):
    image = one(tmp_path)
    result = work(f"dir:{image.folder}", check=True)
    assert not result.artifacts and result.values == {"image_digest": image.digest, "changed": True}


def test_what_is_told_without_its_layers(work, tmp_path):
    image = one(tmp_path, labels={"a": "b"})
    for layer in image.manifest["layers"]:
        os.unlink(os.path.join(image.folder, layer["digest"].partition(":")[2]))
    told = work(f"dir:{image.folder}", check=True, describe=True).values
    # one of two layers has the disk
    assert told == {"image_digest": image.digest, "manifest_digest": image.digest, "changed": True, "layer_digest": None, "labels": {"a": "b"}}


def test_nothing_is_told_where_a_policy_must_see_it(work, tmp_path):
    policy = tmp_path / "strict.json"
    policy.write_text(json.dumps({"default": [{"type": "reject"}]}))
    with pytest.raises(ImageError, match="policy"):
        work(f"dir:{one(tmp_path).folder}", policy=policy, check=True, describe=True)


def layout(tmp_path, architectures):
    """An OCI layout with an index over one image per architecture, from `dir:` images."""
    path = tmp_path / "layout"
    for architecture in architectures:
        image = one(tmp_path / architecture, qcow2(filling=architecture.encode() * 100_000), architecture=architecture)
        subprocess.run(["skopeo", "--insecure-policy", "copy", "-q", f"dir:{image.folder}", f"oci:{path}:{architecture}"], check=True)
    index = json.loads((path / "index.json").read_text())
    entries = [dict(entry, platform={"os": "linux", "architecture": entry["annotations"]["org.opencontainers.image.ref.name"]})
               for entry in index["manifests"]]
    data = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries}).encode()
    digest = hashlib.sha256(data).hexdigest()
    (path / "blobs/sha256" / digest).write_bytes(data)
    index["manifests"] = [{"mediaType": "application/vnd.oci.image.index.v1+json", "digest": f"sha256:{digest}", "size": len(data),
                           "annotations": {"org.opencontainers.image.ref.name": "all"}}]
    (path / "index.json").write_text(json.dumps(index))
    return f"oci:{path}:all", "sha256:" + digest, {name: entry["digest"] for name, entry in zip(architectures, entries)}


def test_an_index_gives_each_architecture_its_disk(work, tmp_path):
    source, digest, manifests = layout(tmp_path, ["amd64", "arm64"])
    for architecture in ("amd64", "arm64"):
        result = work(source, architecture=architecture)
        assert architecture.encode() * 1000 in open(result.artifacts[0].path, "rb").read()
        assert (result.values["image_digest"], result.values["manifest_digest"]) == (digest, manifests[architecture])
    # another index around the same image is no reason to pull
    assert work(source, known=["sha256:another-index", manifests["amd64"]]).values["changed"] is False
    with pytest.raises(ImageError, match="not there for s390x, only for amd64, arm64"):
        work(source, architecture="s390x")


def test_a_single_image_of_another_architecture(work, tmp_path):
    with pytest.raises(ImageError, match="not there for amd64, only for arm64"):
        work(f"dir:{one(tmp_path, architecture='arm64').folder}")


@pytest.mark.parametrize("kind", ["oci-archive", "docker-archive"])
def test_archives(work, tmp_path, kind):
    path = tmp_path / "image.tar"
    name = ":x/y:z" if kind == "docker-archive" else ""
    subprocess.run(["skopeo", "--insecure-policy", "copy", "-q", f"dir:{one(tmp_path).folder}", f"{kind}:{path}{name}"], check=True)
    before = set(os.listdir("/var/tmp"))
    assert open(work(f"{kind}:{path}").artifacts[0].path, "rb").read() == DISK
    left = {name for name in set(os.listdir("/var/tmp")) - before if name.startswith(("oci", "docker", "container"))}
    deadline = time.monotonic() + 10
    while left.intersection(os.listdir("/var/tmp")):
        # another run of these tests, beside this one, removes its own
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


@pytest.mark.parametrize("requirement, allowed", [("reject", False), ("insecureAcceptAnything", True)])
def test_the_policy_is_obeyed(work, tmp_path, requirement, allowed):
    image, policy = one(tmp_path), tmp_path / "strict.json"
    policy.write_text(json.dumps({"default": [{"type": "reject"}], "transports": {"dir": {image.folder: [{"type": requirement}]}}}))
    if allowed:
        assert open(work(f"dir:{image.folder}", policy).artifacts[0].path, "rb").read() == DISK
    else:
        with pytest.raises(ImageError, match="rejected by the signature policy"):
            work(f"dir:{image.folder}", policy)


HOSTILE = {
    "backing file": qcow2(backing_offset=200, backing_size=10),
    "external data file": qcow2(incompatible=4),
    "absurd": qcow2(size=1 << 60),
    "not a qcow2 image": b"something else" * 100,
}


@pytest.mark.parametrize("words", HOSTILE)
def test_a_hostile_disk_is_refused(work, tmp_path, words):
    with pytest.raises(ImageError, match=words):
        work(f"dir:{one(tmp_path, HOSTILE[words]).folder}")


def test_a_blob_that_is_not_what_its_digest_says(work, tmp_path):
    image = one(tmp_path)
    image.spoil(1, image.layer(0))
    with pytest.raises(ImageError, match="digest|bytes"):
        work(f"dir:{image.folder}")


def test_a_truncated_blob(work, tmp_path):
    image = one(tmp_path)
    image.spoil(1, image.layer(1)[:1_000_000])
    with pytest.raises(ImageError):
        work(f"dir:{image.folder}")


def test_there_is_nothing(work, tmp_path):
    with pytest.raises(ImageError, match="there is nothing to read.*no such file.*check the path"):
        work(f"dir:{tmp_path}/nothing")


def test_a_missing_skopeo_is_one_sentence(work, tmp_path, monkeypatch):
    from ansible_collections.ocne.images.plugins.module_utils.common import process
    monkeypatch.setattr(process.shutil, "which", lambda *arguments, **keywords: None)
    with pytest.raises(ImageError, match="skopeo is not installed.*install the package skopeo"):
        work(f"dir:{one(tmp_path).folder}")
