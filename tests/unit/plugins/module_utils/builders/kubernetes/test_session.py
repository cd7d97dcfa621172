# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The pod of one task, and a cluster that only pretends; tests/integration has a real one."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ansible_collections.ocne.images.plugins.module_utils.builders.kubernetes import options, pod_spec, session
from ansible_collections.ocne.images.plugins.module_utils.builders.kubernetes.boot_media import Source
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError, Interrupted
from ansible_collections.ocne.images.plugins.module_utils.common.progress import silent


@pytest.fixture
def removed(monkeypatch):
    """The names of the pods that were removed."""
    names = []
    monkeypatch.setattr(session.pod_life, "remove", lambda cluster, name, *_arguments: names.append(name))
    return names


@pytest.fixture
def made(monkeypatch):
    """A Session; its pod is made, and then what is in `made.fault` is raised."""
    found = session.Session({"source_transfer": "auto", "wait_timeout": 1}, silent())
    found.cluster, found.fault = SimpleNamespace(retry_seconds=0, namespace="ns"), []

    def ready(_cluster, name, *_arguments):
        for fault in found.fault:
            raise fault
        return f"{name}-pod", SimpleNamespace(close_all=lambda: None), {}

    monkeypatch.setattr(options, "pod_options", lambda params: None)
    monkeypatch.setattr(session.pod_life, "create", lambda *_arguments: "token")
    monkeypatch.setattr(session.clients, "ready", ready)
    return found


@pytest.mark.parametrize("fault", [ImageError("no node can take the pod"), Interrupted("received SIGTERM"), RuntimeError("a defect")])
def test_a_named_pod_that_nobody_can_use_is_removed(made, removed, fault):
    made.fault = [fault]
    with pytest.raises(type(fault)):
        made._make("b1", None)
    assert removed == ["b1"]


@pytest.mark.parametrize("fault", [ImageError("no node can take the pod"), Interrupted("received SIGTERM")])
def test_a_pod_of_its_own_goes_whatever_happens(made, removed, fault):
    made.fault = [fault]
    with pytest.raises(type(fault)):
        made._make(None, None)
    name, = {made._own}
    made.close()
    made.close()
    assert removed == [name] and not made.own


@pytest.mark.parametrize("place", ["close_all", "remove"])
def test_a_stop_while_it_goes(made, removed, monkeypatch, place):
    """Its removal is asked for again: a stop comes once, and a pod would stay for a quarter of an hour."""
    made._make(None, None)
    name, asked = made._own, []

    def stop(*_arguments):
        asked.append(place)
        if len(asked) == 1:
            raise Interrupted("received SIGINT")
        removed.append(name)

    monkeypatch.setattr(*((made.client, "close_all") if place == "close_all" else (session.pod_life, "remove")), stop)
    with pytest.raises(Interrupted):
        made.close()
    assert name in removed and not made.own


def test_what_was_built_is_good_whatever_becomes_of_the_pod(made, monkeypatch):
    made._make(None, None)

    def fail(*_arguments):
        raise ImageError("the API server cannot be reached")

    monkeypatch.setattr(session.pod_life, "remove", fail)
    made.close()


# --- found or made ---------------------------------------------------------------------------------------

SOURCE = Source("h.example/ock@sha256:1", "amd64", None, {}, {})


class Cluster:
    """A cluster with some Jobs by name; asked for a pod it has the one that the last of them would have. made, removed: what was done."""

    namespace, retry_seconds = "ns", 0

    def __init__(self, **jobs):
        self.jobs, self.made, self.removed, self.faults = jobs, [], [], []

    def get(self, kind, name, **_options):
        if kind == "jobs":
            return self.jobs.get(name)
        source = self.made[-1][1] if self.made else None
        return pod_spec.pod_manifest(pod_spec.job_manifest("b1", "ns", pod_spec.PodOptions(workspace="1Gi"), "start", "me", source))


@pytest.fixture
def open_session(monkeypatch):
    """open_session(cluster, ..., **params) -> a Session with that cluster."""
    def make(cluster, **params):
        def create(cluster, name, pod_options, source=None):
            cluster.made.append((name, source))
            if cluster.faults:
                raise cluster.faults.pop(0)
            return f"token of {name}"
        monkeypatch.setattr(session.pod_life, "create", create)
        monkeypatch.setattr(session.pod_life, "remove", lambda cluster, name, *_arguments: cluster.removed.append(name))
        monkeypatch.setattr(session.clients, "ready", lambda cluster, name, token, *_more: (f"{name}-pod", (name, token), {"idle_timeout": 7}))
        spec = options.BUILDER_SPEC["builder"]["options"]
        found = session.Session({**{name: item.get("default") for name, item in spec.items()}, **params}, silent())
        found.cluster = cluster
        return found
    return make


def job(ended=False):
    return {"metadata": {}, "status": {"conditions": [{"type": "Complete", "status": "True"}] if ended else []}}


def test_a_builder_that_is_there_is_used(open_session):
    cluster = Cluster(b1=job())
    one = open_session(cluster, name="b1")
    assert one.open(find=pytest.fail) is True
    assert (one.pod, one.client, one.own, one.limit, one.mounted) == ("b1-pod", ("b1", None), False, 1 << 30, None)
    assert cluster.made == [] and one.where == "pod b1-pod, namespace ns"
    # it has ended by itself after so long
    assert one.retry_seconds == cluster.retry_seconds == 7
    assert one.open() is True


@pytest.mark.parametrize("jobs, words", [({}, "there is no such builder"), ({"b1": job(ended=True)}, "the builder has ended")])
def test_a_builder_that_is_not_there(open_session, jobs, words):
    cluster = Cluster(**jobs)
    with pytest.raises(ImageError, match=f"builder b1, namespace ns: {words}; make it with ocne_builder"):
        open_session(cluster, name="b1").open()
    assert cluster.made == [] and cluster.removed == []


def test_a_builder_is_made_where_that_is_asked_for(open_session):
    cluster = Cluster(b1=job(ended=True))
    one = open_session(cluster, name="b1", create=True)
    assert one.open(make=False) is False and cluster.made == []
    assert one.open(find=lambda: SOURCE) is True
    assert cluster.removed == ["b1"] and cluster.made == [("b1", SOURCE)] and not one.own and one.client == ("b1", "token of b1")
    assert one.mounted == SOURCE.reference


def test_without_a_name_a_pod_is_the_task_s_own(open_session):
    cluster = Cluster()
    one = open_session(cluster)
    one.open()
    assert one.own and [name for name, _source in cluster.made] == [one.pod[:-4]] and one.pod.startswith("ocne-builder-")


def test_an_image_that_cannot_be_mounted_is_left_out(open_session):
    cluster = Cluster()
    cluster.faults = [ImageError("it has no image volumes", mountable=False)]
    one = open_session(cluster)
    one.open(find=lambda: SOURCE)
    first, second = cluster.made
    assert (first[1], second[1], one.mounted) == (SOURCE, None, None) and first[0] != second[0]
    assert cluster.removed == [first[0]] and one.client[0] == second[0]


def test_an_image_that_must_be_mounted(open_session):
    cluster = Cluster()
    cluster.faults = [ImageError("it has no image volumes", "namespace ns", mountable=False)]
    with pytest.raises(ImageError, match="does not mount the boot media image: it has no image volumes; let source_transfer be auto or pull"):
        open_session(cluster, source_transfer="image_volume").open(find=lambda: SOURCE)
    assert len(cluster.made) == 1


def test_a_fault_of_another_kind_is_not_the_image_s(open_session):
    cluster = Cluster()
    cluster.faults = [ImageError("no node can take the pod")]
    with pytest.raises(ImageError, match="no node can take the pod"):
        open_session(cluster).open(find=lambda: SOURCE)
    assert len(cluster.made) == 1
