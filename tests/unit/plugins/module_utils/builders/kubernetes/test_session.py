# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The pod of one task, and a cluster that only pretends; tests/integration has a real one."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ansible_collections.ocne.images.plugins.module_utils.builders.kubernetes import options, session
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
    """A Session; its pod is made, and then `made.fault` is raised where it has one."""
    found = session.Session({"source_transfer": "auto", "wait_timeout": 1}, silent())
    found.cluster, found.fault = SimpleNamespace(retry_seconds=0, namespace="ns"), None

    def ready(_cluster, name, *_arguments):
        if found.fault:
            raise found.fault
        return f"{name}-pod", SimpleNamespace(close_all=lambda: None), {}

    monkeypatch.setattr(options, "pod_options", lambda params: None)
    monkeypatch.setattr(session.pod_life, "create", lambda *_arguments: "token")
    monkeypatch.setattr(session.clients, "ready", ready)
    return found


@pytest.mark.parametrize("fault", [ImageError("no node can take the pod"), Interrupted("received SIGTERM"), RuntimeError("a defect")])
def test_a_named_pod_that_nobody_can_use_is_removed(made, removed, fault):
    made.fault = fault
    with pytest.raises(type(fault)):
        made._make("b1", None)
    assert removed == ["b1"]


@pytest.mark.parametrize("fault", [ImageError("no node can take the pod"), Interrupted("received SIGTERM")])
def test_a_pod_of_its_own_goes_whatever_happens(made, removed, fault):
    made.fault = fault
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
