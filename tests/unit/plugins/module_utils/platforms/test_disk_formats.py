# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The table of disk formats, and those who must know each of them."""

from __future__ import annotations

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.platforms import disk_formats
from ansible_collections.ocne.images.plugins.module_utils.platforms.disk_formats import FORMATS
from ansible_collections.ocne.images.plugins.module_utils.work.disk import headers
from ansible_collections.ocne.images.plugins.modules import ocne_image_convert

ASKED = {"src_format": "qcow2", "compression": "none", "subformat": None, "adapter_type": None, "hwversion": None}


@pytest.mark.parametrize("name", FORMATS)
def test_every_row_is_sound(name):
    row = FORMATS[name]
    assert row.suffix.startswith(".") and disk_formats.SUFFIXES.count(row.suffix) == 1
    assert set(row.several_files) | set(row.self_compressed) <= set(row.subformats)
    assert row.default_adapter in (row.adapters or [None])
    assert not row.self_compressed or not row.compressions


def test_every_format_can_be_read():
    assert set(headers._READERS) == set(FORMATS)


def test_what_goes_together():
    assert disk_formats.checked("raw") is FORMATS["raw"]
    assert disk_formats.checked("vmdk", "streamOptimized").default_subformat == "monolithicSparse"
    with pytest.raises(ImageError, match="no disk format 'qed'; use one of qcow2, raw"):
        disk_formats.checked("qed")
    with pytest.raises(ImageError, match="subformat fixed does not go with format vmdk; use one of monolithicSparse, "):
        disk_formats.checked("vmdk", "fixed")
    with pytest.raises(ImageError, match="subformat fixed does not go with format raw; leave subformat out"):
        disk_formats.checked("raw", "fixed")


@pytest.mark.parametrize("name, subformat, adapter", [
    ("qcow2", None, None), ("raw", None, None), ("vmdk", "monolithicSparse", "lsilogic"), ("vdi", None, None),
    ("vhdx", "dynamic", None), ("vpc", "dynamic", None),
])
def test_what_a_conversion_takes_by_default(name, subformat, adapter):
    """Records hold it: another one would make every image of that format anew."""
    wanted = ocne_image_convert.recipe(dict(ASKED, format=name))
    assert vars(wanted) == dict(ASKED, format=name, subformat=subformat, adapter_type=adapter)


@pytest.mark.parametrize("asked, says", [
    ({"format": "raw", "compression": "zlib"}, "compression zlib does not go with format raw; leave compression out, or use format: qcow2"),
    ({"format": "vmdk", "compression": "zstd"}, "leave compression out; a compressed vmdk image has subformat: streamOptimized"),
    ({"format": "vhdx", "adapter_type": "ide"}, "adapter_type does not go with format vhdx; leave adapter_type out; it is for vmdk only"),
    ({"format": "qcow2", "hwversion": 13}, "hwversion does not go with format qcow2; leave hwversion out; it is for vmdk only"),
])
def test_what_a_conversion_refuses(asked, says):
    with pytest.raises(ImageError) as error:
        ocne_image_convert.recipe(dict(ASKED, **asked))
    assert says in str(error.value)


@pytest.mark.parametrize("src, format, name", [
    ("/a/boot.qcow2", "vpc", "boot.vhd"), ("/a/boot.vhd", "raw", "boot.raw"), ("boot.img", "vmdk", "boot.vmdk"),
    ("boot.qcow2-1.33", "vdi", "boot.qcow2-1.33.vdi"),
])
def test_names_of_what_is_made(src, format, name):
    assert ocne_image_convert.default_name(src, format) == name
