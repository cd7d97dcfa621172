# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How an artifact comes to its destination, and what is left of those that did not."""

from __future__ import annotations

import os

import pytest

from ansible_collections.ocne.images.plugins.module_utils.artifact.record import examine
from ansible_collections.ocne.images.plugins.module_utils.artifact.staging import staging_folder
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.artifact.artifacts import make


def test_staging_is_gone_after_a_fault_and_the_destination_as_it_was(tmp_path):
    dest = tmp_path / "disk"
    dest.write_bytes(b"old")
    with pytest.raises(RuntimeError):
        with staging_folder(str(dest)) as staging:
            with open(os.path.join(staging.path, "out"), "wb") as file:
                file.write(b"half")
            raise RuntimeError
    assert os.listdir(tmp_path) == ["disk"]
    assert dest.read_bytes() == b"old"


def test_the_next_run_removes_what_a_dead_one_left_and_not_what_a_living_one_has(tmp_path):
    dest = tmp_path / "disk"
    dead = tmp_path / ".disk.0123.ocne-staging"
    dead.mkdir()
    (dead / "lock").write_text("")
    (dead / "big").write_text("left")
    foreign = tmp_path / ".disk2.0123.ocne-staging"
    foreign.mkdir()
    with staging_folder(str(dest)) as first:
        assert not dead.exists()
        with staging_folder(str(dest)) as second:
            assert first.path != second.path
            assert os.path.isdir(first.path)
    assert foreign.exists()


def test_extents_come_along_and_old_ones_go(tmp_path):
    dest = tmp_path / "disk.vmdk"
    make(tmp_path, dest, b"one", ["disk-a.vmdk"])
    make(tmp_path, dest, b"two", ["disk-b.vmdk"])
    assert sorted(os.listdir(tmp_path)) == ["disk-b.vmdk", "disk.vmdk", "disk.vmdk.record.json"]
    (tmp_path / "disk-b.vmdk").write_bytes(b"TWO")
    assert "extent" in examine(str(dest))[1]
