# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Copies of images on the file systems of one machine."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os

from ..common.errors import from_os_error
from . import extents

_FICLONE = 0x40049409          # linux/fs.h, on all but a few architectures
_CHUNK = 8 << 20               # bytes copied at once


def copy(source, target, progress):
    """A copy with the same holes: shared blocks where the file system has them, else copied inside the kernel where it can. Raises ImageError."""
    try:
        with open(source, "rb", buffering=0) as read, open(target, "xb", buffering=0) as write:
            os.fchmod(write.fileno(), 0o600)
            size = os.fstat(read.fileno()).st_size
            progress.phase("copy image", size)
            with contextlib.suppress(OSError):
                fcntl.ioctl(write.fileno(), _FICLONE, read.fileno())
                progress.finish()
                return
            os.truncate(write.fileno(), size)
            offset = 0
            while offset < size:
                try:
                    offset = os.lseek(read.fileno(), offset, os.SEEK_DATA)
                    hole = os.lseek(read.fileno(), offset, os.SEEK_HOLE)
                except OSError as error:
                    if error.errno == errno.ENXIO:   # only a hole is left
                        break
                    raise
                while offset < hole:
                    offset += _copy_range(read.fileno(), write.fileno(), offset, min(_CHUNK, hole - offset))
                    progress.update(offset)
            progress.finish()
    except OSError as error:
        raise from_os_error(error, "copying the source image", target) from error


def _copy_range(read, write, offset, count):
    try:
        done = os.copy_file_range(read, write, count, offset, offset)
        if done:
            return done
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM):
            raise
    data = os.pread(read, count, offset)
    if not data:
        raise OSError(errno.EIO, "the file became shorter")
    extents.write_all(write, data, offset)
    return len(data)
