# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""gzip (RFC 1952) as a stream: written by all processors, read in small pieces."""

from __future__ import annotations

import collections
import concurrent.futures
import os
import struct
import zlib

#: bytes of a block that GzipWriter compresses by itself
BLOCK = 1 << 20
_THREADS_LIMIT = 16                   # of them: a block each, and another one ready, are in memory
_HEADER = b"\x1f\x8b\x08\0" + bytes(4) + b"\x04\xff"   # no name, no time, the fastest level, no system
_END = b"\x03\x00"                    # an empty last block of deflate
# Measured with one processor on a qcow2 of system files, and on the same with zlib clusters: level 1 makes 38 and 98 % of it at 68 and 39 MB/s, level 6
# 35 and 98 % at 20 and 34 MB/s. Storing what a sample shows to be compressed already makes 38 and 99 % of it, at 69 and 273 MB/s.
_LEVEL = 1
_SAMPLES, _SAMPLE = 16, 4 << 10       # pieces of a block that are tried first, and their bytes
_GAIN = 0.05                          # part of the sample that must be saved
_PIECE = 1 << 20                      # bytes of a piece that is read, at most
_SLICE = 128 << 10                    # bytes given to zlib at once


def _pays(block):
    """Whether a block is worth compressing."""
    if len(block) <= 2 * _SAMPLES * _SAMPLE:
        return True
    step = (len(block) - _SAMPLE) // (_SAMPLES - 1)
    sample = b"".join(block[start:start + _SAMPLE] for start in range(0, step * _SAMPLES, step))
    return len(zlib.compress(sample, _LEVEL)) <= (1 - _GAIN) * len(sample)


def _deflated(block):
    """A block as deflate (RFC 1951) that ends at a whole byte, so that another one can follow."""
    packer = zlib.compressobj(_LEVEL if _pays(block) else 0, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(block) + packer.flush(zlib.Z_SYNC_FLUSH)


class GzipWriter:
    """One member of gzip, of blocks that several threads compress. Used as a context; finish() ends the member.

    What it writes depends on the blocks alone, not on times or the number of processors.
    """

    def __init__(self, write):
        """write(data): takes the bytes of the file, in order."""
        self._write = write
        threads = min(_THREADS_LIMIT, len(os.sched_getaffinity(0)))
        self._pool, self._ahead = concurrent.futures.ThreadPoolExecutor(threads, "gzip"), 2 * threads
        self._waiting = collections.deque()
        self._sum = self._size = 0

    def __enter__(self):
        self._write(_HEADER)
        return self

    def __exit__(self, *exc_info):
        self._pool.shutdown(cancel_futures=True)

    def add(self, block):
        """The next block, best of BLOCK bytes; it must not change afterwards."""
        self._sum, self._size = zlib.crc32(block, self._sum), self._size + len(block)
        self._waiting.append(self._pool.submit(_deflated, block))
        self._drain(self._ahead)

    def finish(self):
        """Nothing follows."""
        self._drain(0)
        self._write(_END + struct.pack("<II", self._sum, self._size & 0xffffffff))

    def _drain(self, most):
        while len(self._waiting) > most:
            self._write(self._waiting.popleft().result())


# --- reading -----------------------------------------------------------------------------------------


def _slices(pieces):
    """Small ones: what a call leaves over is copied."""
    for piece in pieces:
        view = memoryview(piece)
        for start in range(0, len(view), _SLICE):
            yield view[start:start + _SLICE]


def gunzipped(pieces, refuse):
    """The content, in pieces of at most 1 MiB, of gzip, also of several members one after the other (as pigz, stargz and zstd:chunked's kin write).

    refuse(why): makes the exception that is raised where it is not sound, or cut off.
    """
    member, waiting = zlib.decompressobj(31), False     # waiting: between two members
    for data in _slices(pieces):
        while data:
            if waiting:
                data = bytes(data).lstrip(b"\0")        # padding, as gzip(1) ignores it
                if not data:
                    break
                member, waiting = zlib.decompressobj(31), False
            try:
                # in pieces: a small bomb must not become a large buffer
                plain = member.decompress(data, _PIECE)
            except zlib.error as error:
                raise refuse(str(error).lower()) from error
            if plain:
                yield plain
            if member.eof:
                data, waiting = member.unused_data, True
            else:
                data = member.unconsumed_tail
    while not waiting:
        # what the decompressor still holds
        plain = member.decompress(b"", _PIECE)
        if member.eof:
            waiting = True
        elif not plain:
            raise refuse("it is cut off")
        if plain:
            yield plain
