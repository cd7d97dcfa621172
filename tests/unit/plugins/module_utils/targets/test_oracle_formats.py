# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is not sent, as the cloud would refuse it."""

from __future__ import annotations

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.targets.base import Image
from ansible_collections.ocne.images.plugins.module_utils.targets.oracle_formats import check


def image(kind="qcow2", architecture="amd64", **facts):
    return Image("/srv/boot", kind, architecture, {"virtual_size": 1 << 30, **facts})


@pytest.mark.parametrize("sound", [
    image(), image(compression_type="zlib"), image("vmdk", subformat="monolithicSparse"), image("vmdk", subformat="streamOptimized"),
    image(architecture="arm64"), image(virtual_size=400 * 10**9), Image("an object", "qcow2", "amd64"), image("pca_archive")])
def test_it_is_imported(sound):
    check(sound, "PARAVIRTUALIZED")


@pytest.mark.parametrize("bad, mode, words", [
    (image(backing_file="/srv/base"), "PARAVIRTUALIZED", "backing file.*flatten it first.*format: qcow2"),
    (image(compression_type="zstd"), "PARAVIRTUALIZED", "zstd.*compression: zlib, or none"),
    (image(virtual_size=400 * 10**9 + 1), "PARAVIRTUALIZED", "400 GB"),
    (image(architecture="arm64"), "NATIVE", "Arm image cannot have launch_mode NATIVE.*PARAVIRTUALIZED"),
    (image("vmdk", subformat="monolithicFlat"), "PARAVIRTUALIZED", "monolithicFlat VMDK.*subformat: monolithicSparse"),
    (image("vmdk", subformat="twoGbMaxExtentSparse"), "PARAVIRTUALIZED", "twoGbMaxExtentSparse VMDK")])
def test_it_is_refused(bad, mode, words):
    with pytest.raises(ImageError, match=words):
        check(bad, mode)
