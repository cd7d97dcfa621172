# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""gzip that other programs read, and that is the same every time; and gzip that is not sound."""

from __future__ import annotations

import gzip
import io
import os
import random
import subprocess
import threading
import tracemalloc
import zlib

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.files import gzip_stream
from ansible_collections.ocne.images.plugins.module_utils.files.gzip_stream import BLOCK, GzipWriter, gunzipped

TEXT = b"".join(b"line %d of a text that compresses\n" % number for number in range(100_000))
NOISE = random.Random(5).randbytes(3 * BLOCK + 17)


def packed(*blocks):
    output = io.BytesIO()
    with GzipWriter(output.write) as writer:
        for block in blocks:
            writer.add(block)
        writer.finish()
    return output.getvalue()


def cut(data, size=BLOCK):
    return [data[at:at + size] for at in range(0, len(data), size)]


def plain(data, size=1 << 16):
    return b"".join(gunzipped(iter(cut(data, size)), ImageError))


@pytest.mark.parametrize("blocks", [[], [b""], [b"x"], [b"", b"x", b""], cut(TEXT), cut(NOISE), [*cut(NOISE), *cut(TEXT), b"end"], [bytes(BLOCK)] * 40])
def test_other_programs_read_it(tmp_path, blocks):
    data = packed(*blocks)
    assert gzip.decompress(data) == b"".join(blocks) == plain(data)
    (tmp_path / "x.gz").write_bytes(data)
    assert subprocess.run(["gzip", "-t", "-v", tmp_path / "x.gz"], check=True, capture_output=True, text=True).stderr.rstrip().endswith("OK")
    assert subprocess.run(["gzip", "-dc", tmp_path / "x.gz"], check=True, capture_output=True).stdout == b"".join(blocks)


def test_it_is_one_member_without_name_and_time():
    data = packed(*cut(TEXT))
    assert data[:10] == b"\x1f\x8b\x08\0\0\0\0\0\x04\xff"
    member = zlib.decompressobj(31)
    assert member.decompress(data) == TEXT and member.eof and member.unused_data == b""


def test_the_processors_do_not_show(monkeypatch):
    blocks, found = [*cut(NOISE), *cut(TEXT), *cut(NOISE)], set()
    for processors in (1, 2, 7):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid, number=processors: set(range(number)))
        found.add(packed(*blocks))
    assert len(found) == 1


def stored(data):
    """Whether the first block of deflate is of a kind that is not compressed (RFC 1951, 3.2.3)."""
    return data[10] & 6 == 0


def test_what_does_not_compress_is_stored():
    data = packed(NOISE[:BLOCK])
    assert stored(data) and len(data) < BLOCK + 400
    # also where a few percent could be saved, as of zlib's own output
    dense = bytearray(NOISE[:BLOCK])
    dense[::12] = bytes(len(dense[::12]))
    assert 0.95 < len(zlib.compress(dense, 1)) / BLOCK < 0.99 and stored(packed(bytes(dense)))
    assert not stored(packed(*cut(TEXT))) and len(packed(*cut(TEXT))) < len(TEXT) / 4


def test_memory_has_a_limit(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))
    size = 0

    def count(data):
        nonlocal size
        size += len(data)
    tracemalloc.start()
    with GzipWriter(count) as writer:
        for number in range(200):
            writer.add(random.Random(number).randbytes(BLOCK))
        writer.finish()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size > 200 * BLOCK and peak < 100 * BLOCK


def test_a_reader_that_fails_leaves_no_thread():
    before = threading.active_count()
    with pytest.raises(OSError, match="full"):
        with GzipWriter(lambda data: None) as writer:
            for block in cut(NOISE) * 5:
                writer.add(block)
            raise OSError("full")
    assert threading.active_count() == before


@pytest.mark.parametrize("bend, says", [
    (lambda data: data[:-1], "it is cut off"),
    (lambda data: data[:len(data) // 2], "it is cut off"),
    (lambda data: data[:5], "it is cut off"),
    (lambda data: data[:-8] + b"\0\0\0\0" + data[-4:], "incorrect data check"),
    (lambda data: data[:-4] + b"\0\0\0\1", "incorrect length check"),
    (lambda data: data[:100] + b"\xff" * 100 + data[200:], "invalid"),
    (lambda data: data + b"more", "incorrect header check"),
    (lambda data: b"\x1f\x8b\x09" + data[3:], "unknown compression method"),
])
def test_what_is_not_sound(bend, says):
    for size in (1 << 16, 7):
        with pytest.raises(ImageError, match=says):
            plain(bend(gzip.compress(TEXT[:200_000])), size)


def test_members_one_after_the_other():
    assert plain(gzip.compress(b"one") + bytes(600) + gzip.compress(b"") + gzip.compress(b"two") + bytes(7), 5) == b"onetwo"


def test_a_bomb_comes_in_small_pieces():
    data = gzip.compress(bytes(64 << 20), 9)
    assert max(map(len, gunzipped([data], ImageError))) <= 1 << 20
    assert gzip_stream.BLOCK == 1 << 20
