# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files between the module host and a builder pod: in chunks, each checked, several at once, without holes and zeros.

Each chunk has a CRC-32, the whole its sha256 (or sparse-sha256), which the receiver computes while the rest is still coming.
A chunk that is lost is sent again; a push goes on where another process left it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import queue
import threading
import time
from urllib.parse import quote

from ...agent import content_coding
from ...agent.protocol import CHECKSUM_HEADER, Refusal
from ...common import advice
from ...common.background import Background
from ...common.errors import ImageError, from_os_error
from ...files import digests, extents, space
from ...files.copying import copy
from ...files.running_digest import FollowingDigest
from .client import RETRY_SECONDS, retry_lost

#: bytes of a chunk, and connections at once: larger chunks are no faster and take their size in memory several times on both sides
CHUNK = 4 << 20
CONNECTIONS = 3
_RANGES = 64       # of one chunk at most: they are in the URL
_ATTEMPTS = 5      # for a chunk that does not arrive as it was sent
_LEAVE = 5         # seconds until threads that wait for the network are left to themselves


@dataclasses.dataclass
class Moved:
    """What a transfer did, in bytes."""

    size: int           # of the file
    data: int = 0       # that had to cross, before compression
    wire: int = 0       # that crossed


@dataclasses.dataclass
class _Batch:
    """Ranges that cross in one request. With it and all before it, the file is as it should be up to `end`."""

    ranges: list
    end: int
    wire: int = 0

    @property
    def length(self):
        return sum(length for _offset, length in self.ranges)


def push(client, path, name, digest, progress, read_path=None, retry_seconds=RETRY_SECONDS):
    """Bring the file at `path` to the builder's workspace as `name`; nothing is sent where it is there already.

    digest: its sha256, or sparse digest; read_path: where it is read (artifact.source.HeldOpen). retry_seconds: seconds a lost connection is waited
    for. Returns Moved. Raises ImageError.
    """
    try:
        return _Push(client, path, name, digest, progress, retry_seconds).run(read_path or path)
    except OSError as error:
        raise from_os_error(error, "reading the file to be sent to the builder", path) from error


def fetch(client, name, path, digest, progress, base=None, remote_base=None, retry_seconds=RETRY_SECONDS):
    """Bring a file of the builder (NAME, or jobs/ID/FILE) to `path`, a new file in a staging folder; fsynced, its digest checked.

    base: a local file, and remote_base the name of the same in the builder: only what differs from it crosses.
    Returns Moved. Raises ImageError; then there is nothing at `path`.
    """
    try:
        if base and remote_base:
            with contextlib.suppress(_OtherContent):
                # where the two bases are not the same after all, the whole file is fetched
                return _Fetch(client, name, path, digest, progress, retry_seconds).run(base, remote_base)
        return _Fetch(client, name, path, digest, progress, retry_seconds).run()
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(path)
        if isinstance(error, OSError):
            raise from_os_error(error, "writing the file that comes from the builder", path) from error
        raise


class _OtherContent(ImageError):
    """All has come, and it is not what was asked for."""


class _Transfer:
    """What both directions share: several connections, and what has settled."""

    def __init__(self, client, name, progress, retry_seconds):
        self.client, self.progress, self.retry_seconds = client, progress, retry_seconds
        self.url = f"/v1/files/{quote(name)}"
        self.settled = 0          # all below is as it should be at the receiver
        self._stopped = threading.Event()
        self._threads = []

    def ask(self, method, path, body=None, headers=None):
        """One request, again after a loss, until it is answered or the transfer is stopped."""
        def once():
            if self._stopped.is_set():
                raise ImageError("the transfer was stopped")
            return self.client.request(method, path, body, headers)
        return retry_lost(once, self.retry_seconds, sleep=self._stopped.wait)

    def all_batches(self, batches, work, finished):
        """work(batch) for each, in threads with a connection each; finished(batch) here, in their order. Raises what they raise."""
        taking, results, threads = threading.Lock(), queue.Queue(), self._threads
        batches = enumerate(batches)

        def run():
            try:
                while not self._stopped.is_set():
                    with taking:
                        number, batch = next(batches, (None, None))
                    if batch is None:
                        break
                    work(batch)
                    results.put((number, batch))
                results.put(None)
            except BaseException as error:   # pylint: disable=broad-exception-caught
                results.put(error)
            finally:
                self.client.close()

        try:
            for _number in range(CONNECTIONS):
                threads.append(threading.Thread(target=run, name="transfer", daemon=True))
                threads[-1].start()
            waiting, expected, running = {}, 0, len(threads)
            while running:
                try:
                    # a signal that comes just before this waits is seen only after it
                    result = results.get(timeout=0.5)
                except queue.Empty:
                    continue
                if isinstance(result, BaseException):
                    raise result
                if result is None:
                    running -= 1
                    continue
                waiting[result[0]] = result[1]
                while expected in waiting:
                    batch = waiting.pop(expected)
                    expected += 1
                    self.settled = batch.end
                    finished(batch)
                    self.progress.update(batch.end)
        finally:
            self._stopped.set()
            for thread in threads:
                if thread.is_alive():
                    self.client.close(thread.ident)
            deadline = time.monotonic() + _LEAVE
            for thread in threads:
                thread.join(max(0, deadline - time.monotonic()))
        self._stopped, self._threads = threading.Event(), []

    def close(self, fd):
        """Close a file, unless a thread that was left to itself may still use its number."""
        if not any(thread.is_alive() for thread in self._threads):
            os.close(fd)


def _batches(pieces):
    """Batches of pieces (end, ranges), in the order of the file; each piece ends a batch, also one without ranges."""
    for end, data in pieces:
        ranges, length = [], 0
        for offset, count in data:
            while count:
                take = min(count, CHUNK - length)
                extents.append(ranges, offset, take)
                offset, count, length = offset + take, count - take, length + take
                if length == CHUNK or len(ranges) == _RANGES:
                    yield _Batch(ranges, offset)
                    ranges, length = [], 0
        yield _Batch(ranges, end)


class _Push(_Transfer):
    def __init__(self, client, path, name, digest, progress, retry_seconds):
        super().__init__(client, name, progress, retry_seconds)
        self._path, self._digest = path, digest
        self._fd = self._stat = self._encodings = self._had = self.moved = None

    def run(self, read_path):
        self._fd = os.open(read_path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._stat = digests.stat_of(self._fd)
            self.moved = Moved(self._stat["size"])
            return self._run()
        finally:
            self.close(self._fd)

    def _run(self):
        for last in (False, True):
            state = self.ask("GET", f"{self.url}/received?digest={self._digest}&needed={os.fstat(self._fd).st_blocks * 512}").json()
            if state["done"]:
                return self.moved
            self._encodings, self._had = state["encodings"], extents.RangeSet(state["ranges"])
            self._send()
            if not digests.same_content(self._stat, digests.stat_of(self._fd)):
                self._forget()
                raise ImageError("the file was changed while it was sent to the builder", self._path, advice.RUN_AGAIN_UNDISTURBED)
            try:
                self._complete()
                return self.moved
            except Refusal as error:
                # what another process had sent of it may not have been the same
                if error.status != 409 or last or not self._had.total():
                    self._raise(error)
        return self.moved

    def _send(self):
        self.progress.phase(f"send {os.path.basename(self._path)}", self.moved.size)
        self.settled = 0

        left = (item for item in extents.blocks(extents.data_ranges(self._fd, self.moved.size)) if not self._had.holds(*item))
        self.all_batches(_batches([(self.moved.size, left)]), self._send_one, self._count)
        self.progress.finish()

    def _send_one(self, batch):
        data, batch.ranges = extents.read_data(self._fd, batch.ranges)
        if not batch.ranges:
            return
        body, encoding = content_coding.encode(data, self._encodings)
        headers = {CHECKSUM_HEADER: content_coding.checksum(data)}
        if encoding:
            headers["Content-Encoding"] = encoding
        del data
        batch.wire = len(body)
        path = f"{self.url}/chunk?digest={self._digest}&size={self.moved.size}&ranges={extents.as_text(batch.ranges)}"
        for left in reversed(range(_ATTEMPTS)):
            try:
                self.ask("PUT", f"{path}&settled={self.settled}", body, headers)
                return
            except Refusal as error:
                if error.status != 422 or not left:
                    raise

    def _count(self, batch):
        self.moved.data += batch.length
        self.moved.wire += batch.wire

    def _complete(self):
        self.progress.phase(f"check {os.path.basename(self._path)}")
        body = json.dumps({"size": self.moved.size, "digest": self._digest, "wait": 20}).encode()
        while self.ask("POST", self.url, body).status == 202:
            self.progress.update(0)
        self.progress.finish()

    def _forget(self):
        with contextlib.suppress(ImageError):
            self.client.request("DELETE", self.url)

    def _raise(self, error):
        if error.status != 409 or "got" not in error.details:
            raise error
        raise ImageError("the content of the file is not what its digest says", self._path, "run the task again with verify: true",
                         **error.details) from error


class _Fetch(_Transfer):
    def __init__(self, client, name, path, digest, progress, retry_seconds):
        super().__init__(client, name, progress, retry_seconds)
        self._name, self._path, self._digest = name, path, digest
        self._fd = self._following = self._query = None
        self.moved = None

    def run(self, base=None, remote_base=None):
        self._query = f"&base={quote(remote_base, safe='')}" if base else ""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        page = None
        if base:
            copying = Background(lambda: copy(base, self._path, self.progress))
            # the builder begins to look for what differs meanwhile
            page = self._page(0)
            copying.result()
        with contextlib.ExitStack() as stack:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            stack.callback(self.close, self._fd)
            page = page or self._page(0)
            self.moved = Moved(page["size"])
            if not base:
                space.check_space(os.path.dirname(self._path), page["allocated"], "the file that comes from the builder")
            os.ftruncate(self._fd, page["size"])
            if not self._digest.startswith(digests.SPARSE_PREFIX):
                self._following = FollowingDigest(self._fd)
                stack.callback(self._following.abandon)
            self.progress.phase(f"fetch {os.path.basename(self._path)}", page["size"])
            self.all_batches(_batches(self._pieces(page)), self._fetch_one, self._count)
            self.progress.finish()
            self._check()
        return self.moved

    def _page(self, start):
        return self.ask("GET", f"{self.url}/chunks?start={start}{self._query}").json()

    def _pieces(self, page):
        while True:
            for offset, length in page["zeros"]:
                extents.punch(self._fd, offset, length)
            yield page["end"], page["data"]
            if page["next"] is None:
                return
            page = self._page(page["next"])

    def _fetch_one(self, batch):
        if not batch.ranges:
            return
        path = f"{self.url}/part?ranges={extents.as_text(batch.ranges)}"
        headers = {"Accept-Encoding": ", ".join(content_coding.available())}
        for left in reversed(range(_ATTEMPTS)):
            answer = self.ask("GET", path, None, headers)
            try:
                data = content_coding.decode(answer.body, answer.headers.get("Content-Encoding"), batch.length)
                if content_coding.checksum(data) == answer.headers.get(CHECKSUM_HEADER):
                    break
                raise ImageError("a chunk did not arrive as it was sent", self._name)
            except ImageError:
                if not left:
                    raise
        batch.wire = len(answer.body)
        extents.write_ranges(self._fd, batch.ranges, data)

    def _count(self, batch):
        self.moved.data += batch.length
        self.moved.wire += batch.wire
        if self._following:
            self._following.settle(batch.end)

    def _check(self):
        self.progress.phase(f"check {os.path.basename(self._path)}")
        syncing = Background(lambda: os.fsync(self._fd))
        try:
            got = self._following.finish(self.moved.size) if self._following else digests.digest_file(self._path, self._digest)
        finally:
            syncing.result()
        self.progress.finish()
        if got != self._digest:
            raise _OtherContent("what came from the builder is not what its digest says", self._name,
                                "something wrote to it in the builder: run the task again", expected=self._digest, got=got)
