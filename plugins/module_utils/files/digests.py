# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a file is: its checksum, and what tells whether it was touched."""

from __future__ import annotations

import errno
import hashlib
import os

from ..common.progress import silent

_CHUNK = 1 << 20   # bytes read at once
#: of a digest that is not sha256 of the file's bytes one after the other: see sparse_digest()
SPARSE_PREFIX = "sparse-sha256:"
_BLOCK = 64 << 10   # bytes


def _name(path):
    """A file's name for people, also where the path is that of a descriptor (/proc/PID/fd/N)."""
    return os.path.basename(os.path.realpath(path))


def sha256_file(path, progress=None):
    """(sha256 in hexadecimal, size in bytes) of a file, read once. Raises OSError."""
    progress = progress or silent()
    sums, size = hashlib.sha256(), 0
    with open(path, "rb") as file:
        progress.phase(f"checksum {_name(path)}", os.fstat(file.fileno()).st_size)
        while True:
            chunk = file.read(_CHUNK)
            if not chunk:
                break
            sums.update(chunk)
            size += len(chunk)
            progress.update(size)
    progress.finish()
    return sums.hexdigest(), size


def sparse_digest(path, progress=None):
    """Digest of a file of full length that is mostly zeros (raw, flat, fixed images), with a prefix that tells it from sha256's.

    It is sha256 over the number and content of each 64 KiB block that is not all zeros, and the size: a 15 GiB disk with
    0.5 GiB of data takes the time of 0.5 GiB. Where holes are does not matter, only content. Raises OSError.
    """
    progress = progress or silent()
    sums, zeros, offset = hashlib.sha256(), bytes(_BLOCK), 0
    with open(path, "rb", buffering=0) as file:
        fd = file.fileno()
        size = os.fstat(fd).st_size
        progress.phase(f"checksum {_name(path)}", size)
        while offset < size:
            try:
                offset = os.lseek(fd, offset, os.SEEK_DATA) // _BLOCK * _BLOCK
            except OSError as error:
                if error.errno == errno.ENXIO:   # only a hole is left
                    break
                raise
            chunk = memoryview(os.pread(fd, _CHUNK, offset))
            if not chunk:
                break
            for start in range(0, len(chunk), _BLOCK):
                block = chunk[start:start + _BLOCK]
                if block != zeros[:len(block)]:
                    sums.update(((offset + start) // _BLOCK).to_bytes(8, "big"))
                    sums.update(block)
            offset += len(chunk)
            progress.update(offset)
        sums.update(size.to_bytes(8, "big"))
    progress.finish()
    return SPARSE_PREFIX + sums.hexdigest()


def digest_file(path, like="", progress=None):
    """The digest of a file, of the kind that `like` (another digest) is. Raises OSError."""
    return sparse_digest(path, progress) if like.startswith(SPARSE_PREFIX) else sha256_file(path, progress)[0]


def stat_of(path):
    """What tells whether a file was touched. path: or a descriptor."""
    status = os.stat(path)
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "ctime_ns": status.st_ctime_ns, "inode": status.st_ino}


def same_content(before, after):
    """Whether a file of this stat was surely not written to. The change time moves also where a name of the file is replaced."""
    return all(before[name] == after[name] for name in ("size", "mtime_ns", "inode"))


def sync_file(path):
    """fsync: what was written is on the disk before its name is."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
