# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one error type of the collection: what went wrong, where, and what to do. And a stop, which is none."""

from __future__ import annotations

import errno

from . import advice


class ImageError(Exception):
    """A foreseeable fault, told in one sentence.

    what: the fault, without a full stop ("the image has a backing file").
    where: the file, reference or host it concerns.
    todo: what the reader can do about it.
    details: JSON-able facts for programs (exit status, stderr, sizes in bytes); never a secret.
    """

    def __init__(self, what, where=None, todo=None, **details):
        self.what, self.where, self.todo, self.details = what, where, todo, details
        super().__init__(str(self))

    def __str__(self):
        text = f"{self.where}: {self.what}" if self.where else self.what
        if self.todo:
            text += f"; {self.todo}"
        return text.rstrip(".") + "."

    def as_dict(self):
        return {"what": self.what, "where": self.where, "todo": self.todo, "details": self.details}

    @classmethod
    def from_dict(cls, data):
        return cls(data["what"], data.get("where"), data.get("todo"), **(data.get("details") or {}))


class Interrupted(BaseException):
    """The caller has gone, or asked us to stop (SIGINT, SIGTERM, SIGHUP, lost standard output).

    As KeyboardInterrupt it is no Exception: whoever goes on after a fault does not go on after this. The ends of a program catch it by name.
    """

    def __init__(self, why):
        self._told = ImageError(f"stopped: {why}", todo="nothing half done is at the destination; run the task again", stopped=why)
        super().__init__(str(self._told))

    def as_dict(self):
        return self._told.as_dict()


def from_wire(data):
    """The ImageError or Interrupted whose as_dict() a program told."""
    stopped = (data.get("details") or {}).get("stopped")
    return Interrupted(stopped) if stopped else ImageError.from_dict(data)


_OS_TODO = {
    errno.ENOSPC: advice.FREE_SPACE,
    errno.EDQUOT: "the disk quota of this user is used up: free some space, or choose another destination",
    errno.EACCES: advice.GIVE_ACCESS,
    errno.EPERM: advice.GIVE_ACCESS,
    errno.EROFS: "choose a destination on a writable file system",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path",
    errno.EISDIR: "name a file, not a folder",
    errno.EFBIG: "the file system or a ulimit does not allow a file of this size",
}


def from_os_error(error, doing, where=None):
    """An OSError as an ImageError. doing: what was being done ("writing the image")."""
    path = where or (error.filename if isinstance(error.filename, str) else None)
    reason = "no space left on device" if error.errno == errno.ENOSPC else (error.strerror or str(error)).lower()
    return ImageError(f"{doing} failed: {reason}", path, _OS_TODO.get(error.errno), errno=errno.errorcode.get(error.errno))
