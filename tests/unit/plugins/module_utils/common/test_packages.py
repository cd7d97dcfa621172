# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The table of packages, and the copies of it that stand where no Python is read."""

from __future__ import annotations

import pathlib
import re

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common import packages

ROOT = pathlib.Path(__file__).resolve().parents[5]
MODULES = sorted((ROOT / "plugins/modules").glob("*.py"))


def test_the_sentence_names_both():
    assert packages.how_to_install("guestfs") == "install the package python3-guestfs (Debian) or python3-libguestfs (Oracle Linux, Fedora)"


def test_the_kernel_is_that_of_the_architecture():
    assert packages.names("apt", ["kernel", "zstd"], "arm64") == ["linux-image-cloud-arm64", "zstd"]
    assert packages.names("dnf", ["kernel"], "arm64") == ["kernel-core"]


@pytest.mark.parametrize("manager, platform, library", [("apt", "dpkg", "libguestfs0"), ("dnf", "rpm", "libguestfs")])
def test_bindep(manager, platform, library):
    lines = [line.partition(" ") for line in (ROOT / "bindep.txt").read_text().splitlines() if not line.startswith("#")]
    assert {name for name, _space, profile in lines if f"platform:{platform}" in profile} == {library, *packages.names(manager, packages.HOST)}


@pytest.mark.parametrize("manager", ["apt", "dnf"])
def test_setup_installs_what_the_modules_need(manager):
    path = ROOT / "scripts/setup"
    if not path.exists():
        pytest.skip("an installed collection has no scripts")
    words = re.search(rf"^    {manager}:run\)\n *echo (.*)$", path.read_text(), re.MULTILINE).group(1).split()
    assert set(packages.names(manager, packages.HOST)) <= set(words)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_packages_that_documentation_names(path):
    text = " ".join(path.read_text().split("EXAMPLES")[0].split())
    listed, pairs = r"((?:C\([a-z0-9-]+\)(?: and )?)+)", set()
    for debian, rpm in re.findall(f"{listed} on Debian, {listed} on Oracle Linux and Fedora", text):
        pairs.update(zip(re.findall(r"C\((.*?)\)", debian), re.findall(r"C\((.*?)\)", rpm)))
    assert pairs <= set(packages.PACKAGES.values())
    assert len(re.findall(r"\) on Debian", text)) == text.count("on Oracle Linux and Fedora") <= len(pairs)
    assert set(re.findall(r"on Debian C\((.*?)\)", text)) <= set(packages.names("apt"))
