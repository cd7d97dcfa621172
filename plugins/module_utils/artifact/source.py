# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an artifact is made from: a file that is held open while it is read, or a name in the workspace of a builder pod."""

from __future__ import annotations

import os

from ..common.errors import from_os_error
from ..files.digests import SPARSE_PREFIX, digest_file, same_content, stat_of
from .record import examine


class HeldOpen:
    """A file held open: one that takes its name meanwhile is not read, and this one stays.

    For as long as this process lives, `read_path` is its path for any program of this user.
    """

    def __init__(self, path):
        self.path = path
        self._file = open(path, "rb")   # noqa: SIM115  pylint: disable=consider-using-with
        self.read_path = f"/proc/{os.getpid()}/fd/{self._file.fileno()}"
        self.stat = stat_of(self._file.fileno())


class WorkspaceSource:
    """A source in the workspace of a builder pod, as its record tells it."""

    read_path = None

    def __init__(self, path, record):
        self.path, self.record = path, record
        self.stat = {"sha256": record.sha256}


def identity(path, progress=None, verify=False, sparse=False, read_path=None):
    """Digest of a source file: from the record at `path` where that is true of it, else by reading it. Raises ImageError.

    sparse: by sparse_digest() in the latter case. read_path: where the file is read (HeldOpen).
    """
    try:
        record = _record(path, verify, progress, read_path)
        # another file may have taken its name, and then the record is that one's
        if record and (read_path is None or same_content(stat_of(path), stat_of(read_path))):
            return record.sha256
        return digest_file(read_path or path, SPARSE_PREFIX if sparse else "", progress)
    except OSError as error:
        raise from_os_error(error, "reading the source image", path) from error


def _record(path, verify, progress, read_path):
    try:
        return examine(path, verify, progress, readonly=True)[0]
    except OSError:
        # in a builder pod it is the path of another host, and here may lead to where this user must not look
        if read_path is None:
            raise
        return None
