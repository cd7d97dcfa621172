# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether the kernel has ended a process for want of memory."""

from __future__ import annotations

import builtins

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common import oom
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError

V2, V1 = "/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"


@pytest.fixture
def counters(tmp_path, monkeypatch):
    """counters({path: text}): these files of the kernel's, and no others."""
    real, there = open, {}

    def opened(path, *arguments, **options):
        if not str(path).startswith("/sys/fs/cgroup"):
            return real(path, *arguments, **options)
        copy = tmp_path / str(path).replace("/", "_")
        if path in there:
            copy.write_text(there[path])
        return real(copy, *arguments, **options)
    monkeypatch.setattr(builtins, "open", opened)
    return there.update


@pytest.mark.parametrize("files, kills", [
    ({}, 0),
    ({V2: "low 0\nhigh 0\nmax 9\noom 3\noom_kill 2\noom_group_kill 0\n"}, 2),
    ({V1: "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n"}, 5),
    ({V2: "low 0\nmax 1\n", V1: "oom_kill 5\n"}, 5),
    ({V2: ""}, 0),
])
def test_how_many(counters, files, kills):
    counters(files)
    assert oom.kills() == kills


def test_a_fault_is_explained_where_one_was_added(counters):
    error = ImageError("qemu-img: killed by SIGKILL", "/disk", "look around", status=-9)
    counters({V2: "oom_kill 2\n"})
    assert oom.explained(error, 2) is error
    explained = oom.explained(error, 1)
    assert str(explained).startswith("/disk: the work ran out of memory: qemu-img: killed by SIGKILL; raise the memory") and explained.details == {"status": -9}
