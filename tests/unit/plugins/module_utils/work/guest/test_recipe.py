# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What customizing is asked to do: checks, canonical form, derived UUIDs."""

from __future__ import annotations

import base64
import dataclasses
import json

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.platforms import profiles
from ansible_collections.ocne.images.plugins.module_utils.work.guest import recipe

SOURCE = {"sha256": "0" * 64}


def make(platform=None, **options):
    return recipe.build(options, profiles.profile(platform))


def test_nothing_asked_is_nothing_done():
    made = make()
    assert (made.ignition_platform, made.kernel_arguments, made.files, made.ignition_config) == (None, [], [], None)
    assert (made.uuids, made.machine_id, made.compression, made.new_uuids(SOURCE)) == ("keep", "keep", "keep", {})


def test_a_platform_and_the_task_over_it():
    made = make("olvm", ignition_provider="file", kernel_arguments={"append": ["quiet"], "delete": None, "replace": None}, identity={"uuids": "keep"})
    assert made.ignition_platform == "file"
    assert made.kernel_arguments == [{"append": [], "delete": [], "replace": {"console=ttyS0": "console=tty0"}},
                                     {"append": ["quiet"], "delete": [], "replace": {}}]
    assert (made.uuids, made.machine_id) == ("keep", "remove")


def test_a_file_of_the_task_replaces_the_platforms():
    made = make("oci", files=[{"path": "/etc/oci-hostname.conf", "content": "PRESERVE_HOSTINFO=2\n"}])
    assert len(made.files) == 2
    assert made.files[0].data() == b"PRESERVE_HOSTINFO=2\n"


def test_it_crosses_the_wire(tmp_path):
    (tmp_path / "x").write_text("hello")
    made = make("oci", files=[{"path": "/etc/x", "src": str(tmp_path / "x"), "mode": "0600", "owner": 7}], ignition_config={"ignition": {"version": "3.4.0"}})
    assert recipe.load(json.loads(json.dumps(dataclasses.asdict(made)))) == made


def test_the_same_recipe_gives_the_same_uuids_and_another_one_others():
    made = make("oci")
    uuids = made.new_uuids(SOURCE)
    assert uuids == make("oci").new_uuids(dict(SOURCE)) and uuids["boot"] != uuids["root"]
    assert uuids != made.new_uuids({"sha256": "1" * 64})
    assert uuids != make("oci", kernel_arguments={"append": ["quiet"]}).new_uuids(SOURCE)
    drawn = make("oci", identity={"uuids": "random"})
    assert drawn.new_uuids(SOURCE) != drawn.new_uuids(SOURCE)


def test_a_record_holds_digests_only():
    made = make(files=[{"path": "/etc/x", "content": "s3cret"}, {"path": "/etc/y", "content_base64": base64.b64encode(b"s3cret").decode()}],
                ignition_config={"ignition": {"version": "3.4.0"}, "x": "s3cret"})
    text = json.dumps(made.canonical())
    assert "s3cret" not in text and base64.b64encode(b"s3cret").decode() not in text
    assert made.canonical()["files"][0]["sha256"] == made.canonical()["files"][1]["sha256"]


@pytest.mark.parametrize("path,expected", [
    ("/etc/x", "/etc/x"), ("/etc//a/./b", "/etc/a/b"), ("/var/lib/x", "/var/lib/x"), ("/boot/x", "/boot/x"), ("/boot/efibootmgr", "/boot/efibootmgr"),
])
def test_paths(path, expected):
    assert recipe.check_path(path) == expected


@pytest.mark.parametrize("path,why", [
    ("/usr/bin/x", "ostree commit"), ("/usr", "ostree commit"), ("/root/x", "only /etc, /var and /boot"), ("/etc", "only /etc, /var and /boot"),
    ("/etcx/y", "only /etc, /var and /boot"), ("/boot/efi/EFI/x", "EFI partition"), ("etc/x", "not the path"), ("/etc/../usr/x", "not the path"),
    ("/etc/x/", "not the path"), ("/etc/a\nb", "not the path"), ("/etc/a\0b", "not the path"), ("/etc/" + "a" * 256, "not the path"), ("", "not the path"),
])
def test_refused_paths(path, why):
    with pytest.raises(ImageError, match=why):
        recipe.file({"path": path, "content": ""})


@pytest.mark.parametrize("mode,expected", [("0644", 0o644), ("755", 0o755), (420, 0o644), (None, None), ("04755", 0o4755)])
def test_modes(mode, expected):
    assert recipe.file({"path": "/etc/x", "content": "", "mode": mode}).mode == expected


@pytest.mark.parametrize("item,why", [
    ({"mode": "u=rw"}, "mode"), ({"mode": "99"}, "mode"), ({"mode": "010000"}, "mode"), ({"mode": -1}, "mode"), ({"owner": "a b"}, "user or group"),
    ({"group": "../x"}, "user or group"), ({"content_base64": "AA=="}, "content and content_base64"), ({"content": None}, "no content"),
    ({"content": None, "content_base64": "%"}, "not base64"), ({"content": None, "src": "/no/such"}, "does not exist"),
    ({"content": None, "src": "/etc"}, "regular files"), ({"label": "x"}, "no 'label'"),
])
def test_refused_files(item, why):
    with pytest.raises(ImageError, match=why):
        recipe.file({"path": "/etc/x", "content": "", **item})


def test_a_file_given_twice_is_refused():
    with pytest.raises(ImageError, match="twice"):
        make(files=[{"path": "/etc/x", "content": "a"}, {"path": "/etc//x", "content": "b"}])


def test_a_src_that_changed_meanwhile_is_refused(tmp_path):
    (tmp_path / "x").write_text("one")
    item = recipe.file({"path": "/etc/x", "src": str(tmp_path / "x")})
    assert item.data() == b"one"
    (tmp_path / "x").write_text("two")
    with pytest.raises(ImageError, match="changed"):
        item.data()


@pytest.mark.parametrize("config,expected", [
    (None, None), ({}, ""), ("", ""), ("{}", ""), ({"ignition": {"version": "3.4.0"}}, '{"ignition":{"version":"3.4.0"}}'),
    ('{ "ignition" : {"version":\n"3.4.0"} }', '{"ignition":{"version":"3.4.0"}}'), ({"ignition": {"version": "3.5.0-experimental"}}, None),
])
def test_ignition(config, expected):
    text = recipe.ignition_config(config)
    assert text == expected if expected is not None or config is None else json.loads(text) == config


@pytest.mark.parametrize("config", [
    "no: json", "[]", [], 7, {"ignition": {}}, {"ignition": {"version": 3}}, {"ignition": []}, {"variant": "fcos"}, {"ignition": {"version": "x"}}, '"s3cret',
])
def test_what_is_no_ignition_configuration_is_refused_without_quoting_it(config):
    with pytest.raises(ImageError) as error:
        recipe.ignition_config(config)
    assert "s3cret" not in str(error.value) and error.value.where == "ignition_config"


@pytest.mark.parametrize("options,why", [
    ({"kernel_arguments": {"append": ["a b"]}}, "one kernel argument"), ({"kernel_arguments": {"remove": ["a"]}}, "no 'remove'"),
    ({"identity": {"uuids": "new"}}, "no uuids: new"), ({"identity": {"label": "x"}}, "no label"), ({"ignition_provider": "a b"}, "one kernel argument"),
])
def test_refused_options(options, why):
    with pytest.raises(ImageError, match=why):
        make(**options)


@pytest.mark.parametrize("name", profiles.PROFILES)
def test_every_platform_is_sound(name):
    made = make(name)
    assert made.ignition_platform and made.canonical()


def test_platforms_do_what_ocne_does():
    oci, olvm = make("oci"), make("olvm")
    assert (oci.ignition_platform, oci.uuids, oci.machine_id, oci.kernel_arguments) == ("oci", "derived", "remove", [])
    assert [(item.path, item.mode) for item in oci.files] == [
        ("/etc/oci-hostname.conf", 0o644), ("/etc/NetworkManager/dispatcher.d/11-ocne-oci-hostname", 0o755)]
    assert (olvm.ignition_platform, olvm.uuids, olvm.machine_id, olvm.files) == ("openstack", "derived", "remove", [])


@pytest.mark.parametrize("platform,why", [
    ("azure", "no platform 'azure'"), (7, "not int"), ({"ignition": "x"}, "no 'ignition'"), ({"files": {}}, "files of a platform is a list"),
    ({"kernel_arguments": []}, "is a dict"), ({"ignition_platform": 7}, "is a str"),
])
def test_refused_platforms(platform, why):
    with pytest.raises(ImageError, match=why):
        profiles.profile(platform)


def test_a_platform_of_ones_own():
    made = make({"name": "lab", "ignition_platform": "qemu", "kernel_arguments": {"append": ["quiet"]}, "identity": {"machine_id": "remove"},
                 "files": [{"path": "/etc/x", "content": "y"}]})
    assert (made.ignition_platform, made.machine_id, made.uuids, made.files[0].path) == ("qemu", "remove", "keep", "/etc/x")
