# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Boot media images as sources of work in a pod."""

from __future__ import annotations

import base64
import json
import os
import stat

import pytest

from ansible_collections.ocne.images.plugins.module_utils.artifact.record import Record, write_record
from ansible_collections.ocne.images.plugins.module_utils.builders.kubernetes import boot_media
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.files.digests import sha256_file, stat_of
from ansible_collections.ocne.images.plugins.module_utils.work.job import Job

INDEX, MANIFEST = "sha256:" + "1" * 64, "sha256:" + "2" * 64
VALUES = {"image_digest": INDEX, "manifest_digest": MANIFEST, "layer_digest": "sha256:3", "labels": {}}
LOGIN = {"auths": {"h.example:5000": {"auth": base64.b64encode(b"me:s3cret").decode()}}}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A user without auth files."""
    for name in ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))


def options(**more):
    return dict({"source": "docker://h.example:5000/ock:1", "architecture": "amd64", "path": "disk/boot.qcow2", "format": "qcow2", "registry": {},
                 "known": ["x"], "retries": 3}, **more)


def of_job(**more):
    asked = []

    def look(wanted):
        asked.append(wanted)
        return dict(VALUES, changed=True)
    source = boot_media.of_job(options(**more), look)
    assert asked == [dict(options(**more), known=[], retries=0, describe=True)]
    return source


def test_only_images_of_registries():
    assert boot_media.in_registry(Job("boot_image", options(), "/"))
    assert not boot_media.in_registry(Job("boot_image", options(source="oci:/srv/layout:1"), "/"))
    assert not boot_media.in_registry(Job("convert", {}, "/"))


def test_what_a_cluster_needs_to_mount_one():
    source = of_job(registry={"username": "me", "password": "s3cret"})
    assert (source.reference, source.architecture, source.login, source.values) == (f"h.example:5000/ock@{MANIFEST}", "amd64", LOGIN, VALUES)
    mounted = source.mounted_at("/source")
    assert mounted["registry"] == {} and mounted["mounted"] == {"path": "/source", "values": VALUES} and mounted["path"] == "disk/boot.qcow2"
    assert "s3cret" not in json.dumps(mounted)


@pytest.mark.parametrize("mounted, machine, fits", [
    (f"h.example:5000/ock@{MANIFEST}", "x86_64", True), (f"h.example:5000/ock@{MANIFEST}", "aarch64", False), (f"h.example:5000/ock@{INDEX}", "x86_64", False),
    (None, "x86_64", False), (f"h.example:5000/ock@{MANIFEST}", "riscv64", False),
])
def test_what_a_pod_has_mounted(mounted, machine, fits):
    assert of_job().fits(mounted, machine) is fits


@pytest.mark.parametrize("known, there", [([], False), ([INDEX], True), (["sha256:0", MANIFEST], True), (["sha256:0"], False)])
def test_whether_it_is_there_already(known, there):
    assert of_job().known(known) is there


def test_a_registry_file_that_is_not_there():
    with pytest.raises(ImageError, match="registry.ca_cert cannot be read"):
        boot_media.of_job(options(registry={"ca_cert": "/nonexistent"}), None)


# --- of a record -----------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path):
    """disk(...) -> the path of a disk whose record has these fields."""
    def make(kind="ocne_boot_image", reference="docker://h.example:5000/ock:1", **fields):
        path = str(tmp_path / "disk.qcow2")
        with open(path, "wb") as file:
            file.write(b"content")
        wanted = {"architecture": "amd64", "path": "disk/boot.qcow2", "format": "qcow2"}
        record = Record(kind, {"reference": reference, "digest": INDEX}, wanted, sha256_file(path)[0], "qcow2", 1 << 30, VALUES, stat_of(path), **fields)
        write_record(path, record)
        return path
    return make


def test_where_an_image_came_from(disk, tmp_path):
    (tmp_path / "auth.json").write_text(json.dumps(LOGIN))
    path = disk(access={"auth_file": str(tmp_path / "auth.json"), "verify": False})
    source = boot_media.of_record(path)
    assert (source.reference, source.login, source.values, source.sha256) == (f"h.example:5000/ock@{MANIFEST}", LOGIN, VALUES, sha256_file(path)[0])
    # by its digest: a tag may mean another image by now
    assert source.options["source"] == f"docker://h.example:5000/ock@{MANIFEST}" and source.options["registry"]["verify"] is False


@pytest.mark.parametrize("fields", [{"kind": "ocne_image_convert"}, {"reference": "oci:/srv/layout:1"}])
def test_what_came_from_no_registry(disk, fields):
    assert boot_media.of_record(disk(**fields)) is None


def test_what_was_touched_came_from_nowhere(disk, tmp_path):
    path = disk()
    os.utime(path, ns=(1, 1))
    assert boot_media.of_record(path) is None
    os.unlink(path)
    assert boot_media.of_record(path) is None and boot_media.of_record(str(tmp_path / "none")) is None


# --- what a pod takes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy, mounted", [([{"type": "insecureAcceptAnything"}], True), ([{"type": "reject"}], False)])
def test_an_image_that_a_policy_must_see_is_not_mounted(tmp_path, policy, mounted):
    (tmp_path / "policy.json").write_text(json.dumps({"default": policy}))
    assert boot_media.may_be_mounted(of_job(registry={"policy": str(tmp_path / "policy.json")})) is mounted


@pytest.mark.parametrize("what, details, because", [
    ("the API server refuses", {"status": 422}, True),
    ("the API server refuses", {"status": 403}, True),
    ("the API server has a fault", {"status": 500}, False),
    ("its node knows no image volumes", {"mountable": False}, True),
    (f"the image of the pod cannot be pulled: h.example:5000/ock@{MANIFEST}: not found", {"waiting": "ImagePullBackOff"}, True),
    ("the image of the pod cannot be pulled: docker.io/library/debian:13", {"waiting": "ImagePullBackOff"}, False),
    ("the pod cannot start: CreateContainerError: failed to mount", {"waiting": "CreateContainerError"}, True),
    ("no node can take the pod", {}, False),
])
def test_whether_the_image_is_to_blame(what, details, because):
    assert boot_media.not_mountable(ImageError(what, **details), of_job()) is because


def test_one_login_is_carried_in_a_file(tmp_path):
    (tmp_path / "auth.json").write_text(json.dumps({"auths": {"h.example:5000": LOGIN["auths"]["h.example:5000"], "other.example": {"auth": "other"}}}))
    given = options(registry={"auth_file": str(tmp_path / "auth.json"), "verify": False})
    with boot_media.to_be_carried(given) as carried:
        path = carried["registry"].pop("auth_file")
        assert json.load(open(path, encoding="utf-8")) == LOGIN and stat.S_IMODE(os.stat(path).st_mode) == 0o600
        assert carried["registry"] == {"verify": False} and carried["source"] == given["source"]
    assert not os.path.exists(path) and given["registry"]["auth_file"] == str(tmp_path / "auth.json")


def test_a_password_is_carried_in_that_file_too():
    with boot_media.to_be_carried(options(registry={"username": "me", "password": "s3cret"})) as carried:
        assert json.load(open(carried["registry"]["auth_file"], encoding="utf-8")) == LOGIN
        assert "s3cret" not in json.dumps(carried) and set(carried["registry"]) == {"auth_file"}


def test_without_a_login_there_is_no_file():
    with boot_media.to_be_carried(options()) as carried:
        assert carried["registry"] == {}
