# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The door to qemu-img: what it is asked, and what it says."""

from __future__ import annotations

import shutil

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.work.disk import headers
from ansible_collections.ocne.images.plugins.module_utils.work.disk.qemu_img import check, compare, info, measure
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.work.disk.disks import SIZE

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="qemu-img is not installed")


def test_names_that_look_like_protocols_and_options(make, tmp_path):
    path = make("qcow2", name="nbd:a,b=c json:{} %d")
    assert headers.read_header(str(path), "qcow2").virtual_size == SIZE
    assert info(str(path), "qcow2")["virtual-size"] == SIZE
    assert measure(str(path), "qcow2", "raw")[1] == SIZE


def test_corrupt_tables_are_found(make):
    path = make("qcow2")
    with open(path, "r+b") as file:
        file.seek(0x20000)   # the refcount block
        file.write(b"\0" * 65536)
    with pytest.raises(ImageError, match="corrupt"):
        check(str(path), "qcow2")


def test_a_difference_is_found(make, tmp_path):
    path = make("qcow2")
    with open(tmp_path / "content.raw", "r+b") as file:
        file.seek(50_000)
        file.write(b"other")
    with pytest.raises(ImageError, match="differs"):
        compare(str(path), "qcow2", str(tmp_path / "content.raw"), "raw")
