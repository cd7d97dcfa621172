# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is refused of a foreign image, on real small images that qemu-img made and that were then bent."""

from __future__ import annotations

import dataclasses
import os
import shutil
import struct

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.work.disk import headers
from ansible_collections.ocne.images.plugins.module_utils.work.disk.qemu_img import check, compare, info
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.work.disk.disks import SIZE, VARIANTS, bend, qemu_img

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="qemu-img is not installed")


def refused(path, kind="qcow2", **keywords):
    with pytest.raises(ImageError) as caught:
        headers.read_header(str(path), kind, **keywords)
    assert str(path) in str(caught.value)
    return caught.value.what


@pytest.mark.parametrize("kind, options", VARIANTS)
def test_what_qemu_img_makes_is_accepted(make, kind, options):
    path = make(kind, options)
    facts = headers.read_header(str(path), kind)
    assert facts.virtual_size == SIZE == info(str(path), kind)["virtual-size"]
    assert facts.subformat in (None, "dynamic", "fixed") or f"subformat={facts.subformat}" in options
    assert facts.full_length == (kind == "raw" or any(word in options for word in ("Flat", "fixed", "static")))
    check(str(path), kind)
    compare(str(path), kind, str(path.parent / "content.raw"), "raw")


@pytest.mark.parametrize("kind, options", VARIANTS)
def test_a_cut_image_is_refused_or_read_to_its_end(make, kind, options):
    """Cut anywhere in its headers, no image makes read_header() fail in another way than with an ImageError."""
    path = make(kind, options)
    whole = path.read_bytes()
    for length in (1, 4, 60, 71, 80, 103, 511, 512, 513, 1023, 65536, 196608 + 100):
        path.write_bytes(whole[:length])
        try:
            headers.read_header(str(path), kind)
        except ImageError:
            pass


@pytest.mark.parametrize("options", [options for kind, options in VARIANTS if kind == "qcow2"] + ["cluster_size=2M"])
def test_the_start_of_a_qcow2_says_as_much_as_the_file(make, options):
    path = make("qcow2", options)
    whole, found = path.read_bytes(), headers.read_header(str(path), "qcow2")
    started = headers.read_start(whole[:headers.START], len(whole), "the member")
    assert (started.path, started.where, started.allocated_size) == ("the member", "the member", len(whole))
    assert dataclasses.replace(started, path=found.path, where=found.where, allocated_size=found.allocated_size) == found
    for length in (0, 1, 60, 71, 80, 103, 511):
        with pytest.raises(ImageError, match="^the member: "):
            headers.read_start(whole[:length], length, "the member")


def test_the_start_of_what_must_not_be_opened(make, tmp_path):
    path = make("qcow2")
    qemu_img("create", "-f", "qcow2", "-b", path, "-F", "qcow2", tmp_path / "overlay.qcow2")
    for name, says in ((tmp_path / "overlay.qcow2", "it has a backing file"), (make("vmdk", name="other"), "it is not a qcow2 image, it looks like vmdk")):
        data = name.read_bytes()
        with pytest.raises(ImageError, match=says):
            headers.read_start(data[:headers.START], len(data), "the member")


@pytest.mark.parametrize("stated, made", [("qcow2", "vmdk"), ("vmdk", "qcow2"), ("vdi", "vhdx"), ("vhdx", "vdi"), ("vpc", "raw")])
def test_another_format_than_stated(make, stated, made):
    assert f"it is not a {stated} image" in refused(make(made), stated)


def test_raw_that_looks_like_another_format_is_read_as_raw(make):
    assert headers.read_header(str(make("qcow2")), "raw").looks_like == "qcow2"
    assert headers.read_header(str(make("raw")), "raw").looks_like is None


def test_text_is_no_image(tmp_path):
    path = tmp_path / "x"
    path.write_text("<html>not found</html>")
    for kind in ("qcow2", "vmdk", "vdi", "vhdx", "vpc"):
        assert "it is not a" in refused(path, kind)


def test_not_a_regular_file(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path):
        with pytest.raises(ImageError):
            headers.read_header(str(path), "raw")
    with pytest.raises(ImageError, match="absolute"):
        headers.read_header("nbd:localhost:10809", "raw")
    with pytest.raises(ImageError, match="absolute"):
        info("json:{}", "raw")


# --- qcow2 -----------------------------------------------------------------------------------------------


def test_backing_file(make, tmp_path):
    make("qcow2")
    path = tmp_path / "overlay.qcow2"
    qemu_img("create", "-f", "qcow2", "-b", "disk.qcow2", "-F", "qcow2", path, cwd=tmp_path)
    assert "backing file" in refused(path)
    facts = headers.read_header(str(path), "qcow2", allow_backing=True)
    assert facts.backing_file == "disk.qcow2"


def test_backing_file_without_a_name(make):
    path = make("qcow2")
    bend(path, 8, ">QI", 0, 7)
    assert "backing file" in refused(path)


def test_external_data_file(tmp_path):
    path = tmp_path / "data.qcow2"
    qemu_img("create", "-f", "qcow2", "-o", f"data_file={tmp_path / 'outside.raw'}", path, "1M")
    assert "external data file" in refused(path)


@pytest.mark.parametrize("offset, layout, value, says", [
    (4, ">I", 4, "version"),
    (20, ">I", 40, "cluster size"),
    (20, ">I", 8, "cluster size"),
    (24, ">Q", 0, "absurd"),
    (24, ">Q", 1 << 45, "absurd"),
    (24, ">Q", (1 << 64) - 512, "absurd"),
    (24, ">Q", 1 << 40, "L1 table"),
    (32, ">I", 1, "encrypted"),
    (32, ">I", 2, "encrypted"),
    (36, ">I", 0, "L1 table"),
    (36, ">I", 0xffffffff, "L1 table"),
    (40, ">Q", 77, "L1 table is not inside"),
    (40, ">Q", 1 << 40, "L1 table is not inside"),
    (48, ">Q", 0, "refcount table is not inside"),
    (56, ">I", 0xffffffff, "absurdly large"),
    (60, ">I", 1 << 20, "absurdly large"),
    (72, ">Q", 2, "marked as corrupt"),
    (72, ">Q", 1 << 5, "unknown features"),
    (72, ">Q", 1 << 63, "unknown features"),
    (96, ">I", 7, "malformed"),
    (100, ">I", 8, "malformed"),
    (100, ">I", 1 << 20, "malformed"),
    (104, ">B", 1, "compression type"),
    (104, ">B", 9, "compression type"),
    (112, ">II", 0x6803f857, "header extension"),
])
def test_bent_qcow2(make, offset, layout, value, says):
    path = make("qcow2")
    bend(path, offset, layout, *([value, 1 << 30] if layout == ">II" else [value]))
    assert says in refused(path)


def test_dirty_is_told(make):
    path = make("qcow2")
    assert not headers.read_header(str(path), "qcow2").dirty
    bend(path, 72, ">Q", 1)
    assert headers.read_header(str(path), "qcow2").dirty


# --- the others ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["/etc/shadow", "../disk.vmdk", "a/b", "nbd:localhost:1", "..", "json:{}", "a\\b", ""])
def test_vmdk_extent_elsewhere(make, tmp_path, name):
    path = make("vmdk", "subformat=monolithicFlat")
    path.write_text(path.read_text().replace("disk-flat.vmdk", name))
    assert "not a file beside it" in refused(path, "vmdk")


def test_vmdk_extent_that_is_a_link(make, tmp_path):
    path = make("vmdk", "subformat=monolithicFlat")
    (tmp_path / "disk-flat.vmdk").unlink()
    (tmp_path / "disk-flat.vmdk").symlink_to("/etc/passwd")
    assert "is a link" in refused(path, "vmdk")


def test_vmdk_extent_that_is_missing(make, tmp_path):
    path = make("vmdk", "subformat=monolithicFlat")
    (tmp_path / "disk-flat.vmdk").unlink()
    assert "no such file" in refused(path, "vmdk")


@pytest.mark.parametrize("old, new, says", [
    ("RW 6144 FLAT", "RW 99999999999999 FLAT", "absurd"),
    ("RW 6144 FLAT", "RW -6144 FLAT", "absurd"),
    ("RW 6144 FLAT", "RDONLY 6144 FLAT", "unsupported kind"),
    ("RW 6144 FLAT", "RW 6144 SESPARSE", "unsupported kind"),
    ("RW 6144 FLAT", "RW many FLAT", "malformed"),
    ("CID=", "parentFileNameHint=\"/etc/shadow\"\nCID=", "parent image"),
])
def test_bent_vmdk_descriptor(make, old, new, says):
    path = make("vmdk", "subformat=monolithicFlat")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    assert says in refused(path, "vmdk")


@pytest.mark.parametrize("subformat", ["monolithicSparse", "streamOptimized"])
def test_vmdk_with_a_parent(make, tmp_path, subformat):
    path = make("vmdk", f"subformat={subformat}")
    data = bytearray(path.read_bytes())
    place = data.index(b"# Extent description")
    data[place:place + 34] = b'\nparentFileNameHint="/etc/passwd"\n'
    path.write_bytes(data)
    assert "parent image" in refused(path, "vmdk")


def test_sparse_vmdk_whose_header_leads_to_a_descriptor(make):
    path = make("vmdk", "subformat=monolithicSparse")
    bend(path, 12, "<Q", 0)   # capacity: QEMU would open the extents that the descriptor names
    assert "no capacity" in refused(path, "vmdk")


def test_extent_whose_header_leads_to_a_descriptor(make, tmp_path):
    path = make("vmdk", "subformat=twoGbMaxExtentSparse")
    bend(tmp_path / "disk-s001.vmdk", 12, "<Q", 0)
    assert "further files" in refused(path, "vmdk")


@pytest.mark.parametrize("offset, layout, value, says", [
    (12, "<Q", 1 << 60, "absurd"),
    (20, "<Q", 0, "grains"),
    (44, "<I", 100000, "grains"),
])
def test_bent_sparse_vmdk(make, offset, layout, value, says):
    path = make("vmdk", "subformat=monolithicSparse")
    bend(path, offset, layout, value)
    assert says in refused(path, "vmdk")


@pytest.mark.parametrize("offset, layout, value, says", [
    (76, "<I", 4, "difference"), (440, "<Q", 1, "difference"), (368, "<Q", 1 << 50, "absurd"), (376, "<I", 512, "blocks"), (68, "<I", 9, "version"),
])
def test_bent_vdi(make, offset, layout, value, says):
    path = make("vdi")
    bend(path, offset, layout, value)
    assert says in refused(path, "vdi")


def test_vhdx_with_a_parent(make):
    path = make("vhdx")
    data = path.read_bytes()
    base = data.index(b"metadata")
    # file parameters: block size, then flags, whose second bit says that there is a parent
    place = base + (64 << 10)
    assert struct.unpack_from("<II", data, place)[1] & 2 == 0
    bend(path, place + 4, "<I", 2)
    assert "difference" in refused(path, "vhdx")


@pytest.mark.parametrize("offset, says", [(192 << 10, "region table"), ((192 << 10) + 8, "region table")])
def test_bent_vhdx(make, offset, says):
    path = make("vhdx")
    bend(path, offset, "<I", 0xffffffff)
    assert says in refused(path, "vhdx")


@pytest.mark.parametrize("offset, layout, value, says", [(60, ">I", 4, "difference"), (48, ">Q", 1 << 50, "absurd"), (512 + 40, ">Q", 1, "parent"),
                                                         (512 + 32, ">I", 3, "blocks"), (16, ">Q", 1 << 40, "cut off")])
def test_bent_vhd(make, offset, layout, value, says):
    path = make("vpc")
    bend(path, offset, layout, value)
    assert says in refused(path, "vpc")
