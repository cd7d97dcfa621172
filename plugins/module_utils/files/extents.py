# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which parts of a file a transfer needs: not its holes, not its zeros, not what the other end has already."""

from __future__ import annotations

import ctypes
import errno
import os

from .scratch import Scratch

#: bytes that are looked at as one: the cluster of a qcow2, and the block of artifact.sparse_digest()
BLOCK = 64 << 10
_PIECE = 256 << 10   # bytes read at once: they stay in the cache of a processor
_ZEROS = bytes(BLOCK)
_read = Scratch()
_PUNCH = 3           # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, linux/falloc.h


def _next_data(fd, offset, size):
    """Where data begins at or after `offset`; `size` if only a hole is left."""
    if offset >= size:
        return size
    try:
        return min(size, os.lseek(fd, offset, os.SEEK_DATA))
    except OSError as error:
        if error.errno == errno.ENXIO:
            return size
        raise


def append(ranges, offset, length):
    """Add a range to a sorted list of [offset, length], joined to the last one where they touch."""
    if ranges and sum(ranges[-1]) == offset:
        ranges[-1][1] += length
    else:
        ranges.append([offset, length])


def data_ranges(fd, size):
    """Ranges [offset, length] of the first `size` bytes of a file that are not holes, in whole blocks. Raises OSError."""
    offset = _next_data(fd, 0, size)
    while offset < size:
        start = offset // BLOCK * BLOCK
        end = min(size, -(-os.lseek(fd, offset, os.SEEK_HOLE) // BLOCK) * BLOCK)
        yield [start, end - start]
        offset = _next_data(fd, end, size)


def changes(fd, size, start=0, base=None):
    """What must be sent of the first `size` bytes of a file, from `start` (a multiple of BLOCK) on: piece by piece.

    Yields (end, data, zeros): up to the offset `end`, the ranges [offset, length] of data that are new in this piece, and the
    ranges that are zeros here and not in the base. base: descriptor of a file whose bytes the other end has at the same offsets;
    without one it has zeros. Raises OSError.
    """
    base_size = os.fstat(base).st_size if base is not None else 0
    offset, here, there = start, bytearray(_PIECE), bytearray(_PIECE)
    while offset < size:
        data_at = _next_data(fd, offset, size)
        if base is not None:
            data_at = min(data_at, _next_data(base, offset, min(base_size, size)) if offset < base_size else size)
        offset = data_at // BLOCK * BLOCK if data_at < size else size
        count = os.preadv(fd, [memoryview(here)[:size - offset]], offset) if offset < size else 0
        if not count and offset < size:
            raise OSError(errno.EIO, "the file became shorter")
        had = os.preadv(base, [memoryview(there)[:count]], offset) if base is not None and offset < base_size else 0
        data, zeros = [], []
        if not count == had == _PIECE or here != there:
            for at in range(0, count, BLOCK):
                block = bytes(memoryview(here)[at:min(at + BLOCK, count)])
                other = bytes(memoryview(there)[at:max(at, min(at + len(block), had))])
                if block != other + _ZEROS[:len(block) - len(other)]:
                    append(zeros if base is not None and block == _ZEROS[:len(block)] else data, offset + at, len(block))
        offset += count
        yield offset, data, zeros


def punch(fd, offset, length):
    """Make a range zeros: a hole where the file system has them. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    function = getattr(libc, "fallocate64", None) or libc.fallocate
    if function(fd, _PUNCH, ctypes.c_longlong(offset), ctypes.c_longlong(length)) == 0:
        return
    while length:
        count = os.pwrite(fd, _ZEROS[:min(BLOCK, length)], offset)
        offset, length = offset + count, length - count


def write_all(fd, data, offset):
    """pwrite() of all of it. Raises OSError."""
    view = memoryview(data)
    while view:
        count = os.pwrite(fd, view, offset)
        view, offset = view[count:], offset + count


def read_ranges(fd, ranges):
    """The bytes of ranges, one after the other; good until this thread reads others. Raises OSError where the file is shorter."""
    view, at = _read.take(sum(length for _offset, length in ranges)), 0
    for offset, length in ranges:
        while length:
            count = os.preadv(fd, [view[at:at + length]], offset)
            if not count:
                raise OSError(errno.EIO, "the file became shorter")
            at, offset, length = at + count, offset + count, length - count
    return view


def read_data(fd, ranges):
    """(bytes, ranges) as read_ranges() does, without the blocks that are zeros; the ranges begin at blocks."""
    view, kept, at, end = read_ranges(fd, ranges), [], 0, 0
    for start, count in blocks(ranges):
        block = bytes(view[at:at + count])
        at += count
        if block != _ZEROS[:count]:
            if end + count < at:
                view[end:end + count] = block
            append(kept, start, count)
            end += count
    return view[:end], kept


def write_ranges(fd, ranges, data):
    """The reverse of read_ranges(). Raises OSError."""
    view = memoryview(data)
    for offset, length in ranges:
        write_all(fd, view[:length], offset)
        view = view[length:]


def blocks(ranges):
    """(offset, length) of each block of ranges."""
    for offset, length in ranges:
        for start in range(offset, offset + length, BLOCK):
            yield start, min(BLOCK, offset + length - start)


class RangeSet:
    """Ranges of a file, joined where they touch."""

    def __init__(self, ranges=()):
        self._ranges = []
        for offset, length in ranges:
            self.add(offset, length)

    def add(self, offset, length):
        end, kept = offset + length, []
        for other, count in self._ranges:
            if other + count < offset or other > end:
                kept.append([other, count])
            else:
                offset, end = min(offset, other), max(end, other + count)
        kept.append([offset, end - offset])
        kept.sort()
        self._ranges = kept

    def holds(self, offset, length):
        """Whether all of a range is in it."""
        return any(other <= offset and offset + length <= other + count for other, count in self._ranges)

    def touches(self, offset, length):
        """Whether any of a range is in it."""
        return any(other < offset + length and offset < other + count for other, count in self._ranges)

    def total(self):
        """Bytes."""
        return sum(count for _offset, count in self._ranges)

    def as_list(self):
        return [list(item) for item in self._ranges]


def as_text(ranges):
    """Ranges as they are in a URL: offset:length,offset:length."""
    return ",".join(f"{offset}:{length}" for offset, length in ranges)


def from_text(text):
    """The reverse of as_text(). Raises ValueError."""
    ranges = []
    for item in text.split(","):
        offset, length = (int(number) for number in item.split(":"))
        if offset < 0 or length <= 0:
            raise ValueError("a range must have a length")
        ranges.append([offset, length])
    return ranges
