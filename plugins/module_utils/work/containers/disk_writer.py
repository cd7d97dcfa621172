# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A disk that is written front to back."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading

from ...common.errors import from_os_error
from ...files import space

_SYNC_EVERY = 64 << 20     # bytes after which what was written is brought to the disk, while work goes on


class Output:
    """The file being written: hashed, synced while it grows. Then sha256 and size (bytes)."""

    def __init__(self, path, size, where):
        self.path, self._where = path, where
        self._sums, self.size = hashlib.sha256(), 0
        self._synced, self._syncing = 0, None
        # what an earlier try left is gone before space is counted
        self._file = open(path, "wb", buffering=0)   # pylint: disable=consider-using-with
        try:
            space.check_space(os.path.dirname(path), size, "the disk in the image")
        except BaseException:
            self._file.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        if self._syncing:
            self._syncing.join()
        self._file.close()

    def write(self, pieces):
        try:
            for piece in pieces:
                self._sums.update(piece)
                view = memoryview(piece)
                while view:
                    view = view[self._file.write(view):]
                self.size += len(piece)
                if self.size - self._synced >= _SYNC_EVERY and not (self._syncing and self._syncing.is_alive()):
                    self._synced = self.size
                    self._syncing = threading.Thread(target=self._sync, daemon=True, name="sync")
                    self._syncing.start()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise from_os_error(error, "writing the disk out of the image", os.path.dirname(self.path)) from error

    def _sync(self):
        with contextlib.suppress(OSError):   # the last one, in the main thread, tells
            os.fdatasync(self._file.fileno())

    @property
    def sha256(self):
        return self._sums.hexdigest()
