# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files of an image, and safe ways along its paths.

Every function takes a launched libguestfs handle. The image is hostile: sizes and numbers have limits, and paths are
walked one component at a time, so that no symbolic link leads where the booted system would not go.
"""

from __future__ import annotations

import posixpath
import stat

from ...common import advice
from ...common.errors import ImageError
from .appliance import guest_error

_MAX_FOLDER = 1 << 20       # bytes a folder itself may have: some ten thousand names
_MAX_LINKS = 40             # symbolic links on one way, as Linux has it
_MESSAGE = 2 << 20          # bytes; libguestfs takes less than 4 MiB in one message


# --- single files ------------------------------------------------------------------------------------


def lstat(g, path):
    """lstat of a path whose folders are no symbolic links, or None where there is nothing."""
    try:
        return g.lstatns(path)
    except RuntimeError as error:
        # the binding gives no errno
        if str(error).endswith(("No such file or directory", "Not a directory")):
            return None
        raise guest_error(error, "reading the image", path) from error


def _kind(status, test):
    return status is not None and test(status["st_mode"])


def is_folder(status):
    return _kind(status, stat.S_ISDIR)


def is_link(status):
    return _kind(status, stat.S_ISLNK)


def is_file(status):
    return _kind(status, stat.S_ISREG)


def read_small(g, path, limit, what):
    """The bytes of a regular file that may have `limit` of them. Raises ImageError for anything else."""
    status = lstat(g, path)
    if not is_file(status):
        raise ImageError(f"{what} is {'missing' if status is None else 'not a regular file'}", path)
    if status["st_size"] > limit:
        raise ImageError(f"{what} has {status['st_size']} bytes, and at most {limit} are accepted", path,
                         advice.HARMFUL, size=status["st_size"], limit=limit)
    try:
        return read_range(g, path, 0, status["st_size"])
    except RuntimeError as error:
        raise guest_error(error, f"reading {what}", path) from error


def read_range(g, path, offset, count):
    """`count` bytes of a file, in messages that the protocol takes (read_file() costs far more). Raises RuntimeError."""
    pieces = []
    while count > 0:
        piece = g.pread(path, min(count, _MESSAGE), offset)
        if not piece:
            break
        pieces.append(piece)
        offset, count = offset + len(piece), count - len(piece)
    return b"".join(pieces)


def names(g, path):
    """The sorted names in a folder. Raises ImageError where there are absurdly many."""
    status = lstat(g, path)
    if not is_folder(status):
        raise ImageError("there is no such folder in the image", path)
    if status["st_size"] > _MAX_FOLDER:
        raise ImageError("the folder holds too many files", path, advice.HARMFUL)
    try:
        return sorted(g.ls(path))
    except RuntimeError as error:
        raise guest_error(error, "listing a folder of the image", path) from error


# --- paths as the booted system has them --------------------------------------------------------------


class View:
    """The files of an image at the paths they have in the booted system.

    mounts: {path in the booted system: path in the appliance}, with "/" in it. Links are followed as the
    booted system would follow them; `..` does not lead above its root.
    """

    def __init__(self, g, mounts):
        self._g = g
        self._mounts = sorted(mounts.items(), key=lambda item: len(item[0]), reverse=True)
        self._known = {}

    def real(self, path):
        """Where an absolute path without links is in the appliance."""
        for prefix, base in self._mounts:
            if prefix == "/" or path == prefix or path.startswith(prefix + "/"):
                return posixpath.normpath(base + "/" + (path if prefix == "/" else path[len(prefix):]))
        raise ImageError("this path is in no file system of the image", path)

    def lstat(self, path):
        if path not in self._known:
            self._known[path] = lstat(self._g, self.real(path))
        return self._known[path]

    def forget(self):
        """Something was written: what is known of the paths may be wrong now."""
        self._known.clear()

    def resolve(self, path, follow=True):
        """The path with all symbolic links resolved, but for the last component's where not `follow`.

        What does not exist (yet) is kept as it is written. Raises ImageError for loops and for a file where a folder must be.
        """
        todo = [part for part in path.split("/") if part not in ("", ".")][::-1]
        done, links = [], 0
        while todo:
            part = todo.pop()
            if part == "..":
                if done:
                    done.pop()
                continue
            here = "/" + "/".join([*done, part])
            status = self.lstat(here)
            if is_link(status) and (todo or follow):
                links += 1
                if links > _MAX_LINKS:
                    raise ImageError("too many symbolic links, or a loop of them, in the image", path)
                target = self._readlink(here)
                if target.startswith("/"):
                    done = []
                todo += [piece for piece in target.split("/") if piece not in ("", ".")][::-1]
                continue
            if todo and status is not None and not is_folder(status):
                raise ImageError("a file is in the way where a folder should be", here)
            done.append(part)
        return "/" + "/".join(done)

    def _readlink(self, path):
        try:
            return self._g.readlink(self.real(path))
        except RuntimeError as error:
            raise guest_error(error, "reading a symbolic link of the image", path) from error
