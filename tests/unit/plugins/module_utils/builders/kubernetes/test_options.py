# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options of builders: what a pod is to be, and what other tasks are told."""

from __future__ import annotations

import pytest

from ansible_collections.ocne.images.plugins.module_utils.builders.kubernetes import options, pod_spec
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError


def given(**params):
    """The option `builder` with its defaults, as Ansible gives it."""
    spec = options.BUILDER_SPEC["builder"]["options"]
    assert set(params) <= set(spec)
    return {**{name: item.get("default") for name, item in spec.items()}, **params}


def test_the_defaults_are_those_of_a_pod():
    assert vars(options.pod_options(given())) == vars(pod_spec.PodOptions())


def test_what_a_pod_is_to_be():
    pod_options = options.pod_options(given(workspace="5Gi", deadline=60, environment={"NUMBER": 5, "FLAG": True}, pod_overrides={"spec": {"nodeName": "n1"}}))
    assert (pod_options.workspace, pod_options.deadline, pod_options.environment) == ("5Gi", 60, {"NUMBER": "5", "FLAG": "True"})
    assert pod_options.pod_overrides["spec"]["nodeName"] == "n1"


@pytest.mark.parametrize("params, words", [
    ({"deadline": 0}, "deadline is 0; give a positive number of seconds"),
    ({"idle_timeout": -1}, "idle_timeout is -1"),
    ({"wait_timeout": 0}, "wait_timeout is 0"),
    ({"workspace": "20GB"}, "is not a size"),
])
def test_what_no_pod_can_be(params, words):
    with pytest.raises(ImageError, match=words):
        options.pod_options(given(**params))


def test_other_tasks_are_told_no_secret():
    secrets = {name: "s3cret" for name, spec in options.BUILDER_SPEC["builder"]["options"].items() if spec.get("no_log")}
    assert {"api_key", "password"} <= set(secrets)
    told = options.returned(given(host="https://cluster:6443", proxy_headers={"basic_auth": "s3cret"}, deadline=60, **secrets), "b1", "ns")
    assert told == {"type": "pod", "name": "b1", "namespace": "ns", "host": "https://cluster:6443"}


def test_a_kubeconfig_that_is_a_dictionary_is_not_told():
    assert "kubeconfig" not in options.returned(given(kubeconfig={"users": [{"user": {"token": "s3cret"}}]}), "b1", "ns")


def test_a_kubeconfig_that_is_a_path_is_told():
    assert options.returned(given(kubeconfig="~/.kube/config", context="c1"), "b1", "ns") == {
        "type": "pod", "name": "b1", "namespace": "ns", "kubeconfig": "~/.kube/config", "context": "c1"}


def test_what_is_told_is_the_option_of_other_tasks():
    assert set(options.returned(given(**dict.fromkeys(options.PLACE_SPEC, "x")), "b1", "ns")) <= set(options.BUILDER_SPEC["builder"]["options"])
