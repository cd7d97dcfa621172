# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest

from ansible_collections.ocne.images.plugins.module_utils.builders.kubernetes import clients
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError, Interrupted
from ansible_collections.ocne.images.plugins.modules import ocne_builder_info as module

NOTHING = {"jobs": None, "free_bytes": None}


class Client:
    """A way to a builder, at which `fault` is raised."""

    def __init__(self, cluster, _pod, _token):
        self._fault = cluster

    def json(self, *_arguments, **_options):
        raise self._fault

    def close_all(self):
        pass


@pytest.fixture(autouse=True)
def pretend(monkeypatch):
    monkeypatch.setattr(clients, "read_token", lambda cluster, pod: "token")
    for name in ("ProxyClient", "ExecClient"):
        monkeypatch.setattr(clients, name, Client)


def test_a_builder_that_does_not_answer_does_not_hide_the_others(monkeypatch):
    assert module.activity(ImageError("forbidden"), "pod") == NOTHING


def test_a_stop_is_not_a_builder_that_does_not_answer(monkeypatch):
    with pytest.raises(Interrupted):
        module.activity(Interrupted("received SIGTERM"), "pod")

    def stop(_cluster, _pod):
        raise Interrupted("received SIGTERM")

    monkeypatch.setattr(clients, "read_token", stop)
    with pytest.raises(Interrupted):
        module.activity(None, "pod")
