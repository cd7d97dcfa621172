# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How an artifact comes to its destination.

Everything is made in a staging folder beside the destination, `.<name>.<random>.ocne-staging`, whose
lock is held by whoever works there; publish() renames the finished file. So a destination
is either as it was or complete, and what a kill left behind is known by its free lock.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import glob
import os
import secrets
import shutil

from ..common.errors import from_os_error
from ..files.digests import stat_of, sync_file
from .lock import try_lock
from .record import load_record, write_record

_STAGING_SUFFIX = ".ocne-staging"


def sweep(dest):
    """Remove the staging folders of this destination whose owners are dead."""
    folder, name = os.path.split(dest)
    for old in glob.glob(os.path.join(glob.escape(folder), "." + glob.escape(name) + ".*" + _STAGING_SUFFIX)):
        try:
            fd = try_lock(os.path.join(old, "lock"))
        except OSError:
            continue   # another user's, or just being removed
        if fd is not None:
            shutil.rmtree(old, ignore_errors=True)
            os.close(fd)


@dataclasses.dataclass
class Staging:
    path: str
    lock: int              # descriptor: whoever inherits it keeps the folder alive


@contextlib.contextmanager
def staging_folder(dest):
    """A folder on the destination's file system, removed on leaving whatever happens. Raises ImageError."""
    folder, name = os.path.split(dest)
    sweep(dest)
    # qemu reads `proto:...` and options in file names: a path that is absolute and ours is neither
    path = os.path.join(folder, f".{name}.{secrets.token_hex(8)}{_STAGING_SUFFIX}")
    try:
        os.mkdir(path, 0o700)
        lock = try_lock(os.path.join(path, "lock"))
    except OSError as error:
        raise from_os_error(error, "making a staging folder beside the destination", folder) from error
    try:
        yield Staging(path, lock)
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def publish(artifact, dest, record, prepare=None):
    """Bring a staged artifact to `dest`, then write its record. Raises ImageError; `dest` is as it was in that case.

    prepare(path): sets owner, mode and labels of each file while it is still in the staging folder.
    """
    folder = os.path.dirname(dest)
    staged = os.path.dirname(artifact.path)
    old = load_record(dest)
    try:
        for name in artifact.extents + [os.path.basename(artifact.path)]:
            if prepare:
                prepare(os.path.join(staged, name))
            sync_file(os.path.join(staged, name))
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            # artifact and record of two runs must not be mixed
            fcntl.flock(fd, fcntl.LOCK_EX)
            for name in artifact.extents:
                os.replace(os.path.join(staged, name), os.path.join(folder, name))
            os.replace(artifact.path, dest)
            os.fsync(fd)
            record.stat = stat_of(dest)
            record.extents = [{"name": name, "sha256": values["sha256"], "stat": stat_of(os.path.join(folder, name))}
                              for name, values in zip(artifact.extents, artifact.values.get("extents", []))]
            write_record(dest, record)
            for extent in old.extents if old else []:
                if extent["name"] not in artifact.extents and "/" not in extent["name"]:
                    with contextlib.suppress(OSError):
                        os.unlink(os.path.join(folder, extent["name"]))
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise from_os_error(error, "publishing the image", dest) from error
