# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Copies of a source image: the same bytes and holes, whatever the file system can do."""

from __future__ import annotations

import errno
import os

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.common.progress import Progress, silent
from ansible_collections.ocne.images.plugins.module_utils.files import copying


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source"
    with open(path, "wb") as file:
        file.write(os.urandom(300_000))
        file.seek(40 << 20)
        file.write(os.urandom(copying._CHUNK + 12345))
        file.truncate(100 << 20)
    return path


def no_clone(*_arguments):
    raise OSError(errno.EOPNOTSUPP, "not here")


@pytest.mark.parametrize("fault", [None, errno.EXDEV, errno.ENOSYS])
def test_copy(tmp_path, source, monkeypatch, fault):
    monkeypatch.setattr(copying.fcntl, "ioctl", no_clone)
    if fault:
        def refuse(*_arguments):
            raise OSError(fault, "no")
        monkeypatch.setattr(os, "copy_file_range", refuse)
    target = tmp_path / "target"
    copying.copy(str(source), str(target), silent())
    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_blocks * 512 < 20 << 20
    assert target.stat().st_mode & 0o777 == 0o600


def test_a_full_disk_is_one_sentence(tmp_path, source, monkeypatch):
    monkeypatch.setattr(copying.fcntl, "ioctl", no_clone)

    def full(*_arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "copy_file_range", full)
    with pytest.raises(ImageError, match="no space left on device"):
        copying.copy(str(source), str(tmp_path / "target"), silent())


def test_what_is_there_is_not_written_over(tmp_path, source):
    (tmp_path / "target").write_text("mine")
    with pytest.raises(ImageError):
        copying.copy(str(source), str(tmp_path / "target"), silent())
    assert (tmp_path / "target").read_text() == "mine"


def test_a_file_that_becomes_shorter_meanwhile(tmp_path, source, monkeypatch):
    monkeypatch.setattr(copying.fcntl, "ioctl", no_clone)
    monkeypatch.setattr(os, "copy_file_range", lambda *_arguments: 0)
    monkeypatch.setattr(os, "pread", lambda *_arguments: b"")
    with pytest.raises(ImageError, match="the file became shorter"):
        copying.copy(str(source), str(tmp_path / "target"), silent())


@pytest.mark.parametrize("size", [0, 5 << 20])
def test_nothing_but_a_hole(tmp_path, monkeypatch, size):
    monkeypatch.setattr(copying.fcntl, "ioctl", no_clone)
    with open(tmp_path / "empty", "wb") as file:
        file.truncate(size)
    copying.copy(str(tmp_path / "empty"), str(tmp_path / "target"), silent())
    assert (tmp_path / "target").stat().st_size == size and (tmp_path / "target").stat().st_blocks == 0


def test_how_far_it_is(tmp_path, source, monkeypatch):
    monkeypatch.setattr(copying.fcntl, "ioctl", no_clone)
    events = []
    copying.copy(str(source), str(tmp_path / "target"), Progress(events.append, interval=0))
    assert events[-1]["phase"] == "copy image" and events[-1]["total"] == source.stat().st_size
    assert [event["done"] for event in events] == sorted(event["done"] for event in events)


def test_there_is_no_source(tmp_path):
    with pytest.raises(ImageError, match="copying the source image failed: no such file"):
        copying.copy(str(tmp_path / "none"), str(tmp_path / "target"), silent())
    assert not (tmp_path / "target").exists()
