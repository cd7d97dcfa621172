# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which parts of a file a transfer needs."""

from __future__ import annotations

import os
import random

import pytest

from ansible_collections.ocne.images.plugins.module_utils.files import extents
from ansible_collections.ocne.images.plugins.module_utils.files.extents import BLOCK, RangeSet


def build(path, size, parts):
    with open(path, "wb") as file:
        for offset, data in parts:
            file.seek(offset)
            file.write(data)
        file.truncate(size)
    return open(path, "r+b", buffering=0)


def joined(pieces):
    data, zeros, end = [], [], None
    for end, more, empty in pieces:   # noqa: B007
        for ranges, new in ((data, more), (zeros, empty)):
            for item in new:
                extents.append(ranges, *item)
    return data, zeros, end


def test_holes_and_zeros_are_left_out(tmp_path):
    size = (20 << 20) + 5
    parts = [(0, b"a"), (3 * BLOCK, bytes(2 * BLOCK)), (7 * BLOCK + 9, b"b"), (10 << 20, os.urandom(3 << 20)), (size - 5, b"the e")]
    with build(tmp_path / "a", size, parts) as file:
        assert joined(extents.changes(file.fileno(), size)) == (
            [[0, BLOCK], [7 * BLOCK, BLOCK], [10 << 20, 3 << 20], [20 << 20, 5]], [], size)
        assert joined(extents.changes(file.fileno(), size, start=8 * BLOCK))[0] == [[10 << 20, 3 << 20], [20 << 20, 5]]


@pytest.mark.parametrize("size", [0, 1, BLOCK, 3 << 20])
def test_nothing_but_a_hole(tmp_path, size):
    with build(tmp_path / "a", size, []) as file:
        assert joined(extents.changes(file.fileno(), size))[:2] == ([], [])


@pytest.mark.parametrize("seed", range(8))
def test_a_base_and_its_changes_make_the_file(tmp_path, seed):
    chance = random.Random(seed)
    base_size, size = (chance.randrange(4 << 20) for _number in range(2))
    base = [(at, chance.choice([os.urandom(BLOCK), bytes(BLOCK)])) for at in range(0, base_size, BLOCK) if chance.random() < 0.6]
    parts = [(at, chance.choice([dict(base).get(at, bytes(BLOCK)), os.urandom(BLOCK), os.urandom(300), bytes(BLOCK)]))
             for at in range(0, size, BLOCK) if chance.random() < 0.6]
    with build(tmp_path / "base", base_size, base) as old, build(tmp_path / "new", size, parts) as new:
        data, zeros, _end = joined(extents.changes(new.fileno(), size, base=old.fileno()))
        wanted = (tmp_path / "new").read_bytes()
        chunk = extents.read_ranges(new.fileno(), data)
        old.truncate(size)
        extents.write_ranges(old.fileno(), data, chunk)
        for offset, length in zeros:
            extents.punch(old.fileno(), offset, length)
        assert (tmp_path / "base").read_bytes() == wanted


def test_a_punched_range_is_a_hole(tmp_path):
    with build(tmp_path / "a", 1 << 20, [(0, os.urandom(1 << 20))]) as file:
        os.fsync(file.fileno())
        before = os.fstat(file.fileno()).st_blocks
        extents.punch(file.fileno(), BLOCK, 4 * BLOCK)
        assert os.pread(file.fileno(), 4 * BLOCK, BLOCK) == bytes(4 * BLOCK)
        assert os.fstat(file.fileno()).st_blocks < before and os.fstat(file.fileno()).st_size == 1 << 20


def test_reading_beyond_the_end(tmp_path):
    with build(tmp_path / "a", 10, [(0, b"0123456789")]) as file:
        assert extents.read_ranges(file.fileno(), [[2, 3], [8, 2]]) == b"23489"
        with pytest.raises(OSError):
            extents.read_ranges(file.fileno(), [[8, 3]])


@pytest.mark.parametrize("seed", range(5))
def test_a_set_of_ranges(seed):
    chance, ranges, model = random.Random(seed), RangeSet(), set()
    for _number in range(40):
        offset, length = chance.randrange(100), chance.randrange(1, 12)
        asked = (chance.randrange(100), chance.randrange(1, 12))
        points = set(range(asked[0], sum(asked)))
        assert ranges.holds(*asked) == points.issubset(model)
        assert ranges.touches(*asked) == bool(points & model)
        ranges.add(offset, length)
        model |= set(range(offset, offset + length))
        assert ranges.total() == len(model)
    listed = ranges.as_list()
    assert listed == sorted(listed) and all(sum(one) < other[0] for one, other in zip(listed, listed[1:]))
    assert RangeSet(extents.from_text(extents.as_text(listed))).as_list() == listed


@pytest.mark.parametrize("text", ["", "1", "1:2:3", "a:1", "1:0", "-1:2", "1:-2", "1:2,"])
def test_ranges_that_are_none(text):
    with pytest.raises(ValueError):
        extents.from_text(text)
