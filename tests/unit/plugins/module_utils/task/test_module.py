# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A module in a process of its own, as Ansible runs it."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import subprocess
import sys
from types import SimpleNamespace

import pytest
from ansible.module_utils import basic

from ansible_collections.ocne.images.plugins.module_utils.artifact.record import Record, load_record
from ansible_collections.ocne.images.plugins.module_utils.common.canonical import text_digest
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.files.digests import stat_of
from ansible_collections.ocne.images.plugins.module_utils.task import module
from ansible_collections.ocne.images.plugins.module_utils.work.convert import Recipe
from ansible_collections.ocne.images.plugins.module_utils.work.job import Artifact
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.builders.remote.agents import environment

SOURCE = """
import json, os, signal, time
from ansible.module_utils import basic
from {module} import run_module
from {errors} import ImageError

basic._ANSIBLE_ARGS, basic._ANSIBLE_PROFILE = json.dumps({{"ANSIBLE_MODULE_ARGS": {{}}}}).encode(), "legacy"

def stop():
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(30)

def body(m):
{body}

run_module(dict(), body, files=False)
"""


def run(body):
    """What the module says, and its exit status."""
    source = SOURCE.format(module=module.__name__, errors=module.ImageError.__module__, body="".join(f"    {line}\n" for line in body.splitlines()))
    done = subprocess.run([sys.executable, "-c", source], env=environment(), stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    return json.loads(done.stdout), done.returncode


@pytest.mark.parametrize("body", [
    "stop()",
    "try:\n    stop()\nexcept Exception:\n    return {}",
    # whatever goes wrong on the way out
    *(f"try:\n    stop()\nfinally:\n    raise {fault}" for fault in ("ImageError('killed by SIGKILL')", "OSError(5, 'no more of it')")),
])
def test_a_stop_is_told_as_such(body):
    answer, status = run(body)
    assert (answer["failed"], status) == (True, 1)
    assert answer["msg"] == "stopped: received SIGTERM; nothing half done is at the destination; run the task again."
    assert answer["error"]["what"] == "stopped: received SIGTERM"


@pytest.mark.parametrize("body, words", [
    ("raise ImageError('it is broken', '/disk')", "/disk: it is broken."), ("raise OSError(5, 'Oh dear')", "the task failed: oh dear."),
])
def test_a_fault_is_one_sentence(body, words):
    answer, status = run(body)
    assert (answer["msg"], status) == (words, 1)


def test_what_it_returns():
    answer, status = run("return {'changed': True, 'dest': '/disk'}")
    assert (answer["changed"], answer["dest"], status) == (True, "/disk", 0)


def test_a_diff_shows_the_defaults_that_records_leave_out():
    def record(kind, **options):
        return Record(kind, {"files": ["0"]}, dict(options, format="vmdk"), "", "vmdk", 1, {})

    m = module.ImageModule(SimpleNamespace(params={}, check_mode=False, _diff=True), None, contextlib.ExitStack())
    after = record("ocne_image_convert", hwversion=13)
    shown = m.diff(record("ocne_image_convert", subformat="monolithicFlat"), after, "/disk", Recipe)
    assert json.loads(shown["before"])["options"] == {"format": "vmdk", "compression": "none", "subformat": "monolithicFlat", "adapter_type": None,
                                                      "hwversion": None, "metadata": None}
    assert json.loads(shown["after"])["options"] == {"format": "vmdk", "compression": "none", "subformat": None, "adapter_type": None, "hwversion": 13,
                                                     "metadata": None}
    # of another kind nothing is known
    assert json.loads(m.diff(record("ocne_boot_image"), after, "/disk", Recipe)["before"])["options"] == {"format": "vmdk"}
    assert m.diff(None, after, "/disk", Recipe)["before"] == ""


# --- what modules share ----------------------------------------------------------------------------------


@pytest.fixture
def task(monkeypatch):
    """task(check=False, **params) -> an ImageModule of a real AnsibleModule that takes attributes of files."""
    def make(check=False, **params):
        arguments = dict(params, _ansible_check_mode=check, _ansible_remote_tmp="/tmp", _ansible_keep_remote_files=False)
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode())
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        ansible = basic.AnsibleModule(dict(module.ARTIFACT_SPEC, builder={"type": "dict"}), supports_check_mode=True, add_file_common_args=True)
        return module.ImageModule(ansible, lambda event: None, contextlib.ExitStack())
    return make


def publish(m, dest, content=b"image"):
    with m.staging(str(dest)) as staging:
        path = os.path.join(staging.path, "out")
        with open(path, "wb") as file:
            file.write(content)
        os.chmod(path, 0o600)
        m.publish(Artifact("out", path, "raw", len(content), text_digest(content), len(content)), str(dest),
                  Record("test", {}, {}, text_digest(content), "raw", len(content), {}))


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.mark.parametrize("given, words", [
    ("none", "the source image does not exist; check the path"), ("folder", "the source image is not a file"), ("workspace:x", "that of a builder pod"),
])
def test_a_source_that_cannot_be_read(task, tmp_path, monkeypatch, given, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(ImageError, match=words):
        task().source(given)


def test_a_source_s_path(task, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "disk").write_text("")
    assert task().source("./disk") == task().source("~/disk") == str(tmp_path / "disk")


def test_where_an_artifact_goes(task, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/real").write_text("")
    (tmp_path / "link").symlink_to("folder/real")
    assert task().destination(str(tmp_path / "folder"), "disk.raw") == str(tmp_path / "folder/disk.raw")
    assert task().destination(str(tmp_path / "new"), "disk.raw") == str(tmp_path / "new")
    assert task().destination(str(tmp_path / "link"), "disk.raw") == str(tmp_path / "folder/real")


def test_where_nothing_can_go(task, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ImageError, match="the destination is not a file"):
        task().destination(str(tmp_path / "pipe"), "disk")
    for given in (f"{tmp_path}/none/disk", f"{tmp_path}/none/"):
        with pytest.raises(ImageError, match=f"{tmp_path}/none: the folder of the destination does not exist; make it first"):
            task().destination(given, "disk")
        # an earlier task may have said that it would make it
        assert task(check=True).destination(given, "disk") == f"{tmp_path}/none/disk"


def test_what_is_published_has_the_usual_mode(task, tmp_path):
    umask = os.umask(0o027)
    try:
        publish(task(), tmp_path / "disk")
        publish(task(mode="0444"), tmp_path / "other")
    finally:
        os.umask(umask)
    assert (mode(tmp_path / "disk"), mode(tmp_path / "other")) == (0o640, 0o444)


def test_what_was_there_keeps_its_mode(task, tmp_path):
    (tmp_path / "disk").write_text("old")
    os.chmod(tmp_path / "disk", 0o604)
    publish(task(), tmp_path / "disk")
    assert (mode(tmp_path / "disk"), (tmp_path / "disk").read_bytes()) == (0o604, b"image")


def test_what_is_there_is_known_by_its_record(task, tmp_path):
    dest = str(tmp_path / "disk")
    assert task().current(dest) == (None, "it does not exist")
    publish(task(), dest)
    record, why = task().current(dest)
    assert (record.kind, why) == ("test", None)
    assert task(force=True).current(dest) == (None, "force is set")
    (tmp_path / "disk").write_bytes(b"other")
    assert task().current(dest) == (None, "its content is not what its record says")


def test_what_a_dead_run_left_goes_but_not_in_check_mode(task, tmp_path):
    dead = tmp_path / ".disk.0123.ocne-staging"
    dead.mkdir()
    task(check=True).current(str(tmp_path / "disk"))
    assert dead.exists()
    task().current(str(tmp_path / "disk"))
    assert not dead.exists()


def test_attributes_alone_are_a_change_and_the_record_follows(task, tmp_path):
    dest = str(tmp_path / "disk")
    publish(task(mode="0644"), dest)
    assert task(mode="0644").attributes(dest, False) is False
    assert task(check=True, mode="0600").attributes(dest, False) is True and mode(dest) == 0o644
    assert task(mode="0600").attributes(dest, False) is True and mode(dest) == 0o600
    # the record knows of the change time: the next task reads nothing
    assert load_record(dest).stat == stat_of(dest)


def test_a_workspace_is_that_of_a_pod(task):
    assert task(builder={"type": "pod"}).destination("workspace:disk", "x") == "workspace:disk"
    assert task(builder={"type": "pod"}).source("workspace:disk") == "workspace:disk"
    with pytest.raises(ImageError, match="name the pod in the option builder"):
        task(builder={"type": "local"}).destination("workspace:disk", "x")
