# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The files of a builder pod's workspace: what came in by chunks, what goes out by ranges.

<workspace>/files/NAME is a file; what is still arriving is a hidden part beside it, one for each name and digest, so that two
pushes never mix and a push whose controller died goes on. Nothing is fsynced: the workspace does not outlive the pod.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import threading
import time

from ..common.background import Background
from ..files import digests, space
from ..files.extents import BLOCK, RangeSet, append, changes, read_ranges, write_all
from ..files.running_digest import FollowingDigest
from . import content_coding
from .protocol import LARGEST, Refusal

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")
_DIGEST = re.compile(f"({re.escape(digests.SPARSE_PREFIX)})?[0-9a-f]{{64}}")
_PAGE_SECONDS, _PAGE_RANGES = 0.1, 4096    # of one answer of changes()


class _Part:
    """One file that is arriving. What was written once is not written again, so that its digest can follow."""

    def __init__(self, path, size, digest):
        self.path, self.size, self.digest = path, size, digest
        self.lock = threading.Lock()
        self.have = RangeSet()
        self.check = None        # Background, once all has come
        self.checked = threading.Event()
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(self._fd, size)
        except BaseException:
            os.close(self._fd)
            os.unlink(path)
            raise
        self._following = None if digest.startswith(digests.SPARSE_PREFIX) else FollowingDigest(self._fd)

    def write(self, ranges, data, settled):
        with self.lock:
            if self._fd is None or self.check:
                raise Refusal(409, "the file is complete already, or was removed")
            view = memoryview(data)
            for offset, length in ranges:
                self._write(offset, view[:length])
                view = view[length:]
            if self._following:
                self._following.settle(min(settled, self.size))

    def _write(self, offset, view):
        # block by block where some have come already: by a request whose connection, or controller, was lost
        step = BLOCK if self.have.touches(offset, len(view)) else len(view)
        for start in range(0, len(view), step):
            piece = view[start:start + step]
            if not self.have.holds(offset + start, len(piece)):
                write_all(self._fd, piece, offset + start)
                self.have.add(offset + start, len(piece))

    def digest_now(self):
        """Of all of it, as it is. Raises OSError."""
        return self._following.finish(self.size) if self._following else digests.digest_file(self.path, self.digest)

    def close(self):
        with self.lock:
            if self._fd is not None:
                if self._following:
                    self._following.abandon()
                os.close(self._fd)
                self._fd = None


class Files:
    """What requests do with files. Each method raises Refusal, ImageError or OSError."""

    def __init__(self, workspace):
        self.workspace = os.path.realpath(workspace)
        self._folder = os.path.join(self.workspace, "files")
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        self._lock = threading.Lock()
        self._parts = {}      # (name, digest) -> _Part
        self._known = {}      # name -> (digest, stat)

    # --- names ---------------------------------------------------------------------------------------

    def _own(self, name):
        """The path of a file of the folder."""
        if not _NAME.fullmatch(name):
            raise Refusal(400, "a name has 1 to 200 of the characters A-Z a-z 0-9 . _ - and no dot first", name[:250])
        return os.path.join(self._folder, name)

    def path_of(self, name):
        """The path of NAME, or of jobs/ID/FILE (a file of that job's staging folder); it need not exist."""
        kind, slash, rest = name.partition("/")
        if not slash:
            return self._own(name)
        job, _slash, below = rest.partition("/")
        parts = below.split("/")
        if kind != "jobs" or not _NAME.fullmatch(job) or any(part in ("", ".", "..") or "\0" in part for part in parts):
            raise Refusal(400, "a file is named NAME or jobs/ID/FILE", name[:250])
        return os.path.join(self.workspace, "jobs", job, "staging", *parts)

    def _open(self, name):
        """Descriptor of an existing regular file that is where its name says."""
        path = self.path_of(name)
        try:
            # no symbolic link leads anywhere; opening a named pipe does not wait
            if os.path.realpath(path) != path:
                raise Refusal(400, "the file is behind a symbolic link", name)
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            raise Refusal(404, "there is no such file in the builder", name) from None
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise Refusal(400, "that is not a file", name)
        return fd

    @contextlib.contextmanager
    def _opened(self, name):
        fd = self._open(name)
        try:
            yield fd
        finally:
            os.close(fd)

    def listing(self):
        """({name: size in bytes}, {name: bytes that it takes on the disk}): a raw disk is mostly holes"""
        sizes, allocated = {}, {}
        for entry in os.scandir(self._folder):
            with contextlib.suppress(FileNotFoundError):
                if _NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    status = entry.stat()
                    sizes[entry.name], allocated[entry.name] = status.st_size, status.st_blocks * 512
        return sizes, allocated

    # --- in ------------------------------------------------------------------------------------------

    def _is_there(self, name, digest):
        """Whether a file is known to have this digest, and was not touched since."""
        known = self._known.get(name)
        with contextlib.suppress(OSError):
            return known is not None and known[0] == digest and known[1] == digests.stat_of(self._own(name))
        return False

    def received(self, name, digest, needed):
        """What of a file has come. needed: bytes that it will take; ImageError where they are not free."""
        self._own(name)
        _check_digest(digest)
        with self._lock:
            done, part = self._is_there(name, digest), self._parts.get((name, digest))
        have = part.have.as_list() if part else []
        if not done:
            space.check_space(self._folder, needed - sum(length for _offset, length in have), "what is to be sent to the builder")
        return {"done": done, "ranges": have, "encodings": content_coding.available()}

    def write(self, name, digest, size, ranges, data, settled):
        """One chunk. size: of the whole file; settled: all before it has been sent and acknowledged, or is zeros."""
        self._own(name)
        _check_digest(digest)
        if size < 0 or any(offset + length > size for offset, length in ranges):
            raise Refusal(400, "the chunk is beyond the end of its file", name)
        part = self._part(name, digest, size)
        if part:
            part.write(ranges, data, settled)

    def _part(self, name, digest, size):
        """The part, made where it is missing; None where the file is there already."""
        with self._lock:
            if self._is_there(name, digest):
                return None
            part = self._parts.get((name, digest))
            if part is None:
                path = os.path.join(self._folder, f".{name}.{hashlib.sha256(digest.encode()).hexdigest()[:16]}.part")
                part = self._parts[name, digest] = _Part(path, size, digest)
        if part.size != size:
            raise Refusal(409, "another size was said for this file before", name)
        return part

    def finish(self, name, digest, size, wait):
        """All has come: check it and give it its name. False where the check takes longer than `wait` seconds: ask again."""
        self._own(name)
        _check_digest(digest)
        part = self._part(name, digest, size)
        if part is None:
            return True
        with part.lock:
            if part.check is None:
                part.check = Background(lambda: self._publish(name, part))
        if not part.checked.wait(wait):
            return False
        part.check.result()
        return True

    def _publish(self, name, part):
        try:
            digest = part.digest_now()
            if digest != part.digest:
                raise Refusal(409, "what arrived is not what its digest says", name, expected=part.digest, got=digest)
            with self._lock:
                os.rename(part.path, self._own(name))
                self._known[name] = (digest, digests.stat_of(self._own(name)))
        finally:
            part.close()
            with self._lock:
                self._parts.pop((name, part.digest), None)
                with contextlib.suppress(OSError):
                    os.unlink(part.path)
            part.checked.set()

    def adopt(self, name, source, digest):
        """Give a finished file of a job (or another file) this name. digest: what the job said of it, or None."""
        if digest is not None:
            _check_digest(digest)
        with self._opened(source) as fd:
            with self._lock:
                os.rename(self.path_of(source), self._own(name))
                self._known.pop(source, None)
                self._known.pop(name, None)
                if digest is not None:
                    self._known[name] = (digest, digests.stat_of(fd))

    def remove(self, name):
        """Remove a file and what arrived of it; what is not there is no error."""
        path = self._own(name)
        with self._lock:
            parts = [self._parts.pop(key) for key in list(self._parts) if key[0] == name]
            self._known.pop(name, None)
        for part in parts:
            part.close()
        for gone in [path, *(part.path for part in parts)]:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(gone)

    # --- out -----------------------------------------------------------------------------------------

    def changes(self, name, start, base):
        """One page of what must be sent of a file: ranges of data, and of zeros where `base` (a name) has others; where the next page starts."""
        if start < 0 or start % BLOCK:
            raise Refusal(400, f"a page starts at a multiple of {BLOCK}", name)
        with contextlib.ExitStack() as stack:
            fd = stack.enter_context(self._opened(name))
            other = stack.enter_context(self._opened(base)) if base else None
            status = os.fstat(fd)
            data, zeros, end, deadline = [], [], start, time.monotonic() + _PAGE_SECONDS
            for offset, more, empty in changes(fd, status.st_size, start, other):
                end = offset
                for ranges, new in ((data, more), (zeros, empty)):
                    for item in new:
                        append(ranges, *item)
                if time.monotonic() > deadline or len(data) + len(zeros) > _PAGE_RANGES:
                    break
        answer = {"size": status.st_size, "allocated": status.st_blocks * 512, "data": data, "zeros": zeros,
                  "end": end, "next": end if end < status.st_size else None}
        with self._lock:
            if "/" not in name and name in self._known and self._is_there(name, self._known[name][0]):
                answer["digest"] = self._known[name][0]
        return answer

    def read(self, name, ranges):
        """The bytes of ranges of a file."""
        if sum(length for _offset, length in ranges) > LARGEST:
            raise Refusal(400, f"a chunk has at most {LARGEST} bytes", name)
        with self._opened(name) as fd:
            size = os.fstat(fd).st_size
            if any(offset + length > size for offset, length in ranges):
                raise Refusal(416, "the range is beyond the end of the file", name)
            return read_ranges(fd, ranges)


def _check_digest(digest):
    if not _DIGEST.fullmatch(digest):
        raise Refusal(400, "a digest is the 64 hexadecimal digits of sha256, or those after sparse-sha256:")
