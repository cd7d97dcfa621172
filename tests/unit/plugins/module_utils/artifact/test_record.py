# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import json
import os

import pytest

from ansible_collections.ocne.images.plugins.module_utils.artifact.record import Record, examine
from ansible_collections.ocne.images.plugins.module_utils.artifact.source import Pinned, identity
from ansible_collections.ocne.images.plugins.module_utils.artifact.staging import publish, staging_folder
from ansible_collections.ocne.images.plugins.module_utils.common.canonical import text_digest
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.files import space
from ansible_collections.ocne.images.plugins.module_utils.work.job import Artifact


def make(folder, dest, content=b"image", extents=()):
    """Stage and publish a real small file."""
    with staging_folder(str(dest)) as staging:
        path = os.path.join(staging.path, "out")
        with open(path, "wb") as file:
            file.write(content)
        values = []
        for name in extents:
            with open(os.path.join(staging.path, name), "wb") as file:
                file.write(content)
            values.append({"sha256": text_digest(content)})
        done = Artifact("out", path, "raw", len(content), text_digest(content), len(content), list(extents), {"extents": values})
        record = Record("test", {"digest": "1"}, {"a": 1}, done.sha256, "raw", done.size, {})
        publish(done, str(dest), record)
    return record


def test_a_published_file_needs_no_second_look(tmp_path):
    dest = tmp_path / "disk"
    make(tmp_path, dest)
    os.chmod(tmp_path, 0o755)
    record, why = examine(str(dest))
    assert why is None
    assert record.sha256 == text_digest(b"image")
    assert sorted(os.listdir(tmp_path)) == ["disk", "disk.record.json"]


def test_a_touched_file_is_hashed_again_and_its_record_follows(tmp_path):
    dest = tmp_path / "disk"
    make(tmp_path, dest)
    os.utime(dest, ns=(1, 1))
    before = (tmp_path / "disk.record.json").read_text()
    assert examine(str(dest), readonly=True)[1] is None
    assert (tmp_path / "disk.record.json").read_text() == before
    assert examine(str(dest))[1] is None
    assert json.loads((tmp_path / "disk.record.json").read_text())["stat"]["mtime_ns"] == 1


def test_another_content_of_the_same_size_is_seen(tmp_path):
    dest = tmp_path / "disk"
    make(tmp_path, dest)
    dest.write_bytes(b"IMAGE")
    assert "content" in examine(str(dest))[1]


def test_verify_sees_what_the_stat_does_not(tmp_path):
    dest = tmp_path / "disk"
    make(tmp_path, dest)
    path = tmp_path / "disk.record.json"
    data = json.loads(path.read_text())
    dest.write_bytes(b"IMAGE")
    status = os.stat(dest)
    data["stat"] = {"size": 5, "mtime_ns": status.st_mtime_ns, "ctime_ns": status.st_ctime_ns, "inode": status.st_ino}
    path.write_text(json.dumps(data))
    assert examine(str(dest))[1] is None
    assert "content" in examine(str(dest), verify=True)[1]


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"recipe": "x", "version": 1}', "\x00"])
def test_a_record_that_makes_no_sense_counts_as_none(tmp_path, text):
    dest = tmp_path / "disk"
    make(tmp_path, dest)
    (tmp_path / "disk.record.json").write_text(text)
    assert examine(str(dest)) == (None, "it has no record")


def test_a_forged_recipe_counts_as_none(tmp_path):
    dest = tmp_path / "disk"
    make(tmp_path, dest)
    path = tmp_path / "disk.record.json"
    data = json.loads(path.read_text())
    data["options"] = {"a": 2}
    path.write_text(json.dumps(data))
    assert examine(str(dest))[0] is None


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


def test_too_little_space_is_said_with_numbers(tmp_path):
    with pytest.raises(ImageError) as caught:
        space.check_space(str(tmp_path), 1 << 62, "the image")
    assert str(1 << 62) in str(caught.value)
    assert caught.value.details["free_bytes"] < 1 << 62


def test_the_recipe_changes_with_what_it_is_made_of():
    one = Record("k", {"digest": "1"}, {"a": 1, "b": 2}, "s", "raw", 1, {})
    same = Record("k", {"digest": "1"}, {"b": 2, "a": 1}, "other", "raw", 2, {"x": 1})
    other = Record("k", {"digest": "2"}, {"a": 1, "b": 2}, "s", "raw", 1, {})
    assert one.recipe == same.recipe != other.recipe


def test_the_record_of_what_took_a_name_is_not_taken_for_the_pinned_file(tmp_path):
    dest = tmp_path / "disk"
    make(tmp_path, dest)
    pinned = Pinned(str(dest))
    assert identity(str(dest), opened=pinned.opened) == text_digest(b"image")
    make(tmp_path, dest, b"another image")
    assert identity(str(dest), opened=pinned.opened) == text_digest(b"image")
    assert identity(str(dest)) == text_digest(b"another image")
    dest.unlink()
    assert identity(str(dest), opened=pinned.opened) == text_digest(b"image")
