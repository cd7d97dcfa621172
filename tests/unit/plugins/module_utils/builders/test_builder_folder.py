# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The folder builder/ and what must agree with it."""

from __future__ import annotations

import pathlib
import re

import pytest
import yaml

from ansible_collections.ocne.images.plugins.module_utils.builders.kubernetes import pod_spec, pod_start
from ansible_collections.ocne.images.plugins.module_utils.common import packages as table

ROOT = pathlib.Path(__file__).resolve().parents[5]
BUILDER = ROOT / "builder"


def packages(part, manager, architecture):
    found = set()
    for line in (BUILDER / "packages.txt").read_text().splitlines():
        words = line.split()
        if words[:2] == [part, manager] and words[2] in ("any", architecture):
            found.update(words[3:])
    return found


@pytest.mark.parametrize("manager, architecture", [("apt", "amd64"), ("apt", "arm64"), ("dnf", "amd64"), ("dnf", "arm64")])
def test_a_pod_installs_what_the_image_has(manager, architecture):
    start = {"apt": r"no-install-recommends install", "dnf": r"setopt=tsflags=nodocs install"}[manager]
    words = re.search(start + r"(.*?)(; \} )?>\$log", pod_start.SCRIPT, re.DOTALL).group(1)
    words = words.replace("$(dpkg --print-architecture)", architecture).replace("\\\n", " ").replace('"', "")
    assert set(words.split()) == packages("tools", manager, architecture) == set(table.names(manager, architecture=architecture))


def test_both_ways_of_building_install_the_same():
    containerfile = (BUILDER / "Containerfile").read_text()
    definition = yaml.safe_load((BUILDER / "execution-environment.yml").read_text())
    dependencies = definition["dependencies"]
    ansible = re.search(r'ARG ANSIBLE="(.*)"', containerfile).group(1).split()
    assert {dependencies["ansible_core"]["package_pip"], dependencies["ansible_runner"]["package_pip"]} < set(ansible)
    assert yaml.safe_load((ROOT / "roles/builder_image/defaults/main.yml").read_text())["builder_image_ansible"] == ansible
    assert definition["images"]["base_image"]["name"] in containerfile
    steps = "\n".join(line for lines in definition["additional_build_steps"].values() for line in lines)
    for command in ("install tools", "install ansible", "appliance", "collection /from /collection", "LC_ALL=C.UTF-8 LIBGUESTFS_BACKEND=direct "
                    "LIBGUESTFS_PATH=/usr/lib/ocne-images/appliance", "PIP_CERT=/usr/lib/ocne-images/ca-bundle.pem"):
        assert command in steps and command in containerfile
    for file in definition["additional_build_files"]:
        assert (BUILDER / file["src"]).exists()


def test_the_image_has_what_the_collection_requires():
    def requirements(path):
        return {line.split(";")[0].strip() for line in path.read_text().splitlines() if line and not line.startswith("#")}
    assert requirements(ROOT / "requirements.txt") <= requirements(BUILDER / "requirements.txt")


def test_the_default_image_is_one():
    assert pod_spec.DEFAULT_IMAGE in (BUILDER / "Containerfile").read_text()
