# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A file that goes away in numbered parts, read by several threads as it is sent: no part is ever in memory as a whole."""

from __future__ import annotations

import base64
import hashlib
import os

from ..common import advice
from ..common.errors import ImageError, from_os_error

_PIECE = 256 << 10      # bytes that are read at once


class Parts:
    """One open file; parts are counted from 1, and all but the last have part_size bytes. Close it.

    path: where it is read. where: how it is named in errors. check(): called before each reading, may raise to end it.
    Raises ImageError, also for an empty file.
    """

    def __init__(self, path, where=None, part_size=None, check=lambda: None):
        self._where, self._check, self.part_size = where or path, check, part_size
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise from_os_error(error, "reading the file to upload", self._where) from error
        self._stamp = self._look()
        #: bytes of the whole
        self.size = self._stamp[0]
        if not self.size:
            self.close()
            raise ImageError("the file is empty", self._where, advice.CHECK_PATH)

    def close(self):
        os.close(self._fd)

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()

    @property
    def count(self):
        return -(-self.size // self.part_size)

    @property
    def numbers(self):
        """Of all parts, in their order."""
        return range(1, self.count + 1)

    def span(self, number):
        """(offset, bytes) of a part."""
        offset = (number - 1) * self.part_size
        return offset, min(self.part_size, self.size - offset)

    def _look(self):
        about = os.fstat(self._fd)
        return about.st_size, about.st_mtime_ns

    def must_be_unchanged(self):
        """Raises ImageError where the file was written to since it was opened."""
        if self._look() != self._stamp:
            raise self._changed()

    def _changed(self):
        return ImageError("the file changed while it was sent", self._where, advice.RUN_AGAIN_UNDISTURBED)

    # --- bytes ---------------------------------------------------------------------------------------

    def _read(self, offset, buffer):
        """Fill a buffer from the file, or some of it; how many bytes."""
        self._check()
        try:
            count = os.preadv(self._fd, [buffer], offset)
        except OSError as error:
            raise from_os_error(error, "reading the file to upload", self._where) from error
        if not count:
            raise ImageError("the file became shorter while it was sent", self._where, advice.RUN_AGAIN_UNDISTURBED)
        return count

    def pieces(self, number):
        """The bytes of a part, in pieces that are good until the next one. Raises ImageError."""
        offset, left = self.span(number)
        buffer = memoryview(bytearray(min(_PIECE, left)))
        while left:
            count = self._read(offset, buffer[:min(left, len(buffer))])
            offset, left = offset + count, left - count
            yield buffer[:count]

    def md5(self, number):
        """The MD5 of a part, base64. It is read once more to be sent, from memory mostly. Raises ImageError."""
        made = hashlib.md5(usedforsecurity=False)
        for piece in self.pieces(number):
            made.update(piece)
        return base64.b64encode(made.digest()).decode()

    def must_have(self, number, md5):
        """Raises ImageError where a part has another MD5 by now."""
        if self.md5(number) != md5:
            raise self._changed()
