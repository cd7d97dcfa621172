# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Images to read, to bend and to compare."""

from __future__ import annotations

import os

import pytest

from ansible_collections.ocne.images.tests.unit.plugins.module_utils.work.disk.disks import SIZE, qemu_img


@pytest.fixture
def make(tmp_path):
    """make(format, options) -> path of an image with some content."""
    content = tmp_path / "content.raw"
    content.write_bytes(os.urandom(100_000))
    os.truncate(content, SIZE)

    def make_one(kind, options="", name="disk"):
        path = tmp_path / f"{name}.{kind}"
        qemu_img("convert", "-f", "raw", "-O", kind, *(["-o", options] if options else []), content, path)
        return path
    return make_one
