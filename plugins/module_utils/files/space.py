# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Free space, of a file system and of the workspace of a builder pod."""

from __future__ import annotations

import contextlib
import os

from ..common import advice
from ..common.errors import ImageError

#: environment variable of a builder pod, "BYTES FOLDER": what its workspace may hold. The cluster evicts a pod with more
LIMIT_VARIABLE = "OCNE_IMAGES_LIMIT"


def free_space(folder, reserved=False):
    """Bytes that can still be written to a folder: of its file system, and of the workspace of a builder pod where it is in that.

    reserved: with the blocks that only root may use.
    """
    free, (limit, root) = _free_on_disk(folder, reserved), _limit_of(folder)
    return free if limit is None else max(0, min(free, limit - _taken(root)))


def _free_on_disk(folder, reserved=False):
    status = os.statvfs(folder)
    return (status.f_bfree if reserved else status.f_bavail) * status.f_frsize


def _limit_of(folder):
    limit, _space, root = os.environ.get(LIMIT_VARIABLE, "").partition(" ")
    return (int(limit), root) if limit and os.path.realpath(folder).startswith(root) else (None, None)


def _taken(root):
    """Bytes that a folder takes, a file of several names once."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            with contextlib.suppress(FileNotFoundError):
                status = os.lstat(os.path.join(folder, name))
                found[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(found.values())


def check_space(folder, needed, what):
    """ImageError where a folder has less than `needed` bytes free for this user."""
    free, limit = free_space(folder), _limit_of(folder)[0]
    if free >= needed:
        return
    if limit is not None and needed <= _free_on_disk(folder):
        raise ImageError(f"{what} needs {needed} bytes, and of the {limit} of the builder's workspace {free} are free", None,
                         advice.LARGER_WORKSPACE, needed_bytes=needed, free_bytes=free, limit_bytes=limit)
    raise ImageError(f"{what} needs {needed} bytes and {free} are free", folder,
                     advice.FREE_SPACE,
                     needed_bytes=needed, free_bytes=free)
