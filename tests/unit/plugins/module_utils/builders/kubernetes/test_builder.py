# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Jobs in a pod that only pretends; tests/integration has a real one."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from ansible_collections.ocne.images.plugins.module_utils.builders.kubernetes import builder as pod
from ansible_collections.ocne.images.plugins.module_utils.builders.remote.client import Response
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError, Interrupted
from ansible_collections.ocne.images.plugins.module_utils.work.job import Artifact, Job, Result

JOB = Job("boot_image", {"source": "docker://registry.example/ock:1", "registry": {}, "known": [], "architecture": "amd64"}, "/staging")


def stop(*_arguments, **_options):
    raise Interrupted("received SIGTERM")


def fail(*_arguments, **_options):
    raise ImageError("skopeo: no route to host", tool="skopeo")


class Session:
    """A named pod, which answers what `answers` has; asked: [(method, path)]."""

    own, mounted, retry_seconds, where = False, None, 1, "pod b1"

    def __init__(self):
        self.asked, self.answers, self.stops_at = [], {}, None
        self.status = {"programs": [pod.package.program()[1]], "machine": "x86_64"}
        self.client = SimpleNamespace(request=self.ask, ended=lambda seconds: None)

    def open(self, **_options):
        return True

    def ask(self, method, path, *_arguments, **_options):
        self.asked.append((method, path.partition("-")[0]))
        if method == self.stops_at and self.asked.count(self.asked[-1]) == 1:
            stop()
        return self.answers.get(method)

    def ask_json(self, method, path, data=None):
        self.ask(method, path)
        return {"staging": "/workspace/staging"}

    def has(self, name, digest):
        return False


@pytest.fixture
def builder():
    made = pod.PodBuilder({"source_transfer": "auto"}, lambda event: None)
    made._session = Session()
    return made


def answer(builder, **line):
    builder._session.answers["GET"] = Response(200, {"X-State": "ended", "X-Exit": "1"}, json.dumps(line).encode() + b"\n")


def test_what_the_program_tells_is_raised(builder):
    answer(builder, error=ImageError("it is broken", "/disk").as_dict())
    with pytest.raises(ImageError, match="/disk: it is broken"):
        builder._follow("job", None)
    # not by us: else the agent would say so
    answer(builder, error=Interrupted("received SIGTERM").as_dict())
    with pytest.raises(Interrupted, match="received SIGTERM"):
        builder._follow("job", None)


def test_a_stop_while_the_jobs_folder_goes(builder):
    """It is asked for again: a stop comes once, and the folder would fill the workspace of a named pod."""
    answer(builder, result={})
    builder._session.stops_at = "DELETE"
    with pytest.raises(Interrupted), builder._done("boot_image", {}, None) as done:
        assert done.staging == "/workspace/staging"
    assert builder._session.asked[-2:] == [("DELETE", "/v1/jobs/boot")] * 2


def test_a_folder_that_stays_is_no_fault(builder):
    answer(builder, result={})
    builder._session.client.request = fail
    with builder._done("boot_image", {}, None):
        pass


def test_a_stop_while_the_artifact_is_kept(builder, monkeypatch):
    item = Artifact("disk", "/workspace/staging/disk", "qcow2", 1, "0" * 64, 1)
    answer(builder, result={"artifacts": [vars(item)]})
    builder._workspace = SimpleNamespace(make_room=lambda inputs: None, bring=lambda inputs, pull: {}, fetch=lambda *_arguments: "disk", keep=stop)
    with pytest.raises(Interrupted):
        builder._work(JOB, None)


def test_a_stop_is_not_a_registry_out_of_the_pods_reach(builder, monkeypatch):
    tried = []
    monkeypatch.setattr(builder, "_mounted", lambda *_arguments: None)
    monkeypatch.setattr(builder, "_here", lambda *_arguments: tried.append("here") or Result())
    monkeypatch.setattr(builder, "_work", fail)
    assert builder._boot_image(JOB, None, None).values == {} and tried == ["here"]
    monkeypatch.setattr(builder, "_work", stop)
    with pytest.raises(Interrupted):
        builder._boot_image(JOB, None, None)
    assert tried == ["here"]


def test_a_stop_on_this_host_is_no_fault_of_the_pods(builder, monkeypatch):
    monkeypatch.setattr(builder, "_mounted", lambda *_arguments: None)
    monkeypatch.setattr(builder, "_work", fail)
    monkeypatch.setattr(builder, "_here", stop)
    with pytest.raises(Interrupted):
        builder._boot_image(JOB, None, None)


@pytest.mark.parametrize("happens, raised", [(fail, None), (stop, Interrupted)])
def test_what_is_mounted_is_asked_for_here(builder, monkeypatch, happens, raised):
    monkeypatch.setattr(pod.local, "run", happens)
    if raised:
        with pytest.raises(raised):
            builder._to_mount(dict(JOB.options, path="disk", format="qcow2", retries=0))
    else:
        assert builder._to_mount(dict(JOB.options, path="disk", format="qcow2", retries=0)) is None


@pytest.mark.parametrize("happens, raised", [(fail, None), (stop, Interrupted)])
def test_an_image_is_sent_where_the_pod_cannot_pull_it(builder, monkeypatch, happens, raised):
    source = SimpleNamespace(sha256="0" * 64, fits=lambda mounted, machine: False, options=JOB.options)
    monkeypatch.setattr(pod.boot_media, "of_record", lambda path: source)
    monkeypatch.setattr(builder, "_done", happens)
    if raised:
        with pytest.raises(raised):
            builder._pull(None, "/disk", "0" * 64, "name")
    else:
        assert builder._pull(None, "/disk", "0" * 64, "name") is False
