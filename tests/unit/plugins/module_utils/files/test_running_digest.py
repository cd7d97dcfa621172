# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A digest that follows the writer of its file."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading

import pytest

from ansible_collections.ocne.images.plugins.module_utils.files.running_digest import FollowingDigest


@pytest.fixture
def file(tmp_path):
    with open(tmp_path / "file", "w+b", buffering=0) as opened:
        yield opened


def test_it_reads_what_is_settled(file):
    size = 5 << 20
    data = os.urandom(size)
    file.truncate(size)
    digest = FollowingDigest(file.fileno())
    for end in range(0, size, 700_000):
        # what is not settled yet may still be anything
        file.seek(end)
        file.write(b"?" * 10)
        file.seek(0)
        file.write(data[:end])
        digest.settle(end)
    file.seek(0)
    file.write(data)
    assert digest.finish(size) == hashlib.sha256(data).hexdigest()
    digest.abandon()


def test_a_hole_is_zeros(file):
    file.truncate(3_000_000)
    assert FollowingDigest(file.fileno()).finish(3_000_000) == hashlib.sha256(bytes(3_000_000)).hexdigest()


def test_a_file_that_is_too_short_is_an_error(file):
    with pytest.raises(OSError, match="shorter"):
        FollowingDigest(file.fileno()).finish(10)


def _is_of(fd, file):
    with contextlib.suppress(OSError):   # the descriptor that listed the others
        return os.path.samestat(os.fstat(fd), os.fstat(file.fileno()))
    return False


def test_an_abandoned_one_leaves_nothing(file):
    digest = FollowingDigest(file.fileno())
    digest.settle(0)
    digest.abandon()
    digest.abandon()
    # its own descriptor is the only one left
    assert [fd for fd in map(int, os.listdir("/proc/self/fd")) if _is_of(fd, file)] == [file.fileno()]
    assert not [thread for thread in threading.enumerate() if thread.name == "following-digest"]
