# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files to and from a real agent, over a network that misbehaves."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

from ansible_collections.ocne.images.plugins.module_utils.artifact.source import HeldOpen
from ansible_collections.ocne.images.plugins.module_utils.builders.remote import transfer
from ansible_collections.ocne.images.plugins.module_utils.builders.remote.client import ConnectionLost
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError, Interrupted
from ansible_collections.ocne.images.plugins.module_utils.common.lifeline import Lifeline
from ansible_collections.ocne.images.plugins.module_utils.common.progress import Progress, silent
from ansible_collections.ocne.images.plugins.module_utils.files import digests
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.builders.remote.agents import TOKEN, Proxy, environment, until

MIB = 1 << 20
BLOCK = 64 << 10


@pytest.fixture
def small(monkeypatch):
    """Many chunks of small files."""
    monkeypatch.setattr(transfer, "CHUNK", 256 << 10)


@pytest.fixture
def name(request):
    """A name of this test's own."""
    return hashlib.sha256(request.node.name.encode()).hexdigest()[:16]


def write(path, size, *parts):
    with open(path, "wb") as file:
        for offset, data in parts:
            file.seek(offset)
            file.write(data)
        file.truncate(size)
    return str(path)


def sha256(path):
    return digests.sha256_file(path)[0]


def same(one, other):
    with open(one, "rb") as first, open(other, "rb") as second:
        return first.read() == second.read()


FILES = {
    "empty": (0, []),
    "a byte": (1, [(0, b"x")]),
    "a hole": (3 * MIB, []),
    "zeros": (3 * MIB, [(0, bytes(3 * MIB))]),
    "random": (3 * MIB + 7, [(0, os.urandom(3 * MIB + 7))]),
    "text": (3 * MIB, [(0, b"some text of a log file\n" * 131072)]),
    "sparse": (40 * MIB + 100, [(0, b"head"), (5 * MIB + 1, os.urandom(MIB)), (39 * MIB, os.urandom(9999))]),
    "scattered": (30 * MIB, [(number * 3 * BLOCK, os.urandom(100)) for number in range(150)]),
}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("sparse", [False, True])
def test_there_and_back(agent, client, tmp_path, name, small, kind, sparse):
    path = write(tmp_path / "file", FILES[kind][0], *FILES[kind][1])
    digest = digests.sparse_digest(path) if sparse else sha256(path)
    events = []
    there = transfer.push(client, path, name, digest, Progress(events.append, interval=0))
    back = transfer.fetch(client, name, str(tmp_path / "back"), digest, Progress(events.append, interval=0))
    assert same(path, tmp_path / "back") and same(path, agent.workspace / "files" / name)
    assert (tmp_path / "back").stat().st_mode & 0o777 == 0o600
    data = sum(-(-(offset + len(part)) // BLOCK) * BLOCK - offset // BLOCK * BLOCK for offset, part in FILES[kind][1] if any(part))
    for moved in (there, back):
        assert moved.size == FILES[kind][0] and moved.data <= data and moved.wire <= moved.data
        assert kind not in ("text", "scattered") or moved.wire < moved.data / 5
    for copy in (tmp_path / "back", agent.workspace / "files" / name):
        # on the disk only when that was written; what is not even in memory is a hole
        os.sync() if kind == "zeros" else None
        assert copy.stat().st_blocks * 512 <= data + BLOCK
    assert {event["phase"].split()[0] for event in events} >= {"send", "fetch", "check"}


def test_what_is_there_is_not_sent_again(agent, client, tmp_path, name):
    path = write(tmp_path / "file", MIB, (0, os.urandom(MIB)))
    assert transfer.push(client, path, name, sha256(path), silent()).data == MIB
    assert transfer.push(client, path, name, sha256(path), silent()).data == 0
    os.utime(agent.workspace / "files" / name)
    assert transfer.push(client, path, name, sha256(path), silent()).data == MIB


def test_a_pinned_file_is_read_where_it_is_open(client, tmp_path, name):
    path = write(tmp_path / "file", 1000, (0, b"old" * 300))
    digest, pinned = sha256(path), HeldOpen(path)
    os.rename(write(tmp_path / "other", 1000), path)
    transfer.push(client, path, name, digest, silent(), read_path=pinned.read_path)
    transfer.fetch(client, name, str(tmp_path / "back"), digest, silent())


# --- only the difference ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [8 * MIB, 9 * MIB + 5, 7 * MIB + 5])
def test_only_what_differs_from_the_base_comes(agent, client, tmp_path, name, small, size):
    base = write(tmp_path / "base", 8 * MIB, (0, os.urandom(4 * MIB)), (6 * MIB, os.urandom(2 * MIB)))
    transfer.push(client, base, name + "-base", sha256(base), silent())
    with open(base, "rb") as file:
        content = file.read()
    changed = [(0, content), (MIB + 77, b"edited"), (2 * MIB, bytes(BLOCK)), (5 * MIB, os.urandom(BLOCK)), (size - 9, b"the tail.")]
    new = write(agent.workspace / "files" / name, size, *changed)
    path = str(tmp_path / "new")
    moved = transfer.fetch(client, name, path, sha256(new), silent(), base=base, remote_base=name + "-base")
    assert same(path, new) and moved.size == size
    assert 2 * BLOCK < moved.data <= 4 * BLOCK + max(0, size - 8 * MIB)
    assert os.stat(path).st_blocks * 512 < 8 * MIB
    assert open(base, "rb").read() == content


@pytest.mark.parametrize("size", [4 * MIB, 2 * MIB])
def test_a_base_that_is_another_one_does_no_harm(agent, client, tmp_path, name, size):
    mine = write(tmp_path / "base", size, (0, os.urandom(size)))
    write(agent.workspace / "files" / (name + "-base"), 4 * MIB, (0, os.urandom(4 * MIB)))
    new = write(agent.workspace / "files" / name, 4 * MIB, (0, (agent.workspace / "files" / (name + "-base")).read_bytes()), (0, b"edited"))
    path = str(tmp_path / "new")
    assert transfer.fetch(client, name, path, sha256(new), silent(), base=mine, remote_base=name + "-base").data == 4 * MIB
    assert same(path, new)


# --- the network -----------------------------------------------------------------------------------------


class Cutting:
    """Some connections end somewhere."""

    def __init__(self, left):
        self.left, self._chance = left, random.Random(7)

    def __call__(self, data, seen, upstream):
        if self.left > 0 and seen + len(data) > self._chance.randrange(1, 300_000):
            self.left -= 1
            return None
        return data


class Corrupting:
    """Some bytes of bodies are others."""

    def __init__(self, left):
        self.left = left

    def __call__(self, data, seen, upstream):
        # not in the head of a request or an answer
        if self.left > 0 and len(data) > 20_000 and b"HTTP/1.1" not in data[-10_000:]:
            self.left -= 1
            return data[:-5000] + bytes([data[-5000] ^ 1]) + data[-4999:]
        return data


class Delaying:
    left = 0

    def __call__(self, data, seen, upstream):
        time.sleep(0.004)
        return data


@pytest.mark.parametrize("kind", ["random", "sparse"])
@pytest.mark.parametrize("fault", ["cut", "corrupt", "delay"])
def test_a_bad_network(agent, tmp_path, name, small, kind, fault):
    path = write(tmp_path / "file", FILES[kind][0], *FILES[kind][1])
    spoil = {"cut": Cutting(8), "corrupt": Corrupting(4), "delay": Delaying()}[fault]
    with Proxy(agent.port, spoil) as proxy:
        client = agent.client(proxy.port)
        transfer.push(client, path, name, sha256(path), silent(), retry_seconds=20)
        transfer.fetch(client, name, str(tmp_path / "back"), sha256(path), silent(), retry_seconds=20)
        client.close_all()
    assert spoil.left <= 0
    assert same(path, tmp_path / "back") and same(path, agent.workspace / "files" / name)


def test_a_network_that_always_spoils_is_an_error(agent, tmp_path, name):
    path = write(tmp_path / "file", MIB, (0, os.urandom(MIB)))
    transfer.push(agent.client(), path, name, sha256(path), silent())
    with Proxy(agent.port, Corrupting(10 ** 9)) as proxy:
        client = agent.client(proxy.port)
        with pytest.raises(ImageError, match="did not arrive as it was sent"):
            transfer.push(client, path, name + "-2", sha256(path), silent())
        with pytest.raises(ImageError, match="did not arrive as it was sent"):
            transfer.fetch(client, name, str(tmp_path / "back"), sha256(path), silent())
    assert not (tmp_path / "back").exists()


def test_a_network_that_does_not_come_back_is_an_error(agent, tmp_path, name, small):
    path = write(tmp_path / "file", 4 * MIB, (0, os.urandom(4 * MIB)))
    with Proxy(agent.port, lambda data, seen, upstream: None if proxy.up > MIB else data) as proxy:
        began = time.monotonic()
        with pytest.raises(ConnectionLost, match="the connection to the builder was lost"):
            transfer.push(agent.client(proxy.port), path, name, sha256(path), silent(), retry_seconds=0.6)
        assert time.monotonic() - began < 5


def test_a_push_goes_on_where_a_killed_controller_left_it(agent, tmp_path, name):
    size = 24 * MIB
    path = write(tmp_path / "file", size, (0, os.urandom(size)))
    digest = sha256(path)
    source = ("import sys; from ansible_collections.ocne.images.plugins.module_utils.builders.remote import client, transfer; "
              "from ansible_collections.ocne.images.plugins.module_utils.common.progress import silent; transfer.CHUNK = 1 << 20; "
              "transfer.push(client.DirectClient('127.0.0.1', int(sys.argv[1]), sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5], silent())")

    def slow(data, seen, upstream):
        time.sleep(0.003)
        return data

    client = agent.client()
    with Proxy(agent.port, slow) as proxy:
        first = subprocess.Popen([sys.executable, "-c", source, str(proxy.port), TOKEN, path, name, digest], env=environment())
        until(lambda: sum(count for _at, count in client.json("GET", f"/v1/files/{name}/received?digest={digest}")["ranges"]) > 4 * MIB)
        first.send_signal(signal.SIGKILL)
        assert first.wait() == -signal.SIGKILL
    moved = transfer.push(client, path, name, digest, silent())
    assert 0 < moved.data <= size - 4 * MIB
    assert same(path, agent.workspace / "files" / name)


# --- what is not as it should be -------------------------------------------------------------------------


def test_a_wrong_digest(agent, client, tmp_path, name, small):
    path = write(tmp_path / "file", MIB, (0, os.urandom(MIB)))
    with pytest.raises(ImageError, match=f"{path}: the content of the file is not what its digest says; run the task again"):
        transfer.push(client, path, name, "0" * 64, silent())
    assert not [entry for entry in os.listdir(agent.workspace / "files") if name in entry]
    transfer.push(client, path, name, sha256(path), silent())
    with pytest.raises(ImageError, match="what came from the builder is not what its digest says"):
        transfer.fetch(client, name, str(tmp_path / "back"), "0" * 64, silent())
    assert os.listdir(tmp_path) == ["file"]


def test_a_wrong_part_of_another_push_is_sent_again(agent, client, tmp_path, name, small):
    path = write(tmp_path / "file", MIB, (0, os.urandom(MIB)))
    digest = sha256(path)
    other = os.urandom(256 << 10)
    client.request("PUT", f"/v1/files/{name}/chunk?digest={digest}&size={MIB}&ranges=0:{len(other)}", other,
                   {"X-Crc32": transfer.content_coding.checksum(other)})
    transfer.push(client, path, name, digest, silent())
    assert same(path, agent.workspace / "files" / name)


def test_a_file_that_changes_meanwhile(agent, client, tmp_path, name, small):
    path = write(tmp_path / "file", 2 * MIB, (0, os.urandom(2 * MIB)))

    def change(event):
        with open(path, "r+b") as file:
            file.write(os.urandom(10))

    with pytest.raises(ImageError, match="the file was changed while it was sent"):
        transfer.push(client, path, name, sha256(path), Progress(change))
    assert not [entry for entry in os.listdir(agent.workspace / "files") if name in entry]


def test_files_that_are_not_there(client, tmp_path):
    with pytest.raises(ImageError, match="there is no such file in the builder"):
        transfer.fetch(client, "none", str(tmp_path / "back"), "0" * 64, silent())
    with pytest.raises(ImageError, match="none: reading the file to be sent to the builder failed: no such file"):
        transfer.push(client, str(tmp_path / "none"), "x", "0" * 64, silent())
    with pytest.raises(ImageError, match="writing the file that comes from the builder failed: no such file"):
        transfer.fetch(client, "none", str(tmp_path / "folder/back"), "0" * 64, silent())


def test_a_full_disk_is_one_sentence(agent, client, tmp_path, name):
    path = write(tmp_path / "file", 2 * MIB, (0, os.urandom(2 * MIB)))
    transfer.push(client, path, name, sha256(path), silent())
    source = ("import resource, signal, sys; from ansible_collections.ocne.images.plugins.module_utils.builders.remote import client, transfer; "
              "from ansible_collections.ocne.images.plugins.module_utils.common.progress import silent; "
              "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
              "try: transfer.fetch(client.DirectClient('127.0.0.1', int(sys.argv[1]), sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5], silent())\n"
              "except transfer.ImageError as error: print(error)")
    told = subprocess.run([sys.executable, "-c", source, str(agent.port), TOKEN, name, str(tmp_path / "back"), sha256(path)],
                          env=environment(), stdout=subprocess.PIPE, check=True)
    assert told.stdout.decode().startswith(f"{tmp_path}/back: writing the file that comes from the builder failed: file too large;")
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("way", ["push", "fetch"])
def test_a_signal_ends_it_at_once(agent, tmp_path, name, small, way):
    path = write(tmp_path / "file", 8 * MIB, (0, os.urandom(8 * MIB)))
    transfer.push(agent.client(), path, name, sha256(path), silent())

    def slow(data, seen, upstream):
        time.sleep(0.1)
        return data

    with Proxy(agent.port, slow) as proxy:
        client = agent.client(proxy.port)
        began, timer = time.monotonic(), threading.Timer(0.4, os.kill, (os.getpid(), signal.SIGTERM))
        with pytest.raises(Interrupted), Lifeline():
            timer.start()
            if way == "push":
                transfer.push(client, path, name + "-2", sha256(path), silent())
            else:
                transfer.fetch(client, name, str(tmp_path / "back"), sha256(path), silent())
        timer.cancel()
        assert time.monotonic() - began < 2
    assert not [thread for thread in threading.enumerate() if thread.name in ("transfer", "following-digest")]
    assert os.listdir(tmp_path) == ["file"]


def test_a_stop_while_what_was_sent_is_taken_back(agent, tmp_path, name, monkeypatch):
    path = write(tmp_path / "file", MIB, (0, os.urandom(MIB)))

    class AgentClient(type(agent.client())):
        def request(self, method, path, *arguments, **options):
            if method == "DELETE":
                raise Interrupted("received SIGTERM")
            return super().request(method, path, *arguments, **options)

    monkeypatch.setattr(transfer.digests, "same_content", lambda before, after: False)
    with pytest.raises(Interrupted):
        transfer.push(AgentClient("127.0.0.1", agent.port, TOKEN), path, name, sha256(path), silent())


def test_a_thread_that_cannot_be_woken_is_left_behind(agent, tmp_path, name, small, monkeypatch):
    """An API server that does not answer must not hold who pressed Ctrl-C; nor may what comes late be written to another file."""
    monkeypatch.setattr(transfer, "_LEAVE", 0.1)
    path = write(tmp_path / "file", 8 * MIB, (0, os.urandom(8 * MIB)))
    transfer.push(agent.client(), path, name, sha256(path), silent())
    stall, first = threading.Event(), threading.Semaphore(1)

    def spoil(data, seen, upstream):
        if not upstream and proxy.down > 300_000:
            if first.acquire(blocking=False):
                os.kill(os.getpid(), signal.SIGTERM)
            stall.wait(10)
        return data

    with Proxy(agent.port, spoil) as proxy:
        client = agent.client(proxy.port)
        monkeypatch.setattr(client, "close", lambda ident=None: None)
        began = time.monotonic()
        with pytest.raises(Interrupted), Lifeline():
            transfer.fetch(client, name, str(tmp_path / "back"), sha256(path), silent())
        assert time.monotonic() - began < 5
        left = [thread for thread in threading.enumerate() if thread.name == "transfer"]
        assert left
        with open(tmp_path / "other", "w+b") as other:
            stall.set()
            for thread in left:
                thread.join(10)
            assert os.fstat(other.fileno()).st_size == 0
