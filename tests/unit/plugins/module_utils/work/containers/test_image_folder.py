# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An image in a folder of our own."""

from __future__ import annotations

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.work.containers.image_folder import ImageFolder
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.work.containers.images import Image, member, tar


@pytest.fixture
def image(tmp_path):
    return Image(tmp_path / "image", [tar(member("disk", bytes(2 << 20)))], packing="none")


def test_what_it_holds(image):
    folder = ImageFolder(image.folder)
    digest, manifest = folder.manifest()
    assert (digest, manifest) == (image.digest, image.manifest)
    assert folder.config()["rootfs"]["diff_ids"] == [manifest["layers"][0]["digest"]]
    pieces = list(folder.blob(manifest["layers"][0]))
    assert len(pieces) > 1 and b"".join(pieces) == image.layer(0)


def test_the_configuration_needs_no_manifest_first(image):
    assert ImageFolder(image.folder).config()["architecture"] == "amd64"


def test_a_configuration_that_is_not_what_its_digest_says(image):
    image.write(image.manifest["config"]["digest"].partition(":")[2], b'{"architecture": "arm64"}')
    with pytest.raises(ImageError, match="configuration is not what its digest says") as caught:
        ImageFolder(image.folder).config()
    assert caught.value.where == image.folder


@pytest.mark.parametrize("digest", ["sha256:../../../../etc/passwd", "/etc/passwd", "sha256:" + "0" * 63, "sha256:" + "g" * 64, "", "sha256:/etc/passwd"])
def test_a_digest_that_is_a_path(image, digest):
    with pytest.raises(ImageError, match="a digest in the manifest is malformed"):
        list(ImageFolder(image.folder).blob({"digest": digest}))
