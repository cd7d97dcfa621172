# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The disks of platforms. What they do inside an image: ../work/guest/test_recipe.py."""

from __future__ import annotations

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.platforms import profiles
from ansible_collections.ocne.images.plugins.module_utils.platforms.disk_formats import IMAGES
from ansible_collections.ocne.images.plugins.module_utils.platforms.profiles import profile


@pytest.mark.parametrize("name", profiles.PROFILES)
def test_every_row_has_a_sound_disk(name):
    row = {"name": name, **profiles.PROFILES[name]}
    assert profile(row) == profile(name)   # it passes what a user's own dictionary must


@pytest.mark.parametrize("format", IMAGES)
def test_any_format_of_images_may_be_a_platform_s(format):
    disk = profile({"disk_format": format}).disk()
    assert disk == {"format": format, "subformat": IMAGES[format].default_subformat, "suffix": IMAGES[format].suffix}


@pytest.mark.parametrize("platform, format, disk", [
    ("qemu", None, ("qcow2", None, ".qcow2")),
    ("vmware", None, ("vmdk", "monolithicSparse", ".vmdk")),
    ("vmware", "vmdk", ("vmdk", "monolithicSparse", ".vmdk")),
    ("metal", "vpc", ("vpc", "dynamic", ".vhd")),
    ({"disk_format": "vpc", "disk_subformat": "fixed"}, None, ("vpc", "fixed", ".vhd")),
    ({"disk_format": "vpc", "disk_subformat": "fixed", "disk_suffix": ".azure.vhd"}, "vpc", ("vpc", "fixed", ".azure.vhd")),
    ({"disk_format": "vpc", "disk_subformat": "fixed", "disk_suffix": ".azure.vhd"}, "vhdx", ("vhdx", "dynamic", ".vhdx")),
    ({"disk_format": "raw", "disk_suffix": ".img"}, None, ("raw", None, ".img")),
    ({"disk_suffix": ".img"}, "qcow2", ("qcow2", None, ".img")),
    ({"disk_suffix": ".oci"}, None, ("qcow2", None, ".oci")),   # as ocne names a bare image
])
def test_disks(platform, format, disk):
    assert tuple(profile(platform).disk(format).values()) == disk


@pytest.mark.parametrize("own, says", [
    ({"disk_format": "pca_archive"}, "platform: there is no disk format 'pca_archive'; use one of qcow2"),
    ({"disk_format": "qed"}, "platform: there is no disk format 'qed'; use one of qcow2"),
    ({"disk_format": "raw", "disk_subformat": "fixed"}, "platform: subformat fixed does not go with format raw"),
    ({"disk_subformat": "fixed"}, "platform: subformat fixed does not go with format qcow2"),
    ({"disk_suffix": "img"}, "platform: 'img' is not the suffix of a file name"),
    ({"disk_suffix": "./../x"}, "is not the suffix of a file name"),
    ({"disk_suffix": ""}, "is not the suffix of a file name"),
    ({"disk_format": "raw", "disk_suffix": ".qcow2"}, "the suffix .qcow2 is that of another format than raw; give another one, or none for .raw"),
    ({"disk_format": 7}, "disk_format of a platform is a str, not int"),
])
def test_refused_disks(own, says):
    with pytest.raises(ImageError) as error:
        profile(own)
    assert says in str(error.value)


def test_a_format_that_is_none():
    for format in ("qed", "pca_archive"):
        with pytest.raises(ImageError, match=f"no disk format '{format}'"):
            profile("qemu").disk(format)
