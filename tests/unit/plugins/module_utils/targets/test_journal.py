# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is written down of what is under way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pytest

from ansible_collections.ocne.images.plugins.module_utils.targets import journal as journal_file
from ansible_collections.ocne.images.plugins.module_utils.targets.journal import Journal

ROOT_OF_ALL = journal_file.__file__[:journal_file.__file__.index("/ansible_collections/")]


def hidden(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def test_an_entry_is_beside_the_image_and_private(file, journal):
    entry = journal.new(content="c", region="r")
    entry.save(upload="u")
    name, = hidden(file.parent)
    folder = file.parent / name
    assert name == f".boot.qcow2.{entry.nonce}.ocne-import"
    assert folder.stat().st_mode & 0o777 == 0o700 and (folder / "state.json").stat().st_mode & 0o777 == 0o600
    assert json.loads((folder / "state.json").read_text()) == {"content": "c", "region": "r", "upload": "u"}
    assert entry["upload"] == "u" and entry["image"] is None
    entry.remove()
    assert not hidden(file.parent)


def test_one_of_a_run_that_lives_is_left_alone(file, journal):
    mine = journal.new(content="c")
    assert Journal(str(file)).left() == []
    mine.release()
    taken, = Journal(str(file)).left()
    assert taken.values == {"content": "c"} and taken.nonce == mine.nonce
    # and now it is the other's
    assert journal.left() == []


def test_one_of_a_killed_run_is_found(file, journal):
    code = textwrap.dedent("""
        import os, signal, sys
        sys.path.insert(0, sys.argv[1])
        from ansible_collections.ocne.images.plugins.module_utils.targets.journal import Journal
        entry = Journal(sys.argv[2]).new(content="of the dead")
        os.kill(os.getpid(), signal.SIGKILL)
        """)
    subprocess.run([sys.executable, "-c", code, ROOT_OF_ALL, str(file)], check=False, timeout=60)
    entry, = journal.left()
    assert entry["content"] == "of the dead"


def test_to_look_changes_nothing(file, journal):
    journal.new(content="c").release()
    (file.parent / ".boot.qcow2.0000.ocne-import").mkdir()
    before = hidden(file.parent)
    entry, = journal.left(readonly=True)
    assert entry["content"] == "c" and hidden(file.parent) == before
    taken, = journal.left()
    assert taken["content"] == "c"


def test_one_that_was_killed_before_it_wrote_goes(file, journal):
    (file.parent / ".boot.qcow2.0000.ocne-import").mkdir()
    assert journal.left() == [] and not hidden(file.parent)


def test_names_with_a_meaning_to_a_shell(tmp_path):
    path = tmp_path / "a[b]*?.qcow2"
    path.write_bytes(b"x")
    Journal(str(path)).new(content="c").release()
    (tmp_path / "ab.qcow2").write_bytes(b"x")
    assert Journal(str(tmp_path / "ab.qcow2")).left() == []
    entry, = Journal(str(path)).left()
    assert entry["content"] == "c"


def test_elsewhere_where_the_folder_cannot_be_written(tmp_path, monkeypatch):
    # root may write everywhere, but nobody makes a folder below a file
    path = tmp_path / "file" / "image"
    (tmp_path / "file").write_bytes(b"")
    entry = Journal(str(path)).new(content="c")
    assert os.path.isdir(tmp_path / "state" / "ocne-images")
    entry.release()
    assert [one["content"] for one in Journal(str(path)).left()] == ["c"]
    assert Journal(None, "something else").left() == []


def test_what_is_no_file_here(tmp_path):
    Journal(None, "digest").new(source="s").release()
    entry, = Journal(None, "digest").left()
    assert entry["source"] == "s"


def test_nowhere(tmp_path, monkeypatch):
    from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file" / "state"))
    with pytest.raises(ImageError, match="writing down what is under way failed"):
        Journal(str(tmp_path / "file" / "image")).new(content="c")
