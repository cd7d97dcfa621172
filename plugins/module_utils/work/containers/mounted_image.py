# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One file out of a container image that somebody has mounted, such as a cluster's image volume. The image is foreign: no link is followed."""

from __future__ import annotations

import os
import stat

from ...common import advice
from ...common.errors import ImageError, from_os_error
from .disk_writer import Output
from .pipeline import ahead

_PIECE = 1 << 20           # bytes read at once


def take(mount, wanted, path, where, progress):
    """Copy the file `wanted` below the folder `mount` to `path`, fsynced. Returns (sha256, bytes). Raises ImageError."""
    try:
        fd = _opened(mount, wanted)
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise ImageError(f"{wanted} in the image is not a plain file", where, advice.NAME_PATH)
            progress.phase("copy the disk out of the image", found.st_size)
            with Output(path, found.st_size, where) as output:
                output.write(ahead(_pieces(fd, progress)))
            progress.finish()
            return output.sha256, output.size
        finally:
            os.close(fd)
    except OSError as error:
        raise from_os_error(error, f"reading {wanted} in the image", where) from error


def _opened(mount, wanted):
    folder = os.open(mount, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        *parents, name = wanted.split("/")
        for parent in parents:
            below = os.open(parent, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            os.close(folder)
            folder = below
        # a pipe in its place must not be waited for
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    finally:
        os.close(folder)


def _pieces(fd, progress):
    done = 0
    while True:
        piece = os.read(fd, _PIECE)
        if not piece:
            return
        yield piece
        done += len(piece)
        progress.update(done)
