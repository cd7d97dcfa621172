# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The file in which a module tells how far it is, and the action plugin reads it."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import json
import os

from ..common.progress import PROGRESS_VARIABLE


class ProgressFile:
    """The file that the action plugin reads progress from; without one, a hole."""

    def __init__(self):
        self._file, self._made = None, False
        self._path = os.environ.pop(PROGRESS_VARIABLE, None)

    def __enter__(self):
        if self._path:
            with contextlib.suppress(OSError):
                self._sweep()
                fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
                self._made = True
                fcntl.flock(fd, fcntl.LOCK_EX)
                # with become the reader is another user; percentages are no secret
                os.fchmod(fd, 0o644)
                self._file = os.fdopen(fd, "w", encoding="utf-8")
        return self

    def _sweep(self):
        """Remove what killed runs of this user have left: its lock is free."""
        stem = self._path.rpartition("-")[0]
        for old in glob.glob(glob.escape(stem) + "-*"):
            with contextlib.suppress(OSError):
                fd = os.open(old, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(old)
                finally:
                    os.close(fd)

    def emit(self, event):
        if self._file:
            try:
                self._file.write(json.dumps(event) + "\n")
                self._file.flush()
            except OSError:   # a full /tmp must not end the work
                with contextlib.suppress(OSError):
                    self._file.close()
                self._file = None

    def __exit__(self, *exc_info):
        if self._file:
            with contextlib.suppress(OSError):
                self._file.close()
        if self._made:
            with contextlib.suppress(OSError):
                os.unlink(self._path)
