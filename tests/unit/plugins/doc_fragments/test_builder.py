# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options of several modules, as they are documented, are those of the argument spec, and those of builders have each text once."""

from __future__ import annotations

import pytest
import yaml

from ansible_collections.ocne.images.plugins.doc_fragments import builder, kubernetes, oracle, pod, registry
from ansible_collections.ocne.images.plugins.module_utils.builders.kubernetes import options
from ansible_collections.ocne.images.plugins.module_utils.builders.kubernetes.cluster import CONNECTION_SPEC
from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle.session import SPEC
from ansible_collections.ocne.images.plugins.module_utils.common import packages
from ansible_collections.ocne.images.plugins.module_utils.task.options import REGISTRY_SPEC


def documented(fragment):
    return yaml.safe_load(fragment.ModuleDocFragment.DOCUMENTATION)["options"]


def facts(specs, below):
    """What documentation and argument spec both say. below: their word for the options of a dictionary."""
    return {name: {"type": spec.get("type", "str"), "default": spec.get("default"), "choices": spec.get("choices"), "elements": spec.get("elements"),
                   "aliases": spec.get("aliases"), "options": facts(spec.get(below) or {}, below)} for name, spec in specs.items()}


@pytest.mark.parametrize("fragment, spec", [
    (pod, dict(options.POD_OPTIONS_SPEC, namespace=options.PLACE_SPEC["namespace"])),
    (kubernetes, CONNECTION_SPEC),
    (builder, options.BUILDER_SPEC),
    (registry, REGISTRY_SPEC),
    (oracle, SPEC),
], ids=["pod", "kubernetes", "builder", "registry", "oracle"])
def test_options_are_those_of_the_spec(fragment, spec):
    assert facts(documented(fragment), "suboptions") == facts(spec, "options")


def test_texts_are_those_of_the_other_fragments():
    texts = {name: option["description"] for name, option in documented(builder)["builder"]["suboptions"].items()}
    assert texts["deadline"] == documented(pod)["deadline"]["description"]
    assert texts["kubeconfig"] == documented(kubernetes)["kubeconfig"]["description"]


def test_what_is_said_of_other_options_is_said_of_those_of_the_builder():
    text = " ".join(documented(builder)["builder"]["suboptions"]["image"]["description"])
    assert "O(builder.environment)" in text and "O(builder.security=restricted)" in text and "O(security" not in text


def test_options_of_other_plugins_stay(monkeypatch):
    monkeypatch.setattr(pod.ModuleDocFragment, "DOCUMENTATION", "options:\n  a:\n    description: O(b), O(b=1), O(b.c), O(ocne.images.x#module:b), RV(b).\n")
    assert builder._suboptions(pod).strip().endswith("O(builder.b), O(builder.b=1), O(builder.b.c), O(ocne.images.x#module:b), RV(b).")


def test_the_image_is_said_to_need_the_tools_of_the_work():
    text = documented(pod)["image"]["description"][0]
    assert [tool for tool in (*packages.TOOLS, "libguestfs") if tool not in text] == []
