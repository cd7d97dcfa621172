# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Recipes of every kind with the digests that they have for ever, as far as users are concerned."""

from __future__ import annotations

import contextlib
import dataclasses
from types import SimpleNamespace

import pytest

from ansible_collections.ocne.images.plugins.module_utils.artifact.record import Record
from ansible_collections.ocne.images.plugins.module_utils.builders.kubernetes import pod_spec
from ansible_collections.ocne.images.plugins.module_utils.common import canonical
from ansible_collections.ocne.images.plugins.module_utils.common.canonical import without_defaults
from ansible_collections.ocne.images.plugins.module_utils.task import inspect_cache
from ansible_collections.ocne.images.plugins.module_utils.task.module import ImageModule
from ansible_collections.ocne.images.plugins.module_utils.work import boot_image, convert, inspect
from ansible_collections.ocne.images.plugins.module_utils.work.guest import recipe
from ansible_collections.ocne.images.plugins.modules import ocne_boot_image, ocne_image_convert, ocne_image_customize

WHAT_BREAKS = (
    "the digest of a recipe has changed. Every image that users have made with it counts as \"made with other options\" and is built anew; one with derived "
    "UUIDs gets others, and what names its file systems by the old ones no longer finds them. An option that is new stays out of a recipe where it has its "
    "default (common/canonical.py, without_defaults). Only where the same options mean other content from now on: raise the VERSION of this kind (where it "
    "has none: artifact/record.py, RECORD_VERSION), put the new digest here, and say so in the changelog")
DEFAULT_CHANGED = (
    "a default has changed that recipes leave out. What users have made with the old one counts as made with the new one, and stays as it is. Keep the default "
    "of the dataclass and let the module give the new value; or raise the VERSION as for a digest, put the new default here, and say so in the changelog")
SOURCE = {"sha256": "5" * 64}
CONFIG = {"ignition": {"version": "3.4.0"}}
FILES = [{"path": "/etc/motd", "content": "hello\n"}, {"path": "/var/lib/x", "content_base64": "eA==", "mode": "0600", "owner": "core", "group": 7}]


def same(found, golden, what=WHAT_BREAKS):
    assert found == golden, what


# --- ocne_image_customize ------------------------------------------------------------------------------


def customized(tmp_path, **options):
    """The Plan of a task; a profile is given as data, as what a platform means may change."""
    (tmp_path / "src.qcow2").touch()
    params = dict(dict.fromkeys(("dest", "outputs", *ocne_image_customize._EDITS)), src=str(tmp_path / "src.qcow2"), src_format="qcow2", compression="keep")
    params.update(options)
    plan, = ocne_image_customize.plans(ImageModule(SimpleNamespace(params=params, check_mode=False, _diff=True), None, contextlib.ExitStack()), params["src"])
    return plan


@pytest.mark.parametrize("options, golden, uuids", [
    ({},
     "79c243a23b98934e25356f27b4962aee513518cada108d936ab7e35b1057d94c", {}),
    ({"platform": {"ignition_platform": "qemu"}},
     "1bd3863495a8d91f02a7febb3c1d8cbafe56ef2025d56eb0b77e8adb8a99c92d", {}),
    ({"ignition_provider": "oci", "identity": {"uuids": "derived"}},
     "e3ec54cd19da605fcfb95fe48dfe44bdd7c152d3dd00c5f084b1f52e3587891d",
     {"boot": "23ed3519-c641-5b62-9245-37af0e4b061f", "root": "3740d239-b17e-5432-97a2-825b2a938ec3"}),
    ({"platform": {"ignition_platform": "openstack", "identity": {"uuids": "derived", "machine_id": "remove"},
                   "kernel_arguments": {"replace": {"a=b": "c=d"}}},
      "kernel_arguments": {"append": ["quiet"], "delete": ["rd.neednet"]}, "files": FILES, "ignition_config": CONFIG, "compression": "zstd"},
     "0f766e8ef3ffb4388c0d7405fd82979ff563ee1c5b8ba841ad45e7c797723671",
     {"boot": "2791946e-1fbb-59d0-b495-6b6b3883de31", "root": "1cea94c3-13a2-5ce3-8b64-be4570e27855"}),
    # removes a configuration, which is not the same as leaving it
    ({"ignition_config": "", "src_format": "raw"},
     "4dac78dfe429c0e74d8208b21c5bc4965cb08e2edb8e390cb901a40bd2ff919d", {}),
])
def test_customized_images(tmp_path, options, golden, uuids):
    plan = customized(tmp_path, **options)
    same(Record(ocne_image_customize._KIND, SOURCE, plan.options, "", "qcow2", 1, {}).recipe, golden)
    same(plan.recipe.new_uuids(SOURCE), uuids)


@pytest.mark.parametrize("made", [
    recipe.Recipe(uuids="derived"),
    recipe.Recipe("qemu", [{"append": ["quiet"], "delete": [], "replace": {}}], [recipe.file(item) for item in FILES], "", "derived", "remove", "zlib"),
])
def test_an_option_that_is_added_later_changes_nothing_for_who_does_not_use_it(made):
    later = dataclasses.make_dataclass("Later", [("timezone", str, None), ("swap", bool, False)], bases=(recipe.Recipe,))
    fields = {field.name: getattr(made, field.name) for field in dataclasses.fields(made)}
    assert later(**fields).canonical() == made.canonical()
    assert later(**fields).new_uuids(SOURCE) == made.new_uuids(SOURCE)
    assert later(**fields, timezone="").new_uuids(SOURCE) != made.new_uuids(SOURCE)


# --- ocne_image_convert, ocne_boot_image ----------------------------------------------------------------


@pytest.mark.parametrize("options, golden", [
    ({"format": "raw"}, "de3c7e5de51db970989d345a52f50fe31319ba9f6e80531a8343a172d1b0acbc"),
    ({"format": "qcow2", "compression": "zstd", "src_format": "raw"}, "1be5d7c50871b0716a59aeba6c066632031394450cbf07a73762afec97dceca7"),
    ({"format": "vmdk"}, "8ddb04408667d868bbad6b2dc620731a3ae4dfc518f7b1962b75e5dbde683a8b"),
    ({"format": "vmdk", "subformat": "streamOptimized", "adapter_type": "ide", "hwversion": 13},
     "9e382f3f41111c7dd163bd16d80267f9571d117558d04e160d446fa34cff9c11"),
    ({"format": "vpc", "subformat": "fixed"}, "24ac74fa2847ff10c03ec002b40fe473e1e16da47cc883e677ed89909309b229"),
])
def test_converted_images(options, golden):
    params = dict(dict.fromkeys(("subformat", "adapter_type", "hwversion", *ocne_image_convert._ARCHIVE)), src_format="qcow2", compression="none")
    params.update(options)
    kept = without_defaults(ocne_image_convert.recipe(params))
    same(Record(ocne_image_convert._KIND, {"files": [SOURCE["sha256"]]}, kept, "", "raw", 1, {}).recipe, golden)


def test_archives():
    """Their metadata is given as data: what the clouds have for an architecture may change."""
    kept = without_defaults(convert.Recipe("qcow2", "pca_archive", metadata={"version": 2, "additionalMetadata": {"shapeCompatibilities": []}}))
    same(Record(ocne_image_convert._KIND, {"files": [SOURCE["sha256"]]}, kept, "", "pca_archive", 1, {}).recipe,
         "7172caaae45f61727042056e5198bb3cabc558419165e075e51ff2ef36364737")


@pytest.mark.parametrize("archive, golden", [
    (None, "2c2495af940360742184d78f2323abd909c1f816e433baca290587ea0ad5bdfb"),
    ({"size": 1, "mtime_ns": 2, "ctime_ns": 3, "inode": 4}, "47a33c79cc536d2ea9e2b2d395e870f4e98ecdcc7d7235c68ed8cfd48fad0c8e"),
])
def test_boot_images(archive, golden):
    facts = without_defaults(ocne_boot_image.Facts("docker://registry.example/ock:1.33", "sha256:" + "6" * 64, archive))
    options = without_defaults(boot_image.Recipe("amd64", "disk/boot.qcow2", "qcow2"))
    same(Record(ocne_boot_image._KIND, facts, options, "", "qcow2", 1, {}).recipe, golden)


# --- what is no image -----------------------------------------------------------------------------------


@pytest.mark.parametrize("options, golden", [
    ({}, "c2b09c42dd20bb573ea2bbeb69e10b01e46bd603e68ef1b09507e354453ad90f"),
    ({"check": True, "files": ["/etc/fstab"], "max_read_size": 0}, "4a25d319a96c60b470b95cccdcda9bf351c4c52f818856512f8a2fab8b00ead8"),
])
def test_inspections(options, golden):
    """Only a cache: what changes is looked at once more."""
    everything = dict({"src_format": "qcow2", "contents": True, "check": False, "files": [], "read": [], "max_read_size": 1 << 20}, **options)
    same(inspect_cache.key("/disk", everything, {"size": 1}), golden)


@pytest.mark.parametrize("options, golden", [
    ({}, "ede0de807492408040925c13f91e20c5a5152f167d2e5fc064c61aa4b71f7267"),
    ({"kvm": "devices.kubevirt.io/kvm", "environment": {"HTTPS_PROXY": "http://proxy"}, "deadline": 60},
     "a97a8474feb72365f51db930a4fea64a255dae3ee9a8a4e921056a695b29c7e4"),
])
def test_builder_pods(options, golden):
    same(pod_spec.PodOptions(**options).digest(), golden, "the digest of a builder pod's options has changed: each that runs is one \"with other options\"")


@pytest.mark.parametrize("kind, required, defaults", [
    (recipe.Recipe, [], {"ignition_platform": None, "kernel_arguments": [], "files": [], "ignition_config": None, "uuids": "keep", "machine_id": "keep",
                         "compression": "keep"}),
    (recipe.File, ["path", "sha256", "size"], {"mode": None, "owner": None, "group": None}),
    (recipe.KernelArguments, [], {"append": [], "delete": [], "replace": {}}),
    (convert.Recipe, ["src_format", "format"], {"compression": "none", "subformat": None, "adapter_type": None, "hwversion": None,
                                                "metadata": None}),
    (boot_image.Recipe, ["architecture", "path", "format"], {}),
    (ocne_boot_image.Facts, ["reference", "digest"], {"archive": None}),
    (inspect.Options, ["src", "src_format"], {"contents": True, "check": False, "files": [], "read": [], "max_read_size": 1 << 20}),
    (pod_spec.PodOptions, [], {"image": "container-registry.oracle.com/os/oraclelinux:9", "architecture": None, "workspace": "20Gi", "deadline": 7200,
                               "idle_timeout": 900, "security": "baseline", "kvm": None, "environment": {}, "pod_overrides": {}}),
])
def test_defaults_are_what_they_were(kind, required, defaults):
    found = canonical.defaults(kind)
    same({name: found.get(name, "none") for name in defaults}, defaults, DEFAULT_CHANGED)
    same([field.name for field in dataclasses.fields(kind) if field.name not in found], required, WHAT_BREAKS)
