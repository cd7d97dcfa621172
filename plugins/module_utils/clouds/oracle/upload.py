# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A local file becomes an object: in parts, in parallel, each with its MD5; what the cloud already has of it is not sent again."""

from __future__ import annotations

import base64
import collections
import contextlib
import hashlib
import time

from ...common import advice
from ...common import progress as progress_of
from ...common.crew import Crew, Tally
from ...common.errors import ImageError
from ...common.http_faults import UNMATCHED_MD5
from ...files.parts import Parts
from . import faults
from .faults import CloudFault

PART_SIZE, PARALLEL = 16 << 20, 8    # bytes; connections
_MOST_PARTS, _LARGEST = 10_000, 10 << 40    # of the service: parts of an object, bytes of it
_UNIT = 1 << 20                      # bytes that a part's size is a multiple of
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
    sent = _Upload(storage, bucket, name, path, part_size, parallel, progress or progress_of.silent())
    with sent.parts:
        return sent.run(upload_id, metadata, content_type, on_begin)


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
    return f"{base64.b64encode(hashlib.md5(joined, usedforsecurity=False).digest()).decode()}-{len(md5s)}"


def same(there, path, part_size=None):
    """Whether an object (object_storage.Object) has the bytes of a file, by the MD5 that the cloud tells. part_size: bytes of its parts. Raises ImageError."""
    with Parts(path) as parts:
        if parts.size != there.size:
            return False
        parts.part_size = part_size_of(parts.size, part_size) if there.multipart_md5 else parts.size
        md5s = {number: parts.md5(number) for number in parts.numbers}
    return whole_md5(md5s) == there.multipart_md5 if there.multipart_md5 else md5s[1] == there.md5


class _Upload:

    def __init__(self, storage, bucket, name, path, part_size, parallel, progress):
        self._storage, self._bucket, self._name, self._progress = storage, bucket, name, progress
        self._crew = Crew(parallel, self._client, "upload")
        self.parts = Parts(path, check=self._crew.check)
        if self.parts.size > _LARGEST:
            self.parts.close()
            raise ImageError("the file is larger than an object can be (10 TiB)", path)
        self.parts.part_size = part_size_of(self.parts.size, part_size)
        self._forget()
        self._there, self._upload_id = {}, None

    def _forget(self):
        # {number: (etag, md5)}, {number: bytes} of those that the cloud had
        self._done, self._kept, self._tally = {}, {}, Tally()

    @contextlib.contextmanager
    def _client(self):
        client = self._storage.session.object_storage()
        try:
            yield client
        finally:
            client.base_client.session.close()

    # --- the main thread -----------------------------------------------------------------------------

    def run(self, upload_id, metadata, content_type, on_begin):
        storage, where, size = self._storage, (self._bucket, self._name), self.parts.size
        if upload_id and not self._go_on(upload_id):
            done = self._complete_already()
            if done:
                return dict(done, upload_id=upload_id)
            upload_id = None
        if not upload_id:
            upload_id = storage.begin(*where, metadata, content_type)
        self._upload_id = upload_id
        if on_begin:
            on_begin(upload_id, self.parts.part_size)
        self._each("uploading", self._work)
        self.parts.must_be_unchanged()
        md5s, etags = ({number: part[which] for number, part in self._done.items()} for which in (1, 0))
        made = complete(storage, *where, upload_id, size, md5s, etags, set(self._there) - set(etags))
        self._progress.finish()
        kept = sum(self._kept.values())
        return dict(made, upload_id=upload_id, sent=size - kept, kept=kept)

    def _go_on(self, upload_id):
        """Learn what the cloud has; False where there is no such upload any more."""
        try:
            self._there = self._storage.parts(self._bucket, self._name, upload_id)
        except CloudFault as fault:
            if fault.missing:
                return False
            raise
        # that of whoever began it: all parts but the last have it
        sizes = collections.Counter(part.size for number, part in self._there.items() if number * part.size < self.parts.size)
        if sizes:
            size = sizes.most_common(1)[0][0]
            if -(-self.parts.size // size) <= _MOST_PARTS:
                self.parts.part_size = size
        return True

    def _complete_already(self):
        """The result, if the object is there, whole: a commit whose answer nobody heard."""
        there, size = self._storage.head(self._bucket, self._name), self.parts.size
        if there is None or there.size != size or not there.multipart_md5:
            return None
        if there.multipart_md5.rpartition("-")[2] != str(self.parts.count):
            return None
        self._each("comparing", self._compare)
        self._progress.finish()
        if there.multipart_md5 != whole_md5({number: md5 for number, (_etag, md5) in self._done.items()}):
            self._forget()
            return None
        return {"size": size, "etag": there.etag, "multipart_md5": there.multipart_md5, "sent": 0, "kept": size}

    def _each(self, phase, work):
        self._progress.phase(phase, self.parts.size)
        self._crew.run(self.parts.numbers, work, lambda: self._progress.update(self._tally.total))

    # --- the threads ---------------------------------------------------------------------------------

    def _finish(self, number, etag, md5, kept):
        size = self.parts.span(number)[1]
        self._done[number] = (etag, md5)
        self._tally.set(number, size)
        if kept:
            self._kept[number] = size

    def _compare(self, _client, number):
        self._finish(number, None, self.parts.md5(number), True)

    def _work(self, client, number):
        md5, there = self.parts.md5(number), self._there.get(number)
        if there is not None and (there.size, there.md5) == (self.parts.span(number)[1], md5):
            self._finish(number, there.etag, md5, True)
            return
        etag = faults.call(self._send, client, number, md5, doing=f"sending part {number} of {self.parts.count}", where=f"{self._bucket}/{self._name}",
                           retry_seconds=self._storage.retry_seconds, sleep=self._crew.sleep)
        self._finish(number, etag, md5, False)

    def _send(self, client, number, md5):
        """One attempt; the part's ETag."""
        body = _Body(self.parts, number, self._tally)
        self._tally.set(number, 0)
        try:
            answer = client.upload_part(self._storage.namespace, self._bucket, self._name, self._upload_id, number, body, content_md5=md5)
        except Exception as error:
            self._tally.set(number, 0)
            # older releases of the SDK read the status of a refusal once more as that of the next answer of the same connection
            client.base_client.session.close()
            if getattr(error, "code", None) == UNMATCHED_MD5:
                self.parts.must_have(number, md5)
            raise
        if answer.headers.get("opc-content-md5") != md5:
            raise CloudFault(f"part {number} did not arrive as it was sent", f"{self._bucket}/{self._name}", advice.RUN_AGAIN, passing=True)
        return answer.headers["etag"]


class _Body:
    """A part as the SDK's client reads it."""

    def __init__(self, parts, number, tally):
        self._length, self._pieces, self._number, self._tally = parts.span(number)[1], parts.pieces(number), number, tally

    def __len__(self):
        return self._length

    def read(self, count=-1):   # pylint: disable=unused-argument
        """The next bytes, until the next call; rather more than asked for: each call is a write, which lets the other threads go on."""
        piece = next(self._pieces, b"")
        self._tally.add(self._number, len(piece))
        return piece


class _Found:
    """An object that is there, in the form of the SDK's answers."""

    def __init__(self, headers):
        self.headers = headers
