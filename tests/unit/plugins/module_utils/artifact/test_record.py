# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a record says of the file beside it, and when it is believed."""

from __future__ import annotations

import json
import os

import pytest

from ansible_collections.ocne.images.plugins.module_utils.artifact.record import Record, examine
from ansible_collections.ocne.images.plugins.module_utils.common.canonical import text_digest
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.artifact.artifacts import make


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


def test_the_recipe_changes_with_what_it_is_made_of():
    one = Record("k", {"digest": "1"}, {"a": 1, "b": 2}, "s", "raw", 1, {})
    same = Record("k", {"digest": "1"}, {"b": 2, "a": 1}, "other", "raw", 2, {"x": 1})
    other = Record("k", {"digest": "2"}, {"a": 1, "b": 2}, "s", "raw", 1, {})
    assert one.recipe == same.recipe != other.recipe
