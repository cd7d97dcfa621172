# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What ocne_image_customize decides before any work is started."""

from __future__ import annotations

import contextlib
import os
from types import SimpleNamespace

import pytest

from ansible_collections.ocne.images.plugins.module_utils.artifact import record, source
from ansible_collections.ocne.images.plugins.module_utils.artifact.record import Record, write_record
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError, Interrupted
from ansible_collections.ocne.images.plugins.module_utils.common.progress import silent
from ansible_collections.ocne.images.plugins.module_utils.files import digests
from ansible_collections.ocne.images.plugins.module_utils.task.module import ImageModule
from ansible_collections.ocne.images.plugins.module_utils.work.job import Artifact, Result
from ansible_collections.ocne.images.plugins.modules import ocne_image_customize as module


@pytest.fixture
def here(tmp_path):
    (tmp_path / "src.qcow2").write_bytes(b"a source")
    return tmp_path


def task(here, **options):
    """An ImageModule with the options of a task."""
    params = dict(dict.fromkeys(("dest", "outputs", *module._EDITS)), src=str(here / "src.qcow2"), src_format="qcow2", compression="keep",
                  force=False, verify=False)
    params.update(options)
    m = ImageModule(SimpleNamespace(params=params, check_mode=False, _diff=True), lambda event: None, contextlib.ExitStack())
    m.progress = silent()
    return m


def examined(m):
    """The plans of a task, compared with what is there."""
    src = m.source(m.params["src"])
    source = module.Source(m, src)
    plans = module.plans(m, src)
    for plan in plans:
        module.examine(m, plan, source)
    return plans, source


def make(m):
    """What a run leaves: an artifact and its record."""
    (plan,), source = examined(m)
    with open(plan.dest, "wb") as file:
        file.write(b"an image")
    sums, size = digests.sha256_file(plan.dest)
    record = Record(module._KIND, source.recipe, plan.options, sums, "qcow2", 1 << 30, {"size": size, "source_stat": source.stat})
    record.stat = digests.stat_of(plan.dest)
    write_record(plan.dest, record)
    return plan.dest


def reason(m):
    return examined(m)[0][0].reason


def test_the_same_task_has_nothing_to_do_and_reads_nothing(here, monkeypatch):
    options = {"dest": str(here / "out"), "platform": "oci", "ignition_config": {"ignition": {"version": "3.4.0"}}}
    assert reason(task(here, **options)) == "it does not exist"
    make(task(here, **options))

    def forbidden(*_arguments, **_keywords):
        raise AssertionError("an image was read")

    for room in (record, source):
        monkeypatch.setattr(room, "digest_file", forbidden)
    assert reason(task(here, **options)) is None


@pytest.mark.parametrize("change,why", [
    ({"platform": "olvm"}, "other options"), ({"kernel_arguments": {"append": ["quiet"]}}, "other options"), ({"compression": "zstd"}, "other options"),
    ({"files": [{"path": "/etc/x", "content": ""}]}, "other options"), ({"ignition_config": {}}, "other options"), ({"src_format": "raw"}, "other options"),
    ({"force": True}, "force is set"),
])
def test_what_makes_it_anew(here, change, why):
    options = {"dest": str(here / "out"), "platform": "oci"}
    make(task(here, **options))
    assert why in reason(task(here, **{**options, **change}))


def test_a_changed_source_makes_it_anew_and_a_touched_one_does_not(here):
    options = {"dest": str(here / "out"), "platform": "oci"}
    make(task(here, **options))
    os.utime(here / "src.qcow2")
    assert reason(task(here, **options)) is None
    (here / "src.qcow2").write_bytes(b"a nother")
    assert reason(task(here, **options)) == "its source has changed"


def test_in_place(here):
    options = {"platform": "oci"}
    assert reason(task(here, **options)) == "it was not made by this task"
    dest = make(task(here, **options))
    assert dest == str(here / "src.qcow2")
    assert reason(task(here, **options)) is None
    assert reason(task(here, dest=str(here), **options)) is None
    assert reason(task(here, platform="olvm")) == "it was made with other options"


def test_outputs_take_from_the_task_what_they_do_not_say(here):
    m = task(here, platform="oci", compression="zlib", files=[{"path": "/etc/x", "content": "x"}],
             outputs=[{"dest": str(here / "a")}, {"dest": str(here / "b"), "platform": "olvm", "files": [], "compression": "none"}])
    a, b = examined(m)[0]
    assert (a.platform, a.format, a.recipe.compression, len(a.recipe.files)) == ("oci", "qcow2", "zlib", 3)
    assert (b.platform, b.recipe.compression, b.recipe.files) == ("olvm", "none", [])


@pytest.mark.parametrize("outputs,why", [
    ([], "outputs is empty"), (["a", "./a"], "same destination"), (["a", "src.qcow2"], "the source is also the destination"),
])
def test_refused_outputs(here, outputs, why):
    with pytest.raises(ImageError, match=why):
        examined(task(here, outputs=[{"dest": str(here / name)} for name in outputs]))


def test_contents_leave_the_options(here):
    secret = {"path": "/etc/x", "content": "s3cret"}
    m = task(here, files=[dict(secret)], ignition_config={"x": "s3cret"}, platform={"files": [dict(secret)]},
             outputs=[{"dest": "a", "files": [{"path": "/etc/x", "content_base64": "s3cret"}], "ignition_config": "s3cret",
                       "platform": {"files": [dict(secret)]}}])
    module.conceal(m.params)
    assert "s3cret" not in str(m.params)
    assert m.params["files"][0]["path"] == "/etc/x"


@pytest.mark.parametrize("place", ["build", "publish"])
def test_a_stop_ends_the_task_not_one_output(here, monkeypatch, place):
    """Else the next output would be published after a Ctrl-C."""
    m = task(here, platform="oci", outputs=[{"dest": str(here / name)} for name in ("a", "b")])
    stale, source = examined(m)
    made, stopped = Result([Artifact(plan.dest, "/image", "qcow2", 1, "0" * 64, 1) for plan in stale]), []
    monkeypatch.setattr(m, "build", lambda *_arguments: made)
    monkeypatch.setattr(m, "publish", lambda *_arguments: None)

    def stop(*_arguments):
        stopped.append(place)
        raise Interrupted("received SIGTERM")

    monkeypatch.setattr(m, place, stop)
    with pytest.raises(Interrupted):
        module.build(m, source, stale)
    assert stopped == [place] and os.listdir(here) == ["src.qcow2"]
