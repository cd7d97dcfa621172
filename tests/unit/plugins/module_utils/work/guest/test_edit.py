# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The edits of one image. The handle edits a real folder and a disk in memory."""

from __future__ import annotations

import os
import stat

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.platforms.profiles import profile
from ansible_collections.ocne.images.plugins.module_utils.work.guest import ignition, recipe
from ansible_collections.ocne.images.plugins.module_utils.work.guest.edit import Editor
from ansible_collections.ocne.images.plugins.module_utils.work.guest.partitions import read_partitions
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.work.guest.guests import (
    BOOT_ID,
    COMMIT,
    DEPLOYMENT,
    LINUX,
    ROOT_ID,
    ROOT_NUMBER,
    Disk,
    Guest,
    entry,
)

OTHER = f"ostree/deploy/ock/deploy/{'b' * 64}.1"
NEW = {"boot": "aaaaaaaa-0000-4000-8000-00000000000b", "root": "aaaaaaaa-0000-4000-8000-00000000000c"}
CONFIG = {"ignition": {"version": "3.4.0"}}
INITRAMFS = os.urandom(30_001)
POLICY = "/etc(/.*)?  system_u:object_r:etc_t:s0\n/etc/x/secret  --  system_u:object_r:secret_t:s0\n"


@pytest.fixture
def top(image):
    """The booting deployment's folder; another one does not boot."""
    (image / "root" / OTHER / "etc").mkdir(parents=True)
    (image / "boot/ock").mkdir()
    (image / "boot/ock/initramfs").write_bytes(INITRAMFS)
    options = f"root=UUID={ROOT_ID} ostree=/ostree/boot.1/ock/c0ffee/0 ignition.platform.id=qemu"
    (image / "boot/loader.1/entries/ostree-1-ock.conf").write_text(f"title ock\nversion 1\noptions {options}\nlinux /ock/k\ninitrd /ock/initramfs\n")
    return image / "root" / DEPLOYMENT


@pytest.fixture
def guest(top, image):
    return Guest(image)


def edit(guest, uuids=None, platform=None, **options):
    return Editor(guest, "/dev/sda", recipe.build(options, profile(platform)), uuids or {}).run()


def put(guest, path="/etc/x/file", content="hello", **more):
    return edit(guest, files=[{"path": path, "content": content, **more}])


def refused(guest, **options):
    with pytest.raises(ImageError) as caught:
        edit(guest, **options)
    guest.umount_all()   # as the caller does
    return str(caught.value)


def tree(folder):
    return {path.relative_to(folder): (path.lstat().st_mode, path.read_bytes() if path.is_file() else None) for path in folder.rglob("*")}


def test_nothing_asked_is_nothing_done(guest, image):
    before = tree(image)
    values = edit(guest)
    assert tree(image) == before and guest.calls == [] and guest.mounted == {}
    assert values["uuids"] == {"boot": BOOT_ID, "root": ROOT_ID} and values["files"] == []
    assert values["kernel_command_lines"][0]["entry"] == "ostree-1-ock.conf" and values["ignition_config"] is None


# --- boot entries ----------------------------------------------------------------------------------------


def test_arguments_of_every_entry_that_boots(guest, image):
    entry(image, "ostree-2-ock.conf", "a ostree=/ostree/boot.1/ock/c0ffee/0", version=2)
    (image / "boot/loader.1/entries/memtest.conf").write_text("title memtest\noptions a\nefi /memtest\n")
    values = edit(guest, ignition_provider="metal", kernel_arguments={"append": ["quiet"], "delete": ["a"], "replace": None})
    lines = {line["entry"]: line["options"].split() for line in values["kernel_command_lines"]}
    assert set(lines) == {"ostree-1-ock.conf", "ostree-2-ock.conf"}
    for name, words in lines.items():
        assert "ignition.platform.id=metal" in words and "ignition.platform.id=qemu" not in words and words[-1] == "quiet" and "a" not in words
        assert f"options {' '.join(words)}\n" in (image / "boot/loader.1/entries" / name).read_text()
    assert (image / "boot/loader.1/entries/memtest.conf").read_text() == "title memtest\noptions a\nefi /memtest\n"


def test_an_image_without_a_deployment_that_boots(guest, image):
    (image / "boot/loader.1/entries/ostree-1-ock.conf").write_text("title x\noptions quiet\nlinux /k\n")
    assert "no ostree deployment that boots" in refused(guest, ignition_provider="metal")
    assert guest.calls == []


@pytest.mark.parametrize("name", ["boot", "root"])
def test_an_image_without_a_partition(image, top, name):
    disk = Disk({4: (LINUX, "boot" if name == "root" else "root", 320, 10)})
    assert f"the image has no partition named {name}" in refused(Guest(image, disk))


# --- identity --------------------------------------------------------------------------------------------


def test_new_uuids_and_all_that_names_the_old_ones(guest, image, top):
    fstab = f"# caf\udce9\nUUID={ROOT_ID.upper()} / xfs defaults 0 0\nUUID={BOOT_ID} /boot xfs defaults 0 0\n"
    config = f"search --fs-uuid {BOOT_ID}\n"
    places = [top / "etc/fstab", image / "root" / OTHER / "etc/fstab"]
    files = [image / "boot/grub2/grub.cfg", image / "efi/EFI/redhat/bootuuid.cfg"]
    for place in places:
        place.write_bytes(fstab.encode("utf-8", "surrogateescape"))
    for file in files:
        file.parent.mkdir(parents=True)
        file.write_text(config)
    values = edit(guest, NEW)
    assert values["uuids"] == NEW
    assert {part.name: part.uuid for part in read_partitions(guest, "/dev/sda") if part.uuid} == NEW
    after = fstab.replace(ROOT_ID.upper(), NEW["root"]).replace(BOOT_ID, NEW["boot"]).encode("utf-8", "surrogateescape")
    assert [place.read_bytes() for place in places] == [after, after]
    assert [file.read_text() for file in files] == [config.replace(BOOT_ID, NEW["boot"])] * 2
    assert f"root=UUID={NEW['root']} " in values["kernel_command_lines"][0]["options"]


def test_a_file_system_whose_log_is_not_empty_is_mounted_once(guest):
    class Dirty(Guest):
        def xfs_admin(self, device, uuid):
            if "mount" not in self.calls:
                raise RuntimeError("xfs_admin: ERROR: The filesystem has valuable metadata changes in a log which needs to be replayed.")
            super().xfs_admin(device, uuid)
    guest = Dirty(guest.folder)
    assert edit(guest, NEW)["uuids"] == NEW
    assert guest.calls.count("mount") == 1


def test_a_uuid_that_cannot_be_set(guest):
    def fail(device, uuid):
        raise RuntimeError("xfs_admin: no such thing")
    guest.xfs_admin = fail
    assert "giving partition 2 (boot) a new UUID failed: xfs_admin: no such thing" in refused(guest, uuids=NEW)
    guest.xfs_admin = lambda device, uuid: None
    assert "boot: the new UUID of a file system does not read back" in refused(guest, uuids=NEW)


def test_two_file_systems_of_one_uuid(guest):
    guest.disk.xfs(ROOT_NUMBER, BOOT_ID, b"root")
    assert "boot and root have the same UUID" in refused(guest, uuids=NEW)


def test_machine_ids_of_all_deployments(guest, image, top):
    for folder in (top, image / "root" / OTHER):
        (folder / "etc/machine-id").write_text("0" * 32 + "\n")
    (image / "root/ostree/deploy/ock/var/lib/dbus").mkdir()
    (image / "root/ostree/deploy/ock/var/lib/dbus/machine-id").write_text("0" * 32 + "\n")
    assert edit(guest, identity={"machine_id": "remove"})["machine_id_removed"] is True
    assert list(image.rglob("machine-id")) == []
    assert edit(guest, identity={"machine_id": "remove"})["machine_id_removed"] is False


def test_a_link_to_the_machine_id_stays(guest, image):
    (image / "root/ostree/deploy/ock/var/lib/dbus").mkdir()
    link = image / "root/ostree/deploy/ock/var/lib/dbus/machine-id"
    link.symlink_to("/etc/machine-id")
    edit(guest, identity={"machine_id": "remove"})
    assert os.readlink(link) == "/etc/machine-id"


# --- files -----------------------------------------------------------------------------------------------


def test_a_new_file_has_the_policy_s_labels(guest, top):
    (top / "etc/selinux/targeted/contexts/files").mkdir(parents=True)
    (top / "etc/selinux/config").write_text("SELINUX=enforcing\nSELINUXTYPE=targeted\n")
    (top / "etc/selinux/targeted/contexts/files/file_contexts").write_text(POLICY)
    assert put(guest, "/etc/x/secret", mode="4750", owner=7, group=8)["files"] == ["/etc/x/secret"]
    there = f"/root/{DEPLOYMENT}/etc/x"
    assert guest.labels == {there: "system_u:object_r:etc_t:s0", there + "/secret": "system_u:object_r:secret_t:s0"}
    assert (top / "etc/x/secret").read_text() == "hello"
    assert stat.S_IMODE((top / "etc/x/secret").stat().st_mode) == 0o4750 and stat.S_IMODE((top / "etc/x").stat().st_mode) == 0o755
    assert guest.owners == {there + "/secret": (7, 8)}


def test_a_file_that_is_there_keeps_owner_and_mode(guest, top):
    (top / "etc/x").mkdir()
    (top / "etc/x/file").write_text("old")
    os.chmod(top / "etc/x/file", 0o600)
    guest.owners[f"/root/{DEPLOYMENT}/etc/x/file"] = (12, 34)
    put(guest)
    assert (top / "etc/x/file").read_text() == "hello" and stat.S_IMODE((top / "etc/x/file").stat().st_mode) == 0o600
    assert guest.owners == {f"/root/{DEPLOYMENT}/etc/x/file": (12, 34)}


def test_owners_are_those_of_the_image(guest, top):
    (top / "usr/lib").mkdir(parents=True)
    (top / "etc/passwd").write_text("broken\nroot:x:0:0::/:/bin/sh\ncore:x:1000:1001::/:/bin/sh\n")
    (top / "usr/lib/group").write_text("chrony:x:990:\n")
    put(guest, owner="core", group="chrony")
    assert guest.owners == {f"/root/{DEPLOYMENT}/etc/x/file": (1000, 990)}
    assert "/etc/x/file: the image has no user 'chrony'" in refused(guest, files=[{"path": "/etc/x/file", "content": "", "owner": "chrony"}])


def test_what_ostree_shares_is_not_written_to(guest, image, top):
    shared = [image / "root/object", image / "boot/entry"]
    shared[0].write_text("shared")
    os.link(shared[0], top / "etc/file")
    conf = image / "boot/loader.1/entries/ostree-1-ock.conf"
    os.link(conf, shared[1])
    os.chmod(conf, 0o640)
    before = shared[1].read_bytes()
    edit(guest, ignition_provider="metal", files=[{"path": "/etc/file", "content": "mine"}])
    assert (top / "etc/file").read_text() == "mine" and shared[0].read_text() == "shared"
    assert shared[1].read_bytes() == before and b"metal" in conf.read_bytes() and stat.S_IMODE(conf.stat().st_mode) == 0o640


def test_a_link_in_the_last_place_gives_way(guest, top):
    (top / "etc/hosts").write_text("hosts")
    (top / "etc/link").symlink_to("hosts")
    put(guest, "/etc/link")
    assert not (top / "etc/link").is_symlink() and (top / "etc/link").read_text() == "hello" and (top / "etc/hosts").read_text() == "hosts"


@pytest.mark.parametrize("target", ["/usr", "/sysroot/ostree", "../usr", "/boot/efi", "/"])
def test_a_link_that_leads_out(guest, image, target):
    (image / "root" / DEPLOYMENT / "etc/x").symlink_to(target)
    before = tree(image)
    words = refused(guest, files=[{"path": "/etc/x/file", "content": "hello"}])
    assert words.startswith("/etc/x/file: a symbolic link of the image leads to ") and "out of /etc, /var and /boot" in words
    assert tree(image) == before


def test_a_folder_of_that_name(guest, top):
    (top / "etc/x/file").mkdir(parents=True)
    assert "there is a folder or a special file of that name" in refused(guest, files=[{"path": "/etc/x/file", "content": ""}])


def test_a_large_file_is_sent_as_it_is(guest, image, tmp_path_factory):
    source = tmp_path_factory.mktemp("src") / "large"
    source.write_bytes(os.urandom(1 << 20) + b"x")
    edit(guest, files=[{"path": "/var/lib/large", "src": str(source)}])
    assert (image / "root/ostree/deploy/ock/var/lib/large").read_bytes() == source.read_bytes()


def test_each_deployment_that_boots_gets_a_file(guest, image, top):
    link = image / "root/ostree/boot.1.1/ock/c0ffee/1"
    link.symlink_to(f"../../../deploy/ock/deploy/{'b' * 64}.1")
    entry(image, "ostree-2-ock.conf", "ostree=/ostree/boot.1/ock/c0ffee/1", version=2)
    (image / f"root/ostree/deploy/ock/deploy/{COMMIT}.9/etc").mkdir(parents=True)
    assert put(guest, "/etc/file")["files"] == ["/etc/file"]
    assert sorted(path.parent.parent.name for path in image.rglob("etc/file")) == [f"{COMMIT}.0", f"{'b' * 64}.1"]


# --- Ignition --------------------------------------------------------------------------------------------


def embedded(image):
    data = (image / "boot/ock/initramfs").read_bytes()
    return ignition.find(data, len(data))


def test_a_configuration_is_embedded_replaced_and_removed(guest, image):
    first, second = recipe.ignition_config(CONFIG).encode(), recipe.ignition_config(dict(CONFIG, storage={})).encode()
    assert edit(guest, ignition_config=CONFIG)["ignition_config"] is True
    assert embedded(image) == (30_004, first) and (image / "boot/ock/initramfs").read_bytes()[:30_001] == INITRAMFS
    guest.calls.clear()
    edit(guest, ignition_config=CONFIG)
    assert guest.calls == []
    edit(guest, ignition_config=dict(CONFIG, storage={}))
    assert embedded(image) == (30_004, second)
    assert edit(guest, ignition_config="")["ignition_config"] is False
    assert embedded(image) is None and (image / "boot/ock/initramfs").read_bytes() == INITRAMFS + bytes(3)


def test_a_full_boot_partition(guest, image):
    guest.free = 1 << 20
    assert "the boot partition is too full for the Ignition configuration" in refused(guest, ignition_config=CONFIG)
    assert (image / "boot/ock/initramfs").read_bytes() == INITRAMFS


def test_a_boot_entry_without_an_initramfs(guest, image):
    (image / "boot/ock/initramfs").unlink()
    assert "/boot/ock/initramfs: the initramfs of the boot entry is missing" in refused(guest, ignition_config=CONFIG)
    entry(image, "ostree-1-ock.conf", "ostree=/ostree/boot.1/ock/c0ffee/0")
    assert "ostree-1-ock.conf: the boot entry has no initramfs" in refused(guest, ignition_config=CONFIG)


# --- reading back ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("options, file", [
    ({"files": [{"path": "/etc/file", "content": "hello"}]}, f"root/{DEPLOYMENT}/etc/file"),
    ({"ignition_provider": "metal"}, "boot/loader.1/entries/ostree-1-ock.conf"),
    ({"ignition_config": CONFIG}, "boot/ock/initramfs"),
])
def test_what_the_disk_has_not_kept(guest, image, options, file):
    def lose(what):
        (image / file).write_bytes((image / file).read_bytes()[:-20])
    guest.drop_caches = lose
    assert f"/{file}: what was written to the image does not read back" in refused(guest, **options)


def test_a_fault_of_the_appliance(guest):
    def fail(what):
        raise RuntimeError("drop_caches: Input/output error")
    guest.drop_caches = fail
    assert "customizing the image failed: drop_caches: Input/output error" in refused(guest, ignition_provider="metal")
