# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The ways of a boot media image to a pod that only pretends; tests/integration/test_source_transfer.py has a real one."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ansible_collections.ocne.images.plugins.module_utils.builders.kubernetes import boot_media, source_transfer
from ansible_collections.ocne.images.plugins.module_utils.common.errors import Interrupted
from ansible_collections.ocne.images.plugins.module_utils.work.job import Job, Result
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.builders.kubernetes.sessions import JOB, fail, stop


def test_a_stop_is_not_a_registry_out_of_the_pods_reach(builder, monkeypatch):
    tried = []
    monkeypatch.setattr(builder._sources, "_mounted", lambda *_arguments: None)
    monkeypatch.setattr(builder._sources, "_here", lambda *_arguments: tried.append("here") or Result())
    monkeypatch.setattr(builder, "work", fail)
    assert builder._sources.run(JOB, None, None).values == {} and tried == ["here"]
    monkeypatch.setattr(builder, "work", stop)
    with pytest.raises(Interrupted):
        builder._sources.run(JOB, None, None)
    assert tried == ["here"]


def test_a_stop_on_this_host_is_no_fault_of_the_pods(builder, monkeypatch):
    monkeypatch.setattr(builder._sources, "_mounted", lambda *_arguments: None)
    monkeypatch.setattr(builder, "work", fail)
    monkeypatch.setattr(builder._sources, "_here", stop)
    with pytest.raises(Interrupted):
        builder._sources.run(JOB, None, None)


@pytest.mark.parametrize("happens, raised", [(fail, None), (stop, Interrupted)])
def test_what_is_mounted_is_asked_for_here(builder, monkeypatch, happens, raised):
    monkeypatch.setattr(source_transfer.local, "run", happens)
    if raised:
        with pytest.raises(raised):
            builder._sources._to_mount(dict(JOB.options, path="disk", format="qcow2", retries=0))
    else:
        assert builder._sources._to_mount(dict(JOB.options, path="disk", format="qcow2", retries=0)) is None


@pytest.mark.parametrize("happens, raised", [(fail, None), (stop, Interrupted)])
def test_an_image_is_sent_where_the_pod_cannot_pull_it(builder, monkeypatch, happens, raised):
    source = SimpleNamespace(sha256="0" * 64, fits=lambda mounted, machine: False, options=JOB.options)
    monkeypatch.setattr(boot_media, "of_record", lambda path: source)
    monkeypatch.setattr(builder, "done", happens)
    if raised:
        with pytest.raises(raised):
            builder._sources.pull(None, "/disk", "0" * 64, "name")
    else:
        assert builder._sources.pull(None, "/disk", "0" * 64, "name") is False


@pytest.mark.parametrize("job", [Job("boot_image", dict(JOB.options, source="oci:/srv/layout:1"), "/staging"), Job("convert", {}, "/staging")])
def test_other_jobs_go_their_own_way(builder, monkeypatch, job):
    monkeypatch.setattr(builder._sources, "run", pytest.fail)
    monkeypatch.setattr(builder, "work", lambda found, on_event: Result(values={"found": found.kind}))
    assert builder.run(job, None).values == {"found": job.kind}
