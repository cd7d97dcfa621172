# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a file is, and whether it was touched."""

from __future__ import annotations

import hashlib
import os

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.progress import Progress
from ansible_collections.ocne.images.plugins.module_utils.files import digests

DATA = os.urandom(100_000)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "disk"
    path.write_bytes(DATA)
    return path


def sparse(path, size, places):
    """A file of holes with data at some places."""
    with open(path, "wb") as file:
        for offset, data in places.items():
            file.seek(offset)
            file.write(data)
        file.truncate(size)
    return path


def test_sha256_and_size(file):
    events = []
    assert digests.sha256_file(str(file), Progress(events.append, interval=0)) == (hashlib.sha256(DATA).hexdigest(), len(DATA))
    assert events[-1]["phase"] == "checksum disk" and events[-1]["done"] == events[-1]["total"] == len(DATA)


def test_a_sparse_digest_is_of_the_content_not_of_the_holes(tmp_path):
    holes = sparse(tmp_path / "holes", 50 << 20, {3 << 20: DATA, (40 << 20) + 12345: DATA})
    full = tmp_path / "full"
    full.write_bytes(holes.read_bytes())
    digest = digests.sparse_digest(str(holes))
    assert digest == digests.sparse_digest(str(full)) and digest.startswith(digests.SPARSE_PREFIX)


def test_a_sparse_digest_sees_every_difference(tmp_path):
    places = {0: DATA, 3 << 20: DATA}
    files = [sparse(tmp_path / "a", 5 << 20, places), sparse(tmp_path / "b", (5 << 20) + 1, places), sparse(tmp_path / "c", 5 << 20, {0: DATA}),
             sparse(tmp_path / "d", 5 << 20, {0: DATA, 4 << 20: DATA}), sparse(tmp_path / "e", 5 << 20, {0: DATA, (3 << 20) + 1: DATA}),
             sparse(tmp_path / "f", 5 << 20, {}), sparse(tmp_path / "g", 0, {})]
    assert len({digests.sparse_digest(str(path)) for path in files}) == len(files)


def test_golden_sparse_digest(tmp_path):
    """Records of users hold such digests: another one would make every raw image anew."""
    path = sparse(tmp_path / "disk", 3 << 20, {1 << 20: b"content"})
    blocks = (16).to_bytes(8, "big") + b"content".ljust(64 << 10, b"\0") + (3 << 20).to_bytes(8, "big")
    assert digests.sparse_digest(str(path)) == "sparse-sha256:" + hashlib.sha256(blocks).hexdigest()


def test_a_digest_of_the_kind_of_another(file):
    assert digests.digest_file(str(file), "0" * 64) == digests.digest_file(str(file)) == hashlib.sha256(DATA).hexdigest()
    assert digests.digest_file(str(file), digests.SPARSE_PREFIX + "0") == digests.sparse_digest(str(file))


def test_a_file_that_was_touched(file):
    before = digests.stat_of(str(file))
    with open(file, "rb") as opened:
        assert digests.stat_of(opened.fileno()) == before
    os.chmod(file, 0o600)
    os.utime(file, ns=(5, before["mtime_ns"]))
    assert digests.same_content(before, digests.stat_of(str(file)))
    os.utime(file, ns=(5, before["mtime_ns"] + 1))
    assert not digests.same_content(before, digests.stat_of(str(file)))


def test_another_file_of_the_same_time_and_size(file, tmp_path):
    before = digests.stat_of(str(file))
    (tmp_path / "other").write_bytes(DATA[::-1])
    os.utime(tmp_path / "other", ns=(5, before["mtime_ns"]))
    os.replace(tmp_path / "other", file)
    assert not digests.same_content(before, digests.stat_of(str(file)))
