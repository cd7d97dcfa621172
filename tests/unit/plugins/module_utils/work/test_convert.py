# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import collections
import json
import os
import shutil
import subprocess
import tarfile

import pytest

from ansible_collections.ocne.images.plugins.module_utils.artifact.source import HeldOpen
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.common.progress import silent
from ansible_collections.ocne.images.plugins.module_utils.files import digests
from ansible_collections.ocne.images.plugins.module_utils.work import convert
from ansible_collections.ocne.images.plugins.module_utils.work.disk import oci_archive
from ansible_collections.ocne.images.plugins.module_utils.work.job import Job

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="qemu-img is not installed")
SIZE = 8 << 20


@pytest.fixture
def src(tmp_path):
    raw = tmp_path / "content.raw"
    raw.write_bytes(os.urandom(200_000))
    os.truncate(raw, SIZE)
    path = tmp_path / "a,b:c.qcow2"
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, path], check=True)
    return path


@pytest.fixture
def staging(tmp_path):
    folder = tmp_path / "staging"
    folder.mkdir()
    return folder


def run(src, staging, check=False, **options):
    return convert.run(Job("convert", dict({"src": str(src), "src_format": "qcow2", "name": "disk.vmdk", "format": "vmdk"}, **options),
                           str(staging), check), silent())


def test_an_artifact_of_several_files(src, staging):
    made, = run(src, staging, subformat="monolithicFlat", verify=True).artifacts
    assert os.path.dirname(made.path) == str(staging)
    extent, = made.extents
    assert sorted(os.listdir(staging)) == sorted([os.path.basename(made.path), extent])
    assert extent in open(made.path, encoding="latin-1").read()
    assert extent.startswith("disk-") and extent != "disk-flat.vmdk"
    assert made.values["extents"][0]["sha256"] == digests.sparse_digest(os.path.join(staging, extent))


def test_names_of_extents_differ_with_the_recipe(src, tmp_path):
    names = set()
    for number, options in enumerate([{}, {"hwversion": 7}, {"name": "disk"}, {"name": 'odd "name"\n.vmdk'}, {"verify": True}]):
        folder = tmp_path / str(number)
        folder.mkdir()
        made, = run(src, folder, subformat="twoGbMaxExtentSparse", **options).artifacts
        names.update(made.extents)
    assert len(names) == 4   # verify does not decide the content


def test_the_sums_are_of_the_files(src, staging):
    result = run(src, staging, format="qcow2", compression="zlib")
    made, = result.artifacts
    assert made.sha256 == digests.sha256_file(made.path)[0]
    assert made.virtual_size == SIZE
    assert result.values["source_files"] == [{"name": src.name, "sha256": digests.sha256_file(src)[0], "stat": digests.stat_of(src)}]


def test_check_mode_writes_nothing(src, staging):
    result = run(src, staging, check=True)
    assert result.artifacts == [] and os.listdir(staging) == []
    assert result.values["virtual_size"] == SIZE


def test_a_difference_is_found(src, staging, tmp_path):
    other = tmp_path / "other.raw"
    other.write_bytes(b"x" * SIZE)
    with pytest.raises(ImageError, match="differs"):
        run(src, staging, format="raw", existing=str(other))
    run(src, staging, format="raw", existing=str(tmp_path / "content.raw"))


def test_a_source_that_changes_meanwhile(src, staging, monkeypatch):
    def touching(*arguments):
        os.utime(src)
    monkeypatch.setattr(convert, "_convert", touching)
    with pytest.raises(ImageError, match="changed while it was read"):
        run(src, staging)


def test_a_source_that_is_replaced_meanwhile(src, staging, tmp_path, monkeypatch):
    pinned, real = HeldOpen(str(src)), convert._convert
    first = digests.sha256_file(src)[0]

    def replacing(*arguments):
        other = tmp_path / "other.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", other, "1M"], check=True)
        os.replace(other, src)
        return real(*arguments)
    monkeypatch.setattr(convert, "_convert", replacing)
    result = run(src, staging, format="raw", read_path=pinned.read_path)
    assert result.artifacts[0].sha256 == digests.sparse_digest(tmp_path / "content.raw")
    known, = result.values["source_files"]
    assert (known["name"], known["sha256"]) == (src.name, first)


def test_a_source_that_is_written_to_meanwhile(src, staging, monkeypatch):
    pinned = HeldOpen(str(src))
    monkeypatch.setattr(convert, "_convert", lambda *arguments: os.utime(src))
    with pytest.raises(ImageError, match="changed while it was read") as caught:
        run(src, staging, read_path=pinned.read_path)
    assert caught.value.where == str(src)


def test_raw_that_looks_like_something_else_is_told(src, staging):
    result = run(src, staging, src_format="raw", format="qcow2")
    assert "starts like a qcow2" in result.values["warnings"][0]


# --- archives ------------------------------------------------------------------------------------------


METADATA = json.dumps({"version": 2, "operatingSystem": "Oracle Linux"})


def pack(src, staging, **options):
    return run(src, staging, **dict(dict(format="pca_archive", name="disk.oci", metadata=METADATA), **options))


def test_an_archive(src, staging):
    result = pack(src, staging, verify=True)
    made, = result.artifacts
    assert (made.format, made.virtual_size, made.extents) == ("pca_archive", SIZE, []) and (made.sha256, made.size) == digests.sha256_file(made.path)
    assert os.listdir(staging) == [os.path.basename(made.path)] and made.path.endswith(".oci")
    with tarfile.open(made.path, "r:gz") as archive:
        assert archive.extractfile("output.QCOW2").read() == src.read_bytes()
        assert archive.extractfile("image_metadata.json").read().decode() == METADATA
    assert result.values["source_files"] == [{"name": src.name, "sha256": digests.sha256_file(src)[0], "stat": digests.stat_of(src)}]


def test_an_archive_in_check_mode(src, staging):
    assert pack(src, staging, check=True).artifacts == [] and os.listdir(staging) == []


def test_an_archive_of_another_image_is_found(src, staging, tmp_path):
    made, = pack(src, staging).artifacts
    pack(src, staging, existing=made.path)
    # one bit of what no table names
    with open(src, "r+b") as file:
        file.seek(70_000)
        byte = file.read(1)[0]
        file.seek(70_000)
        file.write(bytes([byte ^ 1]))
    with pytest.raises(ImageError, match="^disk.oci: the image in it differs from the one it was made of; look for a faulty disk"):
        pack(src, staging, existing=made.path)


def test_an_archive_that_was_packed_wrongly_is_not_given_out(src, staging, monkeypatch):
    real = oci_archive.write

    def other(path, metadata, image, progress):
        with open(src, "r+b") as file:
            file.seek(70_000)
            file.write(b"changed")
        made = real(path, metadata, image, progress)
        with open(src, "r+b") as file:
            file.seek(70_000)
            file.write(b"another")
        return made
    monkeypatch.setattr(oci_archive, "write", other)
    with pytest.raises(ImageError, match="differs from the one it was made of"):
        pack(src, staging, verify=True)


@pytest.mark.parametrize("check", [True, False])
def test_zstd_is_not_packed(src, staging, tmp_path, check):
    dense = tmp_path / "zstd.qcow2"
    subprocess.run(["qemu-img", "convert", "-c", "-O", "qcow2", "-o", "compression_type=zstd", src, dense], check=True)
    with pytest.raises(ImageError, match=r"zstd.qcow2: its clusters are compressed with zstd.*format: qcow2, compression: none or zlib"):
        pack(dense, staging, check=check)
    assert os.listdir(staging) == []


def test_what_goes_to_a_pod():
    asked = {"src": "/a.qcow2", "src_format": "qcow2"}
    assert [item.path for item in convert.inputs(asked)] == ["/a.qcow2"]
    # what is to be compared is there as well, and each is read where it is there
    asked["existing"] = "/a.oci"
    for item in convert.inputs(asked):
        item.moved("/pod" + item.path)
    assert asked == {"src": "/a.qcow2", "src_format": "qcow2", "read_path": "/pod/a.qcow2", "existing": "/pod/a.oci"}


Space = collections.namedtuple("Space", "f_bavail f_frsize")


@pytest.mark.parametrize("free, options, fits", [
    (SIZE * 2 + (64 << 20), {}, True),
    (300_000, {}, False),
    (800_000, {}, True),
    (300_000, {"format": "raw"}, False),
    (150_000, {"format": "qcow2", "compression": "zstd"}, True),
    (150_000, {"subformat": "streamOptimized"}, True),
    (150_000, {"format": "pca_archive"}, True),
    (4096, {"format": "pca_archive"}, False),
    (4096, {"format": "qcow2", "compression": "zstd"}, False),
])
def test_room(src, staging, monkeypatch, free, options, fits):
    monkeypatch.setattr(os, "statvfs", lambda path: Space(free, 1))
    if fits:
        assert run(src, staging, check=True, **options)
    else:
        with pytest.raises(ImageError) as caught:
            run(src, staging, check=True, **options)
        assert caught.value.details["free_bytes"] == free < caught.value.details["needed_bytes"]


def test_missing_tool(src, staging, monkeypatch):
    monkeypatch.setattr(convert.qemu_img.process.shutil, "which", lambda *arguments, **keywords: None)
    with pytest.raises(ImageError, match="qemu-utils"):
        run(src, staging)
