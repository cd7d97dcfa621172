# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Roles repeat options of modules, defaults and texts, because Ansible reads argument specs as they stand: the copies are equal."""

from __future__ import annotations

import pathlib

import pytest
import yaml

from ansible_collections.ocne.images.plugins.module_utils.builders.kubernetes import options, pod_spec
from ansible_collections.ocne.images.plugins.module_utils.task.options import REGISTRY_SPEC

ROLES = pathlib.Path(__file__).resolve().parents[3] / "roles"
NAMES = sorted(path.name for path in ROLES.iterdir() if path.is_dir())


def read(path):
    return yaml.safe_load((ROLES / path).read_text())


def spec(role):
    return read(f"{role}/meta/argument_specs.yml")["argument_specs"]["main"]["options"]


@pytest.mark.parametrize("role", NAMES)
def test_defaults_are_those_of_the_spec(role):
    assert read(f"{role}/defaults/main.yml") == {name: option["default"] for name, option in spec(role).items() if "default" in option}


@pytest.mark.parametrize("name", ["version", "source", "registry", "directory", "kernel_arguments", "force", "verify", "builder"])
def test_what_two_roles_have_in_common_they_describe_in_one_way(name):
    first = yaml.safe_dump(spec("oci_image")[f"oci_image_{name}"]).replace("oci_image_", "")
    assert first == yaml.safe_dump(spec("vm_image")[f"vm_image_{name}"]).replace("vm_image_", "")


def test_the_image_of_pods_and_that_on_which_ours_is_built_are_one():
    assert spec("builder_image")["builder_image_base"]["default"] == pod_spec.DEFAULT_IMAGE


def test_the_registry_of_the_builder_image_has_the_options_of_modules():
    known = REGISTRY_SPEC["registry"]["options"]
    assert {name: option["type"] for name, option in spec("builder_image")["builder_image_registry"]["options"].items()} == \
        {name: option["type"] for name, option in known.items() if name != "policy"}


# --- the tasks of the role `builder` --------------------------------------------------------------------


def given(name, known):
    """How a task passes an option on, where it is given, under any of its names."""
    names = "".join(f" | default(builder_pod.{alias})" for alias in known.get("aliases", ()))
    return f"{{{{ builder_pod.{name}{names} | default(omit) }}}}"


def passed(file):
    return read(f"builder/tasks/{file}.yml")[0]["ocne.images.ocne_builder"]


def test_present_passes_every_option_of_a_pod_and_its_place():
    known = dict(options.PLACE_SPEC, **options.POD_OPTIONS_SPEC, create_namespace={})
    assert passed("present") == dict({name: given(name, known[name]) for name in known}, state="present")


def test_absent_passes_every_option_of_the_place():
    known = dict(options.PLACE_SPEC, wait_timeout=options.POD_OPTIONS_SPEC["wait_timeout"])
    assert passed("absent") == dict({name: given(name, known[name]) for name in known}, state="absent", name="{{ builder_name }}")
