# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One file out of layers: which layer counts, what is verified, and what a hostile image cannot do."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import tarfile

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.common.progress import Progress, silent
from ansible_collections.ocne.images.plugins.module_utils.work.containers import layers as module
from ansible_collections.ocne.images.plugins.module_utils.work.containers.image_folder import ImageFolder
from ansible_collections.ocne.images.plugins.module_utils.work.containers.layers import Extraction
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.work.containers.images import NEEDS_ZSTD, NOISE, Image, member, tar

PATH = "disk/boot.qcow2"
DISK = NOISE
OLDER = b"older" * 1000
PACKINGS = ["none", "gzip", "gzip-members", pytest.param("zstd", marks=NEEDS_ZSTD)]


@pytest.fixture
def extract(tmp_path):
    """extract(Image or layers, ...) -> (Extraction, bytes of the file); the staging folder never holds anything else."""
    staging = tmp_path / "staging"
    staging.mkdir()

    def go(image, path=PATH, progress=None, **keywords):
        if not isinstance(image, Image):
            image = Image(tmp_path / "image", image, **keywords)
        folder = ImageFolder(image.folder)
        manifest, config = folder.manifest()[1], folder.config()
        before = sorted(os.listdir(tmp_path))
        extraction = Extraction(folder, manifest, config, path, str(staging / "disk"), "the image", progress or silent())
        try:
            extraction.extract()
        finally:
            assert set(os.listdir(staging)) <= {"disk"}
            assert sorted(os.listdir(tmp_path)) == before
        content = (staging / "disk").read_bytes()
        assert (extraction.size, extraction.sha256) == (len(content), hashlib.sha256(content).hexdigest())
        return extraction, content
    return go


def disk(data=DISK, name=PATH, **fields):
    return member(name, data, **fields)


def folder(name):
    return member(name, kind=tarfile.DIRTYPE)


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_layer_of_any_packing(extract, packing):
    extraction, content = extract([tar(folder("disk"), disk(), member("disk/readme", b"x"))], packing=packing)
    assert content == DISK
    assert extraction.layer_digest.startswith("sha256:")


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("name", [PATH, "./" + PATH, "/" + PATH, "disk//boot.qcow2"])
def test_a_name_in_any_spelling(extract, name, form):
    assert extract([tar(disk(name=name), form=form)])[1] == DISK


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_a_long_name(extract, form):
    path = "/".join(["disk"] * 40) + "/böot.qcow2"
    assert extract([tar(disk(name=path), disk(OLDER), form=form)], path)[1] == DISK


def test_an_empty_file_and_one_that_comes_twice(extract):
    assert extract([tar(disk(), disk(b""))])[1] == b""


def test_the_upper_layer_wins(extract):
    image = [tar(disk(OLDER)), tar(disk()), tar(member("etc/os-release", b"x"))]
    extraction, content = extract(image)
    assert content == DISK


def test_layers_below_the_answer_are_not_read(extract, tmp_path):
    image = Image(tmp_path / "image", [tar(disk(OLDER)), tar(disk())])
    image.spoil(0, b"nobody looks here")
    assert extract(image)[1] == DISK


@pytest.mark.parametrize("name", ["disk/.wh.boot.qcow2", ".wh.disk", "disk/.wh..wh..opq", ".wh..wh..opq", "./disk/.wh.boot.qcow2"])
def test_whiteouts_hide_what_is_below(extract, name):
    with pytest.raises(ImageError, match="an upper layer removed it"):
        extract([tar(disk()), tar(member(name)), tar(member("other"))])


@pytest.mark.parametrize("name", ["disk/.wh.other", "disk/.wh.boot", ".wh.disks", "disks/.wh..wh..opq", ".wh.boot.qcow2"])
def test_other_whiteouts_do_not(extract, name):
    assert extract([tar(disk()), tar(member(name))])[1] == DISK


def test_a_whiteout_does_not_hide_its_own_layer(extract):
    assert extract([tar(disk(OLDER)), tar(folder("disk"), disk(), member("disk/.wh..wh..opq"))])[1] == DISK


def test_the_file_is_not_there(extract):
    with pytest.raises(ImageError, match=r"it has no disk/boot.qcow2; is it a boot media image"):
        extract([tar(member("disk/boot.raw", b"x"))])


def test_progress_counts_packed_bytes(extract, tmp_path):
    events = []
    image = Image(tmp_path / "image", [tar(disk())])
    extract(image, progress=Progress(events.append, interval=0))
    assert events[-1]["done"] == events[-1]["total"] == len(image.layer(0))


# --- hostile ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../" + PATH, "x/../" + PATH, "../../../../tmp/" + PATH, "disk/../../" + PATH])
def test_a_name_that_leaves_the_root_is_nobody(extract, name):
    with pytest.raises(ImageError, match="it has no disk/boot.qcow2"):
        extract([tar(disk(name=name))])


def test_a_path_option_that_leaves_the_root_is_refused(extract):
    with pytest.raises(ImageError, match="not one of a file"):
        extract([tar(disk())], "../etc/passwd")


@pytest.mark.parametrize("kind, words", [
    (tarfile.SYMTYPE, "symbolic link"), (tarfile.LNKTYPE, "hard link"), (tarfile.CHRTYPE, "device"), (tarfile.BLKTYPE, "device"),
    (tarfile.FIFOTYPE, "device"), (tarfile.DIRTYPE, "folder"), (tarfile.GNUTYPE_SPARSE, "sparse file"), (b"V", "special file")])
def test_only_a_plain_file_is_taken(extract, kind, words):
    with pytest.raises(ImageError, match=f"not a plain file but a {words}"):
        extract([tar(disk(), member("target", DISK), member(PATH, kind=kind, link="/etc/passwd"))])


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.REGTYPE, tarfile.LNKTYPE])
def test_a_parent_that_is_no_folder(extract, kind):
    with pytest.raises(ImageError, match="disk in the image is not a folder"):
        extract([tar(disk()), tar(member("disk", kind=kind, link="/etc"))])


def test_pax_sparse_is_refused(extract):
    with pytest.raises(ImageError, match="sparse file"):
        extract([tar(disk(pax_headers={"GNU.sparse.major": "1", "GNU.sparse.name": PATH}))])


def test_a_header_that_says_an_absurd_size(extract):
    info, _data = disk()
    info.size = 2 << 40
    with pytest.raises(ImageError, match="absurd"):
        extract([tar((info, b"x" * 512), form=tarfile.GNU_FORMAT)])


def test_a_size_that_the_disk_does_not_have(extract, tmp_path):
    status = os.statvfs(tmp_path)
    info, _data = disk()
    info.size = min(module.MAX_FILE, status.f_bavail * status.f_frsize * 2 + (1 << 30))
    if info.size == module.MAX_FILE:
        pytest.skip("this disk has room for anything")
    with pytest.raises(ImageError, match="are free; free some space"):
        extract([tar((info, b"x" * 512), form=tarfile.GNU_FORMAT)])


def test_a_bomb_beside_the_disk(extract, monkeypatch):
    monkeypatch.setattr(module, "MAX_OTHERS", 1 << 20)
    with pytest.raises(ImageError, match="beside the disk"):
        extract([tar(member("zeros", bytes(2 << 20)), disk())])


def test_many_members_are_a_bomb_too(extract, monkeypatch):
    monkeypatch.setattr(module, "MAX_OTHERS", 100 << 10)
    with pytest.raises(ImageError, match="beside the disk"):
        extract([tar(*(member(f"f{number}") for number in range(300)), disk())])


def test_a_layer_that_is_not_what_its_digest_says(extract, tmp_path):
    image = Image(tmp_path / "image", [tar(disk())])
    image.spoil(0, gzip.compress(tar(disk(OLDER))))
    with pytest.raises(ImageError, match="not what its digest says"):
        extract(image)


def test_content_that_is_not_what_the_configuration_says(extract):
    with pytest.raises(ImageError, match="content of a layer is not what"):
        extract([tar(disk())], diff_ids=["sha256:" + "0" * 64])


def test_what_follows_the_archive_counts_for_its_digest(extract):
    assert extract([tar(disk()) + b"padding" * 100])[1] == DISK


def test_manifest_and_configuration_of_different_images(extract):
    with pytest.raises(ImageError, match="1 layers and its configuration 2"):
        extract([tar(disk())], diff_ids=["sha256:" + "0" * 64] * 2)


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("keep", [0, 1, 700, -1, -30])
def test_a_truncated_blob(extract, tmp_path, packing, keep):
    image = Image(tmp_path / "image", [tar(disk())], packing)
    image.spoil(0, image.layer(0)[:keep])
    with pytest.raises(ImageError):
        extract(image)


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_damaged_blob(extract, tmp_path, packing):
    image = Image(tmp_path / "image", [tar(disk())], packing)
    data = bytearray(image.layer(0))
    data[len(data) // 2] ^= 0x55
    image.spoil(0, bytes(data))
    with pytest.raises(ImageError):
        extract(image)


GARBAGE = {
    "gzip magic only": b"\x1f\x8b" + NOISE[:5000],
    "gzip with a spoilt end": gzip.compress(NOISE)[:-200] + b"y" * 200,
    "gzip with something behind": gzip.compress(b"") + b"trailing garbage",
    "zstd magic only": b"\x28\xb5\x2f\xfd" + NOISE[:5000],
    "noise": NOISE[:5000],
    "half a gzip magic": b"\x1f",
    "half a zstd magic": b"\x28\xb5\x2f",
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_for_a_layer(extract, tmp_path, name):
    if name.startswith("zstd") and not shutil.which("zstd"):
        pytest.skip("zstd is not installed")
    image = Image(tmp_path / "image", [tar(disk())])
    image.manifest["layers"] = [dict(image.blob(GARBAGE[name]), mediaType="application/vnd.oci.image.layer.v1.tar+gzip")]
    image.write_manifest()
    with pytest.raises(ImageError, match="not (a )?sound"):
        extract(image)


def test_an_encrypted_layer(extract, tmp_path):
    image = Image(tmp_path / "image", [tar(disk())])
    image.manifest["layers"][0]["mediaType"] += "+encrypted"
    image.write_manifest()
    with pytest.raises(ImageError, match="encrypted"):
        extract(image)
