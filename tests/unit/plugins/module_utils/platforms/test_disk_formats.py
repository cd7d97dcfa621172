# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The table of disk formats, and those who must know each of them."""

from __future__ import annotations

import pytest

from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle import launch_metadata
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.platforms import disk_formats
from ansible_collections.ocne.images.plugins.module_utils.platforms.disk_formats import FORMATS, IMAGES
from ansible_collections.ocne.images.plugins.module_utils.work.disk import headers
from ansible_collections.ocne.images.plugins.modules import ocne_image_convert

ARCHIVE = dict.fromkeys(("architecture", "cloud", "operating_system", "operating_system_version", "shapes", "schema_version"))
ASKED = {"src_format": "qcow2", "compression": "none", "subformat": None, "adapter_type": None, "hwversion": None}


@pytest.mark.parametrize("name", FORMATS)
def test_every_row_is_sound(name):
    row = FORMATS[name]
    assert row.suffix.startswith(".") and disk_formats.SUFFIXES.count(row.suffix) == (not row.packs)
    assert row.packs is None or row.packs in IMAGES
    assert set(row.several_files) | set(row.self_compressed) <= set(row.subformats)
    assert row.default_adapter in (row.adapters or [None])
    assert not row.self_compressed or not row.compressions


def test_every_image_can_be_read():
    assert set(headers._READERS) == set(IMAGES) == set(FORMATS) - {"pca_archive"}


def test_how_what_is_made_is_compressed_by_itself():
    assert {(name, subformat): FORMATS[name].own_compression(subformat) for name in FORMATS for subformat in FORMATS[name].subformats or [None]
            if FORMATS[name].own_compression(subformat)} == {("vmdk", "streamOptimized"): "zlib", ("pca_archive", None): "gzip"}


def test_what_goes_together():
    assert disk_formats.checked("raw") is FORMATS["raw"]
    assert disk_formats.checked("vmdk", "streamOptimized").default_subformat == "monolithicSparse"
    with pytest.raises(ImageError, match="no disk format 'qed'; use one of qcow2, raw"):
        disk_formats.checked("qed")
    with pytest.raises(ImageError, match="subformat fixed does not go with format vmdk; use one of monolithicSparse, "):
        disk_formats.checked("vmdk", "fixed")
    with pytest.raises(ImageError, match="subformat fixed does not go with format raw; leave subformat out"):
        disk_formats.checked("raw", "fixed")


def test_an_archive_is_no_image():
    with pytest.raises(ImageError, match="no disk format 'pca_archive'; use one of qcow2, raw, vmdk, vdi, vhdx, vpc\\.$"):
        disk_formats.checked("pca_archive")
    assert disk_formats.checked("pca_archive", among=FORMATS).packs == "qcow2"


@pytest.mark.parametrize("name, subformat, adapter", [
    ("qcow2", None, None), ("raw", None, None), ("vmdk", "monolithicSparse", "lsilogic"), ("vdi", None, None),
    ("vhdx", "dynamic", None), ("vpc", "dynamic", None),
])
def test_what_a_conversion_takes_by_default(name, subformat, adapter):
    """Records hold it: another one would make every image of that format anew."""
    wanted = ocne_image_convert.recipe(dict(ASKED, **ARCHIVE, format=name))
    assert vars(wanted) == dict(ASKED, format=name, subformat=subformat, adapter_type=adapter, metadata=None)


@pytest.mark.parametrize("asked, says", [
    ({"format": "raw", "compression": "zlib"}, "compression zlib does not go with format raw; leave compression out, or use format: qcow2"),
    ({"format": "vmdk", "compression": "zstd"}, "leave compression out; a compressed vmdk image has subformat: streamOptimized"),
    ({"format": "vhdx", "adapter_type": "ide"}, "adapter_type does not go with format vhdx; leave adapter_type out; it is for vmdk only"),
    ({"format": "qcow2", "hwversion": 13}, "hwversion does not go with format qcow2; leave hwversion out; it is for vmdk only"),
    *(({"format": "qcow2", name: value}, f"{name} does not go with format qcow2; leave {name} out; it is for pca_archive only")
      for name, value in (("architecture", "amd64"), ("cloud", "oci"), ("operating_system", ""), ("operating_system_version", "9"), ("shapes", []),
                          ("schema_version", "1"))),
    ({"format": "pca_archive"}, "format pca_archive needs to know the architecture of the image; state it in the task: architecture: amd64, or arm64"),
    ({"format": "pca_archive", "architecture": "amd64", "src_format": "vmdk"},
     "format pca_archive holds a qcow2 image as it is, and src_format is vmdk; convert the source first, by ocne_image_convert with format: qcow2"),
    ({"format": "pca_archive", "architecture": "amd64", "schema_version": "1"}, "schema_version does not go with cloud pca; leave schema_version out"),
    ({"format": "pca_archive", "architecture": "amd64", "compression": "zlib"}, "compression zlib does not go with format pca_archive; leave compression out"),
    ({"format": "pca_archive", "architecture": "amd64", "subformat": "fixed"}, "subformat fixed does not go with format pca_archive; leave subformat out"),
])
def test_what_a_conversion_refuses(asked, says):
    with pytest.raises(ImageError) as error:
        ocne_image_convert.recipe(dict(ASKED, **dict(ARCHIVE, **asked)))
    assert says in str(error.value)


def packed(**asked):
    """What the metadata of an archive says, where the task asks for this."""
    return ocne_image_convert.recipe(dict(ASKED, **dict(ARCHIVE, format="pca_archive", **asked))).metadata


def shapes(metadata):
    return [entry["internalShapeName"] for entry in metadata["additionalMetadata"]["shapeCompatibilities"]]


def test_what_an_archive_says_by_default():
    about = packed(architecture="amd64")
    assert about == launch_metadata.launch_metadata("pca", "amd64", "Oracle Linux", "8")
    assert about == packed(architecture="x86_64", cloud="pca", operating_system="Oracle Linux", operating_system_version="8")
    assert about["externalLaunchOptions"]["launchOptionsSource"] == "CUSTOM" and shapes(about) == ["VM.PCAStandard.E5.Flex"]


def test_what_an_archive_says_as_it_is_asked_to():
    about = packed(architecture="aarch64", cloud="oci", operating_system="OCK", operating_system_version="1.33", shapes=["A", "B"], schema_version="3")
    assert about == launch_metadata.launch_metadata("oci", "arm64", "OCK", "1.33", ["A", "B"], "3")
    assert (shapes(about), about["operatingSystem"], about["imageCapsFormatVersion"]) == (["A", "B"], "OCK", "3")
    assert shapes(packed(architecture="amd64", shapes=[])) == []


def test_an_option_of_an_archive_makes_another_recipe():
    found = [packed(architecture="amd64", **more) for more in ({}, {"cloud": "oci"}, {"operating_system": "x"}, {"operating_system_version": "x"},
                                                               {"shapes": ["A"]}, {"cloud": "oci", "schema_version": "x"})]
    assert len({launch_metadata.encoded(about) for about in [*found, packed(architecture="arm64")]}) == 7


@pytest.mark.parametrize("src, format, name", [
    ("/a/boot.qcow2", "vpc", "boot.vhd"), ("/a/boot.vhd", "raw", "boot.raw"), ("boot.img", "vmdk", "boot.vmdk"),
    ("boot.qcow2-1.33", "vdi", "boot.qcow2-1.33.vdi"), ("boot.qcow2", "pca_archive", "boot.oci"),
    # the name that ocne and the role oci_image give a bare image: neither lost, as before there was this format, nor taken
    ("boot.qcow2-1.33-amd64.oci", "vmdk", "boot.qcow2-1.33-amd64.oci.vmdk"), ("boot.qcow2-1.33-amd64.oci", "pca_archive", "boot.qcow2-1.33-amd64.oci.oci"),
])
def test_names_of_what_is_made(src, format, name):
    assert ocne_image_convert.default_name(src, format) == name
