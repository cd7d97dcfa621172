# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A file in numbered parts."""

from __future__ import annotations

import base64
import hashlib
import os
import threading
import tracemalloc

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.files.parts import Parts

MIB = 1 << 20


def md5(data):
    return base64.b64encode(hashlib.md5(data).digest()).decode()


@pytest.fixture
def file(tmp_path):
    """(path, bytes) of a file of two and a half parts of 400,000 bytes."""
    data = os.urandom(1_000_000)
    (tmp_path / "file").write_bytes(data)
    return str(tmp_path / "file"), data


def test_its_parts(file):
    path, data = file
    with Parts(path, part_size=400_000) as parts:
        assert (parts.size, parts.count, list(parts.numbers)) == (1_000_000, 3, [1, 2, 3])
        assert [parts.span(number) for number in parts.numbers] == [(0, 400_000), (400_000, 400_000), (800_000, 200_000)]
        assert b"".join(bytes(piece) for number in parts.numbers for piece in parts.pieces(number)) == data
        assert [parts.md5(number) for number in parts.numbers] == [md5(data[at:at + 400_000]) for at in (0, 400_000, 800_000)]
        parts.must_be_unchanged()
        parts.must_have(1, md5(data[:400_000]))
        parts.part_size = 1_000_000
        assert list(parts.numbers) == [1] and parts.md5(1) == md5(data)


def test_it_is_named_as_the_user_did(file, tmp_path):
    for path, words in (("none", "/disk: reading the file to upload failed: no such file or directory"), ("", "/disk: reading .* failed: is a directory")):
        with pytest.raises(ImageError, match=words):
            with Parts(str(tmp_path / path), "/disk", 1) as parts:
                parts.md5(1)
    (tmp_path / "empty").write_bytes(b"")
    before = os.listdir("/proc/self/fd")
    with pytest.raises(ImageError, match="^/disk: the file is empty"):
        Parts(str(tmp_path / "empty"), "/disk")
    assert os.listdir("/proc/self/fd") == before


def test_a_file_that_changes(file):
    path, data = file
    with Parts(path, part_size=400_000) as parts:
        os.utime(path, ns=(0, 0))
        with pytest.raises(ImageError, match=f"^{path}: the file changed while it was sent; run the task again when nothing writes to it"):
            parts.must_be_unchanged()
        with pytest.raises(ImageError, match="the file changed"):
            parts.must_have(2, md5(data[:400_000]))
        os.truncate(path, 500_000)
        assert parts.md5(1) == md5(data[:400_000])
        with pytest.raises(ImageError, match=f"^{path}: the file became shorter while it was sent"):
            parts.md5(2)


def test_another_file_of_that_name_is_not_read(file):
    path, data = file
    with Parts(path, part_size=MIB) as parts:
        os.rename(path, path + ".old")
        with open(path, "wb") as other:
            other.write(b"other")
        assert parts.md5(1) == md5(data)
        parts.must_be_unchanged()


def test_reading_can_be_ended(file):
    over = threading.Event()

    def check():
        if over.is_set():
            raise KeyError("over")
    with Parts(file[0], part_size=MIB, check=check) as parts:
        pieces = parts.pieces(1)
        next(pieces)
        over.set()
        with pytest.raises(KeyError):
            next(pieces)


def test_no_part_is_in_memory_as_a_whole(tmp_path):
    with open(tmp_path / "file", "wb") as file:
        file.truncate(64 * MIB)
    with Parts(str(tmp_path / "file"), part_size=64 * MIB) as parts:
        tracemalloc.start()
        try:
            assert parts.md5(1) == md5(bytes(64 * MIB)) and tracemalloc.get_traced_memory()[1] < 66 * MIB
            tracemalloc.reset_peak()
            parts.md5(1)
            assert tracemalloc.get_traced_memory()[1] < MIB
        finally:
            tracemalloc.stop()
