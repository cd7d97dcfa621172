# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A disk out of an image that is mounted; the image is foreign."""

from __future__ import annotations

import hashlib
import os
import random

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.common.progress import silent
from ansible_collections.ocne.images.plugins.module_utils.work import boot_image
from ansible_collections.ocne.images.plugins.module_utils.work.containers import mounted_image
from ansible_collections.ocne.images.plugins.module_utils.work.job import Job
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.work.containers.images import qcow2

DISK = qcow2(filling=random.Random(7).randbytes(3_000_000))


@pytest.fixture
def image(tmp_path):
    """The folder of a mounted image."""
    (tmp_path / "image/disk").mkdir(parents=True)
    (tmp_path / "image/disk/boot.qcow2").write_bytes(DISK)
    (tmp_path / "secret").write_bytes(DISK)
    return tmp_path / "image"


def take(image, wanted="disk/boot.qcow2"):
    return mounted_image.take(str(image), wanted, str(image.parent / "copy"), "registry/image", silent())


def test_a_disk_is_copied(image):
    assert take(image) == (hashlib.sha256(DISK).hexdigest(), len(DISK))
    assert (image.parent / "copy").read_bytes() == DISK


def test_the_work_tells_what_it_was_told(image, tmp_path):
    values = {"image_digest": "sha256:1", "manifest_digest": "sha256:2", "layer_digest": None, "labels": {}}
    options = {"source": "docker://registry.example.com/image@sha256:" + "0" * 64, "architecture": "amd64", "path": "/disk/boot.qcow2", "format": "qcow2",
               "registry": {}, "retries": 0, "mounted": {"path": str(image), "values": values}}
    (tmp_path / "staging").mkdir()
    result = boot_image.run(Job("boot_image", options, str(tmp_path / "staging")), silent())
    assert result.values == dict(values, changed=True)
    assert (result.artifacts[0].size, result.artifacts[0].virtual_size) == (len(DISK), 1 << 30)


@pytest.mark.parametrize("wanted, words", [
    ("disk/none", "no such file"),
    ("none/boot.qcow2", "no such file"),
    ("disk", "not a plain file"),
    ("disk/boot.qcow2/x", "not a directory"),
    ("disk/link", "symbolic link"),
    ("linked/boot.qcow2", "not a directory"),
    ("disk/pipe", "not a plain file"),
])
def test_what_is_no_disk(image, wanted, words):
    os.symlink("../../secret", image / "disk/link")
    os.symlink("disk", image / "linked")
    os.mkfifo(image / "disk/pipe")
    before = os.listdir("/proc/self/fd")
    with pytest.raises(ImageError) as fault:
        take(image, wanted)
    assert words in str(fault.value)
    assert not (image.parent / "copy").exists()
    assert len(os.listdir("/proc/self/fd")) == len(before)
