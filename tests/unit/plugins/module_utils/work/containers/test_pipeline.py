# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A blob on its way: checked, unpacked, and never larger in memory than a piece."""

from __future__ import annotations

import gzip
import hashlib
import threading
import tracemalloc

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.common.process import descendants
from ansible_collections.ocne.images.plugins.module_utils.work.containers.pipeline import ahead, decompressed, hashed
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.work.containers.images import NEEDS_ZSTD, NOISE, zstd


@pytest.mark.parametrize("pack", [lambda data: gzip.compress(data, 9), pytest.param(zstd, marks=NEEDS_ZSTD)])
def test_a_bomb_never_becomes_a_large_buffer(pack):
    packed = pack(bytes(256 << 20))
    tracemalloc.start()
    size = largest = 0
    for piece in decompressed(iter([packed]), "the image"):
        size, largest = size + len(piece), max(largest, len(piece))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size == 256 << 20 and largest <= 1 << 20 and peak < 16 << 20


def plain(packed, size=1 << 20):
    return b"".join(decompressed((packed[at:at + size] for at in range(0, len(packed), size)), "the image"))


@pytest.mark.parametrize("size", [1, 3, 1 << 20])
@pytest.mark.parametrize("pack", [lambda data: data, gzip.compress, pytest.param(zstd, marks=NEEDS_ZSTD)], ids=["none", "gzip", "zstd"])
def test_the_first_bytes_tell_the_packing(pack, size):
    data = NOISE[:5000] if size < 10 else NOISE
    assert plain(pack(data), size) == data


@pytest.mark.parametrize("data", [b"", b"x", b"\x1f", b"abc"])
def test_what_is_too_short_to_be_packed_is_plain(data):
    assert plain(data) == data


def test_gzip_in_members_with_nuls_between_and_behind():
    assert plain(gzip.compress(b"one") + bytes(600) + gzip.compress(b"") + gzip.compress(b"two") + bytes(7), 5) == b"onetwo"


@NEEDS_ZSTD
def test_zstd_behind_a_frame_without_data():
    assert plain(b"\x50\x2a\x4d\x18\x03\x00\x00\x00xyz" + zstd(b"content")) == b"content"


@pytest.mark.parametrize("pack", [gzip.compress, pytest.param(zstd, marks=NEEDS_ZSTD)])
def test_a_fault_of_the_source_comes_first(pack):
    def broken():
        yield pack(NOISE)[:100_000]
        raise ImageError("the connection broke")
    with pytest.raises(ImageError, match="^the connection broke"):
        list(decompressed(broken(), "the image"))


@NEEDS_ZSTD
def test_a_reader_that_stops_early_leaves_no_process():
    before = descendants()
    pieces = decompressed(iter([zstd(bytes(64 << 20))]), "the image")
    assert next(pieces)
    assert len(descendants()) == len(before) + 1
    pieces.close()
    assert descendants() == before


# --- stages ----------------------------------------------------------------------------------------------


def test_a_stage_gives_the_same_pieces():
    assert list(ahead(iter(range(1000)))) == list(range(1000))


def test_a_stage_is_few_pieces_ahead():
    made = []

    def source():
        for number in range(1000):
            made.append(number)
            yield number
    pieces = ahead(source())
    assert [next(pieces) for _time in range(3)] == [0, 1, 2]
    assert len(made) < 20
    pieces.close()


def test_a_stage_s_fault_comes_in_its_place():
    def source():
        yield 1
        raise ImageError("broken")
    pieces = ahead(source())
    assert next(pieces) == 1
    with pytest.raises(ImageError, match="broken"):
        next(pieces)


def test_a_reader_that_stops_ends_the_stage():
    closed = threading.Event()

    def source():
        try:
            while True:
                yield b""
        finally:
            closed.set()
    pieces = ahead(source())
    next(pieces)
    pieces.close()
    assert closed.wait(10)


def test_pieces_are_hashed_and_counted_on_their_way():
    sums, counts = hashlib.sha256(), []
    assert list(hashed([b"one", b"two"], sums, counts.append)) == [b"one", b"two"]
    assert sums.hexdigest() == hashlib.sha256(b"onetwo").hexdigest() and counts == [3, 3]
