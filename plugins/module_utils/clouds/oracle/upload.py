# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A local file becomes an object: in parts, in parallel, each with its MD5; what the cloud already has of it is not sent again."""

from __future__ import annotations

import base64
import collections
import hashlib
import os
import threading
import time

from ...common import advice
from ...common import progress as progress_of
from ...common.errors import ImageError, from_os_error
from . import faults
from .faults import CloudFault

PART_SIZE, PARALLEL = 16 << 20, 8    # bytes; connections
_MOST_PARTS, _LARGEST = 10_000, 10 << 40    # of the service: parts of an object, bytes of it
_UNIT = 1 << 20                      # bytes that a part's size is a multiple of
_PIECE = 256 << 10                   # bytes that are read at once
_TELL = 0.25                         # seconds between two looks at the progress
_FAREWELL = 2                        # seconds for the threads to see that it is over
_LOOKS = 5                           # at an object whose digest is not as it should be


def part_size_of(size, wanted=None):
    """The bytes of a part: PART_SIZE or what is wanted, and more only where that would make too many parts."""
    least = -(-size // _MOST_PARTS)
    return max(wanted or PART_SIZE, -(-least // _UNIT) * _UNIT if least > (wanted or PART_SIZE) else 0)


def upload(storage, bucket, name, path, upload_id=None, part_size=None, parallel=PARALLEL, progress=None, metadata=None, content_type=None,
           on_begin=None):
    """Make an object of a file; returns {"size", "etag", "multipart_md5", "upload_id", "sent", "kept"} (sent, kept: bytes).

    name: nobody else's. upload_id: an unfinished upload of that name to go on with; where it is none any more, another one is begun.
    on_begin(upload_id, part_size): told before anything is sent, so that the caller can go on another time. part_size, parallel: bytes, connections.
    At a fault, and at a stop, the upload stays as it is, for another run or for storage.abort(). Raises CloudFault, ImageError.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise from_os_error(error, "reading the file to upload", path) from error
    try:
        sent = _Upload(storage, bucket, name, path, fd, part_size, parallel, progress or progress_of.silent())
        return sent.run(upload_id, metadata, content_type, on_begin)
    finally:
        os.close(fd)


def complete(storage, bucket, name, upload_id, size, md5s, etags=None, exclude=()):
    """Make the object of an upload, whoever sent its parts, and check it; returns {"size", "etag", "multipart_md5"}.

    size: bytes of the whole; md5s: {number: base64} of the parts as they were sent; etags: {number: text}, None to ask the cloud for them;
    exclude: numbers of parts that do not belong to it. An answer that was lost, now or in an earlier run, is no fault. Raises CloudFault, ImageError.
    """
    wanted, where = whole_md5(md5s), (bucket, name)

    def found():
        there = storage.head(*where)
        if there is not None and there.size == size and there.multipart_md5 == wanted:
            return _Found({"etag": there.etag, "opc-multipart-md5": there.multipart_md5})
        return None
    try:
        if etags is None:
            etags, exclude = _listed(storage, *where, upload_id, md5s)
        headers = storage.commit(*where, upload_id, etags, exclude, found)
    except CloudFault as fault:
        there = found() if fault.missing else None
        if there is None and fault.code != "InvalidUploadPart":
            raise
        # a request that was given up reached the cloud after all, and put its part in the place of the later one
        headers = there.headers if there else storage.commit(*where, upload_id, *_listed(storage, *where, upload_id, md5s), found)
    for look in range(_LOOKS):
        if headers.get("opc-multipart-md5") == wanted:
            return {"size": size, "etag": headers.get("etag"), "multipart_md5": wanted}
        if look:
            time.sleep(look)
        there = found()
        headers = there.headers if there else headers
    raise ImageError(f"the object is not what was sent: its MD5 is {headers.get('opc-multipart-md5')}, not {wanted}", f"{bucket}/{name}",
                     advice.RUN_AGAIN)


def _listed(storage, bucket, name, upload_id, md5s):
    """({number: etag}, numbers to leave out) by what the cloud has. Raises ImageError where that is not what was sent."""
    there = storage.parts(bucket, name, upload_id)
    wrong = [number for number, md5 in sorted(md5s.items()) if number not in there or there[number].md5 != md5]
    if wrong:
        raise ImageError(f"part {wrong[0]} in the cloud is not what was sent", f"{bucket}/{name}", advice.RUN_AGAIN)
    return {number: there[number].etag for number in md5s}, set(there) - set(md5s)


def whole_md5(md5s):
    """The MD5 of the parts' MD5s, and their number, as the cloud has it of an object that came in parts."""
    joined = b"".join(base64.b64decode(md5s[number]) for number in sorted(md5s))
    return f"{_text(hashlib.md5(joined, usedforsecurity=False))}-{len(md5s)}"


def same(there, path, part_size=None):
    """Whether an object (object_storage.Object) has the bytes of a file, by the MD5 that the cloud tells. part_size: bytes of its parts. Raises ImageError."""
    wanted = there.multipart_md5 or there.md5
    part_size = part_size_of(there.size, part_size) if there.multipart_md5 else max(1, there.size)
    md5s = {}
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size != there.size:
                return False
            while True:
                made, left = hashlib.md5(usedforsecurity=False), part_size
                while left:
                    data = file.read(min(_PIECE, left))
                    if not data:
                        break
                    made.update(data)
                    left -= len(data)
                if left == part_size:
                    break
                md5s[len(md5s) + 1] = _text(made)
    except OSError as error:
        raise from_os_error(error, "reading the file to upload", path) from error
    return wanted == (whole_md5(md5s) if there.multipart_md5 else md5s.get(1))


class _Stopped(Exception):
    """In a thread: it is over."""


class _Upload:

    def __init__(self, storage, bucket, name, path, fd, part_size, parallel, progress):
        self._storage, self._bucket, self._name, self._path, self._fd = storage, bucket, name, path, fd
        self._parallel, self._progress = parallel, progress
        self._stamp = self._look()
        self._size = self._stamp[0]
        if not self._size:
            raise ImageError("the file is empty", path, advice.CHECK_PATH)
        if self._size > _LARGEST:
            raise ImageError("the file is larger than an object can be (10 TiB)", path)
        self._part_size = part_size_of(self._size, part_size)
        self._lock, self._over, self._changed = threading.Lock(), threading.Event(), threading.Event()
        self._there, self._todo, self._done, self._moved, self._fault, self._kept = {}, None, {}, {}, None, 0

    def _look(self):
        about = os.fstat(self._fd)
        return about.st_size, about.st_mtime_ns

    @property
    def _count(self):
        return -(-self._size // self._part_size)

    def _span(self, number):
        """(offset, bytes) of a part."""
        offset = (number - 1) * self._part_size
        return offset, min(self._part_size, self._size - offset)

    # --- the main thread -----------------------------------------------------------------------------

    def run(self, upload_id, metadata, content_type, on_begin):
        storage, where = self._storage, (self._bucket, self._name)
        if upload_id and not self._go_on(upload_id):
            done = self._complete_already()
            if done:
                return dict(done, upload_id=upload_id)
            upload_id = None
        if not upload_id:
            upload_id = storage.begin(*where, metadata, content_type)
        self._upload_id = upload_id
        if on_begin:
            on_begin(upload_id, self._part_size)
        self._progress.phase("uploading", self._size)
        self._todo = collections.deque(range(1, self._count + 1))
        self._run_threads(self._work)
        if self._look() != self._stamp:
            raise ImageError("the file changed while it was sent", self._path, advice.RUN_AGAIN_UNDISTURBED)
        md5s, etags = ({number: part[which] for number, part in self._done.items()} for which in (1, 0))
        made = complete(storage, *where, upload_id, self._size, md5s, etags, set(self._there) - set(etags))
        self._progress.finish()
        return dict(made, upload_id=upload_id, sent=self._size - self._kept, kept=self._kept)

    def _go_on(self, upload_id):
        """Learn what the cloud has; False where there is no such upload any more."""
        try:
            self._there = self._storage.parts(self._bucket, self._name, upload_id)
        except CloudFault as fault:
            if fault.missing:
                return False
            raise
        # that of whoever began it: all parts but the last have it
        sizes = collections.Counter(part.size for number, part in self._there.items() if number * part.size < self._size)
        if sizes:
            size = sizes.most_common(1)[0][0]
            if -(-self._size // size) <= _MOST_PARTS:
                self._part_size = size
        return True

    def _complete_already(self):
        """The result, if the object is there, whole: a commit whose answer nobody heard."""
        there = self._storage.head(self._bucket, self._name)
        if there is None or there.size != self._size or not there.multipart_md5:
            return None
        if there.multipart_md5.rpartition("-")[2] != str(self._count):
            return None
        self._progress.phase("comparing", self._size)
        self._todo = collections.deque(range(1, self._count + 1))
        self._run_threads(self._compare)
        self._progress.finish()
        if there.multipart_md5 != whole_md5({number: md5 for number, (_etag, md5) in self._done.items()}):
            self._done, self._moved, self._kept = {}, {}, 0
            return None
        return {"size": self._size, "etag": there.etag, "multipart_md5": there.multipart_md5, "sent": 0, "kept": self._size}

    def _run_threads(self, work):
        """work(client, number) for each part to do, in threads; they end with whatever ends this one."""
        threads = [threading.Thread(target=self._thread, args=(work,), name=f"upload-{number}", daemon=True)
                   for number in range(min(self._parallel, len(self._todo)))]
        try:
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                self._changed.wait(_TELL)
                self._changed.clear()
                with self._lock:
                    moved = sum(self._moved.values())
                self._progress.update(moved)
                if self._fault:
                    break
        finally:
            # one that waits for an answer ends by itself later: nobody waits for it, and it does nothing more
            self._over.set()
            deadline = time.monotonic() + _FAREWELL
            for thread in threads:
                if thread.ident:
                    thread.join(max(0, deadline - time.monotonic()))
        if self._fault:
            raise self._fault
        self._over.clear()

    # --- the threads ---------------------------------------------------------------------------------

    def _thread(self, work):
        client = None
        try:
            client = self._storage.session.object_storage()
            while not self._over.is_set():
                try:
                    number = self._todo.popleft()
                except IndexError:
                    return
                work(client, number)
        except _Stopped:
            pass
        except BaseException as error:   # pylint: disable=broad-exception-caught
            with self._lock:
                self._fault = self._fault or error
        finally:
            if client:
                client.base_client.session.close()
            self._changed.set()

    def _finish(self, number, etag, md5, kept):
        with self._lock:
            self._done[number] = (etag, md5)
            self._moved[number] = self._span(number)[1]
            self._kept += self._moved[number] if kept else 0

    def _compare(self, client, number):
        self._finish(number, None, self._digest(number), True)

    def _work(self, client, number):
        md5, there = self._digest(number), self._there.get(number)
        if there is not None and (there.size, there.md5) == (self._span(number)[1], md5):
            self._finish(number, there.etag, md5, True)
            return
        etag = faults.call(self._send, client, number, md5, doing=f"sending part {number} of {self._count}", where=f"{self._bucket}/{self._name}",
                           retry_seconds=self._storage.retry_seconds, sleep=self._sleep)
        self._finish(number, etag, md5, False)

    def _sleep(self, seconds):
        if self._over.wait(seconds):
            raise _Stopped

    def _read(self, offset, buffer):
        """Fill a buffer from the file, or some of it; how many bytes. Raises ImageError, and _Stopped."""
        if self._over.is_set():
            raise _Stopped
        try:
            count = os.preadv(self._fd, [buffer], offset)
        except OSError as error:
            raise from_os_error(error, "reading the file to upload", self._path) from error
        if not count:
            raise ImageError("the file became shorter while it was sent", self._path, advice.RUN_AGAIN_UNDISTURBED)
        return count

    def _digest(self, number):
        """The MD5 of a part, base64. It is read once more to be sent, from memory mostly: so no part is ever held as a whole."""
        offset, left = self._span(number)
        made, buffer = hashlib.md5(usedforsecurity=False), memoryview(bytearray(_PIECE))
        while left:
            count = self._read(offset, buffer[:min(left, _PIECE)])
            made.update(buffer[:count])
            offset, left = offset + count, left - count
        return _text(made)

    def _send(self, client, number, md5):
        """One attempt; the part's ETag."""
        body = _Body(self, number)
        with self._lock:
            self._moved[number] = 0
        try:
            answer = client.upload_part(self._storage.namespace, self._bucket, self._name, self._upload_id, number, body, content_md5=md5)
        except Exception as error:
            with self._lock:
                self._moved[number] = 0
            # older releases of the SDK read the status of a refusal once more as that of the next answer of the same connection
            client.base_client.session.close()
            if getattr(error, "code", None) == "UnmatchedContentMD5" and self._digest(number) != md5:
                raise ImageError("the file changed while it was sent", self._path, advice.RUN_AGAIN_UNDISTURBED) from error
            raise
        if answer.headers.get("opc-content-md5") != md5:
            raise CloudFault(f"part {number} did not arrive as it was sent", f"{self._bucket}/{self._name}", advice.RUN_AGAIN, passing=True)
        return answer.headers["etag"]

    def moved(self, number, count):
        """So many bytes of a part went into its connection."""
        with self._lock:
            self._moved[number] = self._moved.get(number, 0) + count


class _Body:
    """A part as the SDK's client reads it."""

    def __init__(self, owner, number):
        self._owner, self._number = owner, number
        self._offset, self._left = owner._span(number)
        self._length, self._buffer = self._left, memoryview(bytearray(min(_PIECE, self._left)))

    def __len__(self):
        return self._length

    def read(self, count=-1):
        """The next bytes, until the next call; rather more than asked for: each call is a write, which lets the other threads go on."""
        if not self._left:
            return b""
        count = self._owner._read(self._offset, self._buffer[:min(self._left, len(self._buffer))])
        self._offset, self._left = self._offset + count, self._left - count
        self._owner.moved(self._number, count)
        return self._buffer[:count]


class _Found:
    """An object that is there, in the form of the SDK's answers."""

    def __init__(self, headers):
        self.headers = headers


def _text(digest):
    return base64.b64encode(digest.digest()).decode()
