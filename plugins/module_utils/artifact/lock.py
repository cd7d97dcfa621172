# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A file's lock, which tells whether whoever works on something still lives: it ends with the process that holds it."""

from __future__ import annotations

import fcntl
import os


def try_lock(path):
    """A descriptor that holds the lock of a file (made where it is missing, mode 0600), None where another one holds it. Raises OSError."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return fd
    except OSError:
        os.close(fd)
        return None
