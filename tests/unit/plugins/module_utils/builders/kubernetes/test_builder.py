# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Jobs in a pod that only pretends; tests/integration has a real one."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import pytest

from ansible_collections.ocne.images.plugins.module_utils.builders.kubernetes import builder as pod
from ansible_collections.ocne.images.plugins.module_utils.builders.remote.client import Response
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError, Interrupted
from ansible_collections.ocne.images.plugins.module_utils.work.job import Artifact, Result
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.builders.kubernetes.sessions import JOB, fail, stop


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
    with pytest.raises(Interrupted), builder.done("boot_image", {}, None) as done:
        assert done.staging == "/workspace/staging"
    assert builder._session.asked[-2:] == [("DELETE", "/v1/jobs/boot")] * 2


def test_a_folder_that_stays_is_no_fault(builder):
    answer(builder, result={})
    builder._session.client.request = fail
    with builder.done("boot_image", {}, None):
        pass


def test_a_stop_while_the_artifact_is_kept(builder, monkeypatch):
    item = Artifact("disk", "/workspace/staging/disk", "qcow2", 1, "0" * 64, 1)
    answer(builder, result={"artifacts": [vars(item)]})
    builder._workspace = SimpleNamespace(make_room=lambda inputs: None, bring=lambda inputs, pull: {}, fetch=lambda *_arguments: "disk", keep=stop)
    with pytest.raises(Interrupted):
        builder.work(JOB, None)


# --- the program's output --------------------------------------------------------------------------------


def says(builder, *answers):
    """The output of a job, an answer for each request: bytes, or (bytes, state, exit status)."""
    asked, todo = [], [item if isinstance(item, tuple) else (item, "running", None) for item in answers]

    def ask(method, path, *_arguments, **_options):
        asked.append(path)
        if path.endswith("/errors"):
            return Response(200, {}, b"some words\nlast words\n")
        body, state, status = todo.pop(0)
        return Response(200, {"X-State": state, "X-Exit": status}, body)
    builder._session.ask = builder._session.client.request = ask
    return asked


def test_lines_come_in_pieces(builder):
    events = []
    lines = b'{"progress": {"phase": "a"}}\nno json\n{"progress": {"phase": "b"}}\n{"result": {"values": {"changed": true}}}\n'
    asked = says(builder, lines[:7], b"", lines[7:40], (lines[40:], "done", "0"))
    assert builder._follow("job", events.append).values == {"changed": True}
    assert events == [{"phase": "a"}, {"phase": "b"}]
    assert [path.partition("offset=")[2].partition("&")[0] for path in asked] == ["0", "7", "7", "40"]


@pytest.mark.parametrize("status, words", [("3", "exit status 3"), ("-9", "signal 9")])
def test_a_program_that_dies_without_a_word(builder, status, words):
    says(builder, b'{"progress": {"phase": "a"}}\n', (b"", "done", status))
    with pytest.raises(ImageError, match=f"pod b1: the work program ended without a result .{words}") as caught:
        builder._follow("job", lambda event: None)
    assert caught.value.details == {"stderr": "some words\nlast words", "last": {"phase": "a"}}


@pytest.mark.parametrize("why, words", [(None, "the work was stopped in the builder pod"), (ImageError("the pod was evicted"), "the pod was evicted")])
def test_a_pod_that_ends_meanwhile(builder, why, words):
    builder._session.client.ended = lambda seconds: why
    says(builder, (b'{"progress": {"phase": "a"}}\n', "stopped", None))
    with pytest.raises(ImageError, match=words) as caught:
        builder._follow("job", lambda event: None)
    assert caught.value.details["last"] == {"phase": "a"}


def test_check_mode_makes_no_pod(builder, monkeypatch):
    jobs = []
    monkeypatch.setattr(pod.local, "run", lambda job, on_event, lock: jobs.append(job) or Result())
    builder._session.open = pytest.fail
    builder.run(dataclasses.replace(JOB, check=True), None)
    assert [job.check for job in jobs] == [True]


def test_the_agent_names_a_file_of_a_job():
    assert pod.Done("j1", "/workspace/jobs/j1/staging", None).file("/workspace/jobs/j1/staging/0/disk") == "jobs/j1/0/disk"
