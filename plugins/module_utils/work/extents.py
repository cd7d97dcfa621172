# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which parts of a file a transfer needs: not its holes, not its zeros, not what the other end has already."""

from __future__ import annotations

import ctypes
import errno
import os

#: bytes that are looked at as one: the cluster of a qcow2, and the block of artifact.sparse_digest()
BLOCK = 64 << 10
_PIECE = 1 << 20     # bytes read at once
_ZEROS = bytes(BLOCK)
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


def changes(fd, size, start=0, base=None):
    """What must be sent of the first `size` bytes of a file, from `start` (a multiple of BLOCK) on: piece by piece.

    Yields (end, data, zeros): up to the offset `end`, the ranges [offset, length] of data that are new in this piece, and the
    ranges that are zeros here and not in the base. base: descriptor of a file whose bytes the other end has at the same offsets;
    without one it has zeros. Raises OSError.
    """
    base_size = os.fstat(base).st_size if base is not None else 0
    offset = start
    while offset < size:
        data_at = _next_data(fd, offset, size)
        if base is not None:
            data_at = min(data_at, _next_data(base, offset, min(base_size, size)) if offset < base_size else size)
        offset = data_at // BLOCK * BLOCK if data_at < size else size
        piece = os.pread(fd, min(_PIECE, size - offset), offset) if offset < size else b""
        if not piece and offset < size:
            raise OSError(errno.EIO, "the file became shorter")
        data, zeros = [], []
        other = os.pread(base, len(piece), offset) if base is not None and offset < base_size else b""
        if base is None or piece != other:
            view, base_view = memoryview(piece), memoryview(other)
            for at in range(0, len(piece), BLOCK):
                block = view[at:at + BLOCK]
                had = base_view[at:at + BLOCK]
                if len(had) < len(block):
                    had = bytes(had) + _ZEROS[:len(block) - len(had)]
                if block != had:
                    append(zeros if base is not None and block == _ZEROS[:len(block)] else data, offset + at, len(block))
        offset += len(piece)
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
    """The bytes of ranges, one after the other. Raises OSError where the file is shorter."""
    parts = []
    for offset, length in ranges:
        while length:
            part = os.pread(fd, length, offset)
            if not part:
                raise OSError(errno.EIO, "the file became shorter")
            parts.append(part)
            offset, length = offset + len(part), length - len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def write_ranges(fd, ranges, data):
    """The reverse of read_ranges(). Raises OSError."""
    view = memoryview(data)
    for offset, length in ranges:
        write_all(fd, view[:length], offset)
        view = view[length:]


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
