# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The file between a module and its action plugin."""

from __future__ import annotations

import json
import os
import stat

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.progress import PROGRESS_VARIABLE
from ansible_collections.ocne.images.plugins.module_utils.task.progress_file import ProgressFile

EVENT = {"phase": "pull", "done": 1}


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setenv(PROGRESS_VARIABLE, str(tmp_path / "ocne-images-progress-1"))
    return tmp_path / "ocne-images-progress-1"


def test_a_line_for_each_event_while_the_module_runs(path):
    with ProgressFile() as file:
        file.emit(EVENT)
        file.emit(EVENT)
        assert [json.loads(line) for line in path.read_text().splitlines()] == [EVENT, EVENT]
        # with become the reader is another user
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        assert PROGRESS_VARIABLE not in os.environ
    assert not path.exists()


def test_without_a_name_nobody_is_told(monkeypatch):
    monkeypatch.delenv(PROGRESS_VARIABLE, raising=False)
    with ProgressFile() as file:
        file.emit(EVENT)


def test_a_link_in_the_way_is_not_followed(path, tmp_path):
    (tmp_path / "mine").write_text("mine")
    path.symlink_to(tmp_path / "mine")
    with ProgressFile() as file:
        file.emit(EVENT)
    assert path.is_symlink() and path.read_text() == "mine"


def test_what_a_killed_run_has_left_goes_and_what_another_uses_stays(path, monkeypatch):
    left, used = path.with_name("ocne-images-progress-0"), path.with_name("ocne-images-progress-2")
    left.write_text("")
    monkeypatch.setenv(PROGRESS_VARIABLE, str(used))
    with ProgressFile():
        monkeypatch.setenv(PROGRESS_VARIABLE, str(path))
        with ProgressFile():
            assert not left.exists() and used.exists()


def test_a_full_disk_does_not_end_the_work(path):
    with ProgressFile() as file:
        with open("/dev/full", "w") as full:
            os.dup2(full.fileno(), file._file.fileno())
        file.emit(EVENT)
        file.emit(EVENT)
    assert not path.exists()
