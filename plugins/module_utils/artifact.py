# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Recipes, records, checksums, and how an artifact comes to its destination.

Everything is made in a staging folder beside the destination, `.<name>.<random>.ocne-staging`, whose
lock is held by whoever works there; publish() renames the finished file. So a destination
is either as it was or complete, and what a kill left behind is known by its free lock.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import glob
import hashlib
import json
import os
import secrets
import shutil

from .common.errors import ImageError, from_os_error
from .common.progress import silent

RECORD_SUFFIX = ".record.json"
#: raised when the meaning of a record changes: older ones then count as absent
RECORD_VERSION = 1
_STAGING_SUFFIX = ".ocne-staging"
_CHUNK = 1 << 20   # bytes read at once
#: environment variable of a builder pod, "BYTES FOLDER": what its workspace may hold. The cluster evicts a pod with more
LIMIT_VARIABLE = "OCNE_IMAGES_LIMIT"
#: of a digest that is not sha256 of the file's bytes one after the other: see sparse_digest()
SPARSE_PREFIX = "sparse-sha256:"
_BLOCK = 64 << 10   # bytes


def canonical(value):
    """One text for one meaning: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def digest_of(value):
    """sha256 of the canonical form, hexadecimal."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def text_digest(data):
    """sha256 of bytes or text, hexadecimal: what a record keeps in place of a content that may be secret."""
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def sha256_file(path, progress=None):
    """(sha256 in hexadecimal, size in bytes) of a file, read once. Raises OSError."""
    progress = progress or silent()
    sums, size = hashlib.sha256(), 0
    with open(path, "rb") as file:
        progress.phase(f"checksum {os.path.basename(path)}", os.fstat(file.fileno()).st_size)
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
        progress.phase(f"checksum {os.path.basename(path)}", size)
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


@dataclasses.dataclass
class Record:
    """What is known of an artifact without opening it. Never holds a secret."""

    kind: str              # which module made it
    source: dict           # what it was made from: digests, reference
    options: dict          # canonical options; contents that may be secret as their digests
    sha256: str
    format: str
    virtual_size: int      # bytes
    values: dict           # what the module returned about it
    stat: dict = dataclasses.field(default_factory=dict)      # size, mtime_ns, ctime_ns, inode
    extents: list = dataclasses.field(default_factory=list)   # [{name, sha256, size, ...}] further files beside it
    access: dict = dataclasses.field(default_factory=dict)    # how its source's registry is reached: files and flags; no part of the recipe
    version: int = RECORD_VERSION

    @property
    def recipe(self):
        """One digest over all that decides the content."""
        return digest_of({"kind": self.kind, "source": self.source, "options": self.options})

    def dump(self):
        return dict(dataclasses.asdict(self), recipe=self.recipe)


def record_path(path):
    return path + RECORD_SUFFIX


def load_record(path):
    """The record beside `path`, or None where there is none that we understand."""
    try:
        with open(record_path(path), encoding="utf-8") as file:
            return parse_record(file.read())
    except (OSError, ValueError):
        return None


def parse_record(text):
    """The Record that a text is, or None where it is none that we understand."""
    try:
        data = json.loads(text)
        recipe = data.pop("recipe")
        record = Record(**data)
        return record if record.version == RECORD_VERSION and record.recipe == recipe else None
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def record_text(record):
    return json.dumps(record.dump(), indent=2, sort_keys=True) + "\n"


def examine(path, verify=False, progress=None, readonly=False):
    """(record, why): the record that is true of the file at `path`, or None and the reason.

    Opens the file only where its stat differs from the record's, or with verify. A file that was touched but has
    the same content gets its record brought up to date, except with readonly (check mode).
    """
    try:
        now = stat_of(path)
    except FileNotFoundError:
        return None, "it does not exist"
    record = load_record(path)
    if record is None:
        return None, "it has no record"
    folder = os.path.dirname(path)
    for extent in record.extents:
        try:
            same = stat_of(os.path.join(folder, extent["name"]))
        except FileNotFoundError:
            return None, f"its extent {extent['name']} does not exist"
        if (verify or same != extent["stat"]) and digest_file(os.path.join(folder, extent["name"]), extent["sha256"], progress) != extent["sha256"]:
            return None, f"its extent {extent['name']} was changed"
    if verify or now != record.stat:
        if now["size"] != record.stat.get("size") or digest_file(path, record.sha256, progress) != record.sha256:
            return None, "its content is not what its record says"
        if now != record.stat and not readonly:
            record.stat = now
            with contextlib.suppress(OSError):   # the next run hashes again, no more
                write_record(path, record)
    return record, None


class Pinned:
    """A file held open: one that takes its name meanwhile is not read, and this one stays.

    For as long as this process lives, `opened` is its path for any program of this user.
    """

    def __init__(self, path):
        self.path = path
        self._file = open(path, "rb")   # noqa: SIM115  pylint: disable=consider-using-with
        self.opened = f"/proc/{os.getpid()}/fd/{self._file.fileno()}"
        self.stat = stat_of(self._file.fileno())


class Kept:
    """A source in the workspace of a builder pod, as its record tells it."""

    opened = None

    def __init__(self, path, record):
        self.path, self.record = path, record
        self.stat = {"sha256": record.sha256}


def same_content(before, after):
    """Whether a file of this stat was surely not written to. The change time moves also where a name of the file is replaced."""
    return all(before[name] == after[name] for name in ("size", "mtime_ns", "inode"))


def identity(path, progress=None, verify=False, sparse=False, opened=None):
    """Digest of a source file: from the record at `path` where that is true of it, else by reading it. Raises ImageError.

    sparse: by sparse_digest() in the latter case. opened: where the file is read (Pinned).
    """
    try:
        record = examine(path, verify, progress, readonly=True)[0]
        # another file may have taken its name, and then the record is that one's
        if record and (opened is None or same_content(stat_of(path), stat_of(opened))):
            return record.sha256
        return digest_file(opened or path, SPARSE_PREFIX if sparse else "", progress)
    except OSError as error:
        raise from_os_error(error, "reading the source image", path) from error


def write_record(path, record):
    """Write the record of the file at `path`, atomically."""
    folder, name = os.path.split(record_path(path))
    temporary = os.path.join(folder, f".{name}.{secrets.token_hex(6)}")
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(record_text(record))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, record_path(path))
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def sync_file(path):
    """fsync: what was written is on the disk before its name is."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _lock(path):
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return fd
    except OSError:
        os.close(fd)
        return None


def sweep(dest):
    """Remove the staging folders of this destination whose owners are dead."""
    folder, name = os.path.split(dest)
    for old in glob.glob(os.path.join(glob.escape(folder), "." + glob.escape(name) + ".*" + _STAGING_SUFFIX)):
        try:
            fd = _lock(os.path.join(old, "lock"))
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
        lock = _lock(os.path.join(path, "lock"))
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
                         "make the builder with a larger workspace", needed_bytes=needed, free_bytes=free, limit_bytes=limit)
    raise ImageError(f"{what} needs {needed} bytes and {free} are free", folder,
                     "free some space there, or choose a destination on a larger file system",
                     needed_bytes=needed, free_bytes=free)
