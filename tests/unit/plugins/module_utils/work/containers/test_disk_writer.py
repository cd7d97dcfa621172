# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A disk that is written front to back."""

from __future__ import annotations

import hashlib
import os

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.work.containers.disk_writer import Output


def test_what_was_written_is_known(tmp_path):
    pieces = [b"one", memoryview(b"two"), bytes(1 << 20)]
    with Output(str(tmp_path / "disk"), 1 << 20, "the image") as output:
        output.write(iter(pieces))
    content = b"".join(pieces)
    assert (tmp_path / "disk").read_bytes() == content
    assert (output.size, output.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_what_an_earlier_try_left_is_gone(tmp_path):
    (tmp_path / "disk").write_bytes(bytes(1000))
    with Output(str(tmp_path / "disk"), 3, "the image") as output:
        output.write([b"new"])
    assert (tmp_path / "disk").read_bytes() == b"new"


def test_too_little_space_is_told_before_the_first_byte(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ImageError, match=f"the disk in the image needs {1 << 62} bytes and .* are free"):
        Output(str(tmp_path / "disk"), 1 << 62, "the image")
    assert len(os.listdir("/proc/self/fd")) == before and (tmp_path / "disk").read_bytes() == b""


def test_a_full_file_system():
    with Output("/dev/full", 0, "the image") as output, pytest.raises(ImageError, match="writing the disk out of the image failed: no space left") as caught:
        output.write([b"x"])
    assert caught.value.details == {"errno": "ENOSPC"} and caught.value.where == "/dev"


def test_a_fault_of_what_comes_is_told_as_it_is(tmp_path):
    def broken():
        yield b"half"
        raise ImageError("the connection broke")
    with pytest.raises(ImageError, match="^the connection broke"), Output(str(tmp_path / "disk"), 0, "the image") as output:
        output.write(broken())
