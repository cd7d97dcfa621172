# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Stages of work on a stream of pieces: each in its own thread, few pieces apart, so that memory stays small.

zlib, hashlib, read and write let other threads run meanwhile.
"""

from __future__ import annotations

import contextlib
import queue
import subprocess
import threading

from ...common import advice, process
from ...common.errors import ImageError
from ...files.gzip_stream import gunzipped

_DEPTH = 8                 # pieces between two stages
_PIECE = 1 << 20           # bytes of a piece
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_SKIPPABLE = tuple(bytes((number, 0x2a, 0x4d, 0x18)) for number in range(0x50, 0x60))   # zstd frames without data
_END = object()


def ahead(pieces):
    """The same pieces, made by a thread of their own, at most _DEPTH ahead of their reader; its exceptions come along."""
    items, stopped = queue.Queue(_DEPTH), threading.Event()

    def put(item):
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                items.put(item, timeout=0.2)
                return True
        return False

    def work():
        try:
            for piece in pieces:
                if not put(piece):
                    break
            else:
                put(_END)
        except BaseException as error:   # pylint: disable=broad-exception-caught
            put(error)
        finally:
            with contextlib.suppress(Exception):
                pieces.close()

    def read():
        # a thread that waits for its own source ends when that is closed; nobody waits for it here
        threading.Thread(target=work, daemon=True, name="stage").start()
        try:
            while True:
                item = items.get()
                if item is _END:
                    return
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stopped.set()
    return read()


def hashed(pieces, sums, count=None):
    """The same pieces, added to the hash object `sums` on their way; count(bytes) is told of each."""
    for piece in pieces:
        sums.update(piece)
        if count:
            count(len(piece))
        yield piece


def decompressed(pieces, where):
    """The plain content of a layer: gzip, zstd or none, as its first bytes say (media types are wrong too often).

    Call it in the main thread: zstd is a child process. Raises ImageError.
    """
    pieces = iter(pieces)
    first = b""
    while len(first) < 4:
        piece = next(pieces, None)
        if piece is None:
            break
        first += piece
    pieces = _chain(first, pieces)
    if first[:2] == _GZIP:
        return gunzipped(pieces, lambda why: _broken("gzip", why, where))
    if first[:4] == _ZSTD or first[:4] in _SKIPPABLE:
        return _unzstd(pieces, where)
    return pieces


def _chain(first, pieces):
    yield first
    yield from pieces


def _broken(kind, why, where):
    return ImageError(f"a layer is not sound {kind}: {why}", where,
                      advice.PULL_AGAIN)


def _unzstd(pieces, where):
    """zstd, by its program. Its window has a limit of its own (128 MiB)."""
    child = process.start(["zstd", "-q", "-d", "-c"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def read():
        fault = []

        def pump():
            try:
                for piece in pieces:
                    child.stdin.write(piece)
                child.stdin.close()
            except (BrokenPipeError, ValueError):
                pass       # zstd has ended: its status tells why
            except BaseException as error:   # pylint: disable=broad-exception-caught
                fault.append(error)
                child.kill()
        feeder = threading.Thread(target=pump, daemon=True, name="zstd-feeder")
        feeder.start()
        try:
            while True:
                plain = child.stdout.read1(_PIECE)
                if not plain:
                    break
                yield plain
            feeder.join()
            status = child.wait()
            if fault:
                raise fault[0]
            if status:
                words = child.stderr.read().decode("utf-8", "replace").strip()
                raise _broken("zstd", words.rpartition(": ")[2] or f"exit status {status}", where)
        finally:
            child.kill()
            child.wait()
    return read()
