# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where things are in a boot image. The handle reads a real folder and a real file in place of an appliance's file systems and disk."""

from __future__ import annotations

import os
import struct
import uuid

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.work.guest import bls, loader
from ansible_collections.ocne.images.plugins.module_utils.work.guest.partitions import Roles, read_partitions, roles_of

COMMIT = "a" * 64
DEPLOYMENT = f"ostree/deploy/ock/deploy/{COMMIT}.0"


class Handle:
    """What layout.py asks of libguestfs, on a folder; no path of it may pass through a symbolic link."""

    def __init__(self, folder):
        self.folder = str(folder)

    def _real(self, path, last=True):
        parts = path.strip("/").split("/")
        here = self.folder
        for number, part in enumerate(parts):
            here = os.path.join(here, part)
            assert not os.path.islink(here) or (last and number == len(parts) - 1), f"{path} goes through a link"
        return here

    def _call(self, name, function):
        try:
            return function()
        except OSError as error:
            raise RuntimeError(f"{name}: {error.strerror}") from error

    def lstatns(self, path):
        status = self._call("lstatns", lambda: os.lstat(self._real(path)))
        return {"st_mode": status.st_mode, "st_size": status.st_size}

    def readlink(self, path):
        return self._call("readlink", lambda: os.readlink(self._real(path)))

    def ls(self, path):
        return self._call("ls", lambda: os.listdir(self._real(path, last=False)))

    def pread(self, path, count, offset):
        with open(self._real(path, last=False), "rb") as file:
            return os.pread(file.fileno(), count, offset)


@pytest.fixture
def image(tmp_path):
    (tmp_path / "boot/loader.1/entries").mkdir(parents=True)
    (tmp_path / "boot/loader").symlink_to("loader.1")
    (tmp_path / "root" / DEPLOYMENT / "etc").mkdir(parents=True)
    (tmp_path / "root/ostree/deploy/ock/var/lib").mkdir(parents=True)
    (tmp_path / "root/ostree/boot.1.1/ock/c0ffee").mkdir(parents=True)
    (tmp_path / "root/ostree/boot.1.1/ock/c0ffee/0").symlink_to(f"../../../deploy/ock/deploy/{COMMIT}.0")
    (tmp_path / "root/ostree/boot.1").symlink_to("boot.1.1")
    entry(tmp_path, "ostree-1-ock.conf", "ostree=/ostree/boot.1/ock/c0ffee/0")
    return tmp_path


def entry(image, name, options, version=1):
    (image / "boot/loader.1/entries" / name).write_text(f"version {version}\noptions {options}\nlinux /k\n")


def entries(image):
    g = Handle(image)
    return loader.boot_entries(g, loader.loader_folder(g))


# --- loader, entries, deployments ----------------------------------------------------------------------

def test_the_way_from_loader_to_deployment(image):
    found, = entries(image)
    assert found.name == "ostree-1-ock.conf"
    deployment = loader.deployment_of(Handle(image), found.entry)
    assert deployment == loader.Deployment("ock", COMMIT, 0)
    assert (deployment.path, deployment.var) == (DEPLOYMENT, "ostree/deploy/ock/var")
    assert loader.all_deployments(Handle(image)) == [deployment]


def test_the_default_entry_is_first(image):
    for number in (2, 10, 9):
        entry(image, f"ostree-{number}-ock.conf", "a", version=number)
    (image / "boot/loader.1/entries/.hidden.conf").write_text("")
    (image / "boot/loader.1/entries/readme").write_text("")
    assert [item.name for item in entries(image)] == ["ostree-10-ock.conf", "ostree-9-ock.conf", "ostree-2-ock.conf", "ostree-1-ock.conf"]


@pytest.mark.parametrize("target", ["loader.2", "../root", "/boot/loader.1", "loader", "loader.1/../../root", "/"])
def test_a_loader_that_leads_elsewhere_is_refused(image, target):
    (image / "boot/loader").unlink()
    (image / "boot/loader").symlink_to(target)
    with pytest.raises(ImageError, match="not to loader.0 or loader.1"):
        loader.loader_folder(Handle(image))


def test_a_loader_that_is_a_folder_and_one_that_is_missing(image):
    (image / "boot/loader").unlink()
    assert loader.loader_folder(Handle(image)) is None
    (image / "boot/loader").mkdir()
    assert loader.loader_folder(Handle(image)) == "loader"
    assert loader.boot_entries(Handle(image), "loader") == []


def test_a_loader_whose_target_is_missing_has_no_entries(image):
    (image / "boot/loader").unlink()
    (image / "boot/loader").symlink_to("loader.0")
    assert entries(image) == []


def test_a_boot_entry_of_10_mib_is_refused(image):
    (image / "boot/loader.1/entries/ostree-1-ock.conf").write_bytes(b"options " + b"a" * (10 << 20))
    with pytest.raises(ImageError, match="at most 65536"):
        entries(image)


def test_a_boot_entry_that_is_a_link_is_refused(image):
    path = image / "boot/loader.1/entries/ostree-1-ock.conf"
    path.unlink()
    path.symlink_to("/etc/passwd")
    with pytest.raises(ImageError, match="not a regular file"):
        entries(image)


def test_too_many_entries_are_refused(image):
    for number in range(65):
        entry(image, f"e{number}.conf", "a")
    with pytest.raises(ImageError, match="66 boot entries"):
        entries(image)


def test_an_entry_that_is_not_utf_8_comes_back_as_it_was(image):
    data = b"title \xff\xfe\noptions a\n"
    (image / "boot/loader.1/entries/ostree-1-ock.conf").write_bytes(data)
    assert entries(image)[0].entry.dump().encode("utf-8", "surrogateescape") == data


@pytest.mark.parametrize("options", ["", "quiet", "ostree", "ostree="])
def test_an_entry_without_ostree_has_no_deployment(image, options):
    assert loader.deployment_of(Handle(image), bls.Entry(f"options {options}\n")) is None


@pytest.mark.parametrize("target", [
    "/", "/etc", "../../../../../../..", f"../../../deploy/ock/deploy/{COMMIT}.1", f"../../../deploy/ock/deploy/{'b' * 64}.0", "../../../deploy/ock/var",
    f"../../../deploy/ock/deploy/{COMMIT}.0/etc", "nowhere",
])
def test_an_ostree_path_that_leads_elsewhere_is_refused(image, target):
    link = image / "root/ostree/boot.1.1/ock/c0ffee/0"
    link.unlink()
    link.symlink_to(target)
    with pytest.raises(ImageError, match="no ostree deployment"):
        loader.deployment_of(Handle(image), entries(image)[0].entry)


def test_a_loop_of_links_is_refused(image):
    link = image / "root/ostree/boot.1.1/ock/c0ffee/0"
    link.unlink()
    link.symlink_to("1")
    (link.parent / "1").symlink_to("0")
    with pytest.raises(ImageError, match="loop"):
        loader.deployment_of(Handle(image), entries(image)[0].entry)


# --- paths as the booted system has them ----------------------------------------------------------------

@pytest.fixture
def view(image):
    return loader.booted_view(Handle(image), loader.Deployment("ock", COMMIT, 0), Roles(boot=True, root=True, efi=True))


@pytest.mark.parametrize("path,real", [
    ("/etc/x", f"/root/{DEPLOYMENT}/etc/x"), ("/var/lib/x", "/root/ostree/deploy/ock/var/lib/x"), ("/variable", f"/root/{DEPLOYMENT}/variable"),
    ("/boot/x", "/boot/x"), ("/boot/efi/EFI", "/efi/EFI"), ("/boot/efix", "/boot/efix"), ("/sysroot/ostree", "/root/ostree"), ("/", f"/root/{DEPLOYMENT}"),
    ("/var", "/root/ostree/deploy/ock/var"),
])
def test_real_places(view, path, real):
    assert view.real(path) == real


@pytest.mark.parametrize("target,resolved", [
    ("/usr/lib", "/usr/lib/x"), ("../var/lib", "/var/lib/x"), ("../../../../../../usr", "/usr/x"), ("/sysroot/ostree", "/sysroot/ostree/x"), (".", "/etc/x"),
    ("/boot/loader", "/boot/loader.1/x"), ("/none/../etc", "/etc/x"),
])
def test_links_lead_where_the_booted_system_goes(image, view, target, resolved):
    (image / "root" / DEPLOYMENT / "etc/link").symlink_to(target)
    assert view.resolve("/etc/link/x") == resolved


def test_the_last_link_is_kept_where_asked(image, view):
    (image / "root" / DEPLOYMENT / "etc/link").symlink_to("hosts")
    assert view.resolve("/etc/link", follow=False) == "/etc/link"
    assert view.resolve("/etc/link") == "/etc/hosts"


def test_a_loop_below_etc_is_refused(image, view):
    (image / "root" / DEPLOYMENT / "etc/a").symlink_to("b")
    (image / "root" / DEPLOYMENT / "etc/b").symlink_to("/etc/a")
    with pytest.raises(ImageError, match="loop"):
        view.resolve("/etc/a/x")
    assert view.resolve("/etc/a", follow=False) == "/etc/a"


def test_a_file_in_the_way_is_refused(image, view):
    (image / "root" / DEPLOYMENT / "etc/file").write_text("")
    with pytest.raises(ImageError, match="in the way"):
        view.resolve("/etc/file/x")


# --- partitions ----------------------------------------------------------------------------------------

class Disk:
    """A disk in memory; its partitions are parts of it."""

    def __init__(self, partitions, table=2, size=128):
        self.data = bytearray(1 << 20)
        struct.pack_into("<8s", self.data, 512, b"EFI PART")
        struct.pack_into("<QII", self.data, 512 + 72, table, 128, size)
        self.places = {}
        for number, (kind, name, start, sectors) in partitions.items():
            struct.pack_into("<16s16sQQQ72s", self.data, table * 512 + (number - 1) * size, uuid.UUID(kind).bytes_le, bytes(16), start,
                             start + sectors - 1, 0, name.encode("utf-16-le"))
            self.places[f"/dev/sda{number}"] = start * 512

    def xfs(self, number, identity, label):
        struct.pack_into("<4s28x16s", self.data, self.places[f"/dev/sda{number}"], b"XFSB", uuid.UUID(identity).bytes)
        struct.pack_into("<12s", self.data, self.places[f"/dev/sda{number}"] + 108, label)

    def pread_device(self, device, count, offset):
        start = self.places.get(device, 0) + offset
        return bytes(self.data[start:start + count])

    def blkid(self, device):
        raise RuntimeError("blkid: nothing known")


LINUX, EFI = "0fc63daf-8483-4772-8e79-3d69d8477de4", "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
ID = "8645d312-2c61-54a4-8855-16c7c7f20d18"


@pytest.mark.parametrize("table,size", [(2, 128), (2, 256), (40, 128)])
def test_partitions_by_name(table, size):
    disk = Disk({1: (EFI, "EFI-SYSTEM", 300, 10), 4: (LINUX, "root", 320, 10), 2: (LINUX, "boot", 310, 10)}, table, size)
    disk.xfs(2, ID, b"other")
    found = read_partitions(disk, "/dev/sda")
    assert [(part.number, part.name, part.start, part.size, part.type) for part in found] == [
        (1, "EFI-SYSTEM", 300 * 512, 5120, EFI), (2, "boot", 310 * 512, 5120, LINUX), (4, "root", 320 * 512, 5120, LINUX)]
    assert (found[1].filesystem, found[1].uuid, found[1].label) == ("xfs", ID, "other")
    roles = roles_of(found)
    assert (roles.boot.number, roles.root.number, roles.efi.number) == (2, 4, 1)


def test_partitions_by_label_where_names_say_nothing():
    disk = Disk({1: (LINUX, "", 300, 10), 2: (LINUX, "Linux", 310, 10)})
    disk.xfs(1, ID, b"root")
    disk.xfs(2, ID, b"boot")
    roles = roles_of(read_partitions(disk, "/dev/sda"))
    assert (roles.boot.number, roles.root.number, roles.efi) == (2, 1, None)


def test_two_partitions_of_one_name_are_refused():
    disk = Disk({1: (LINUX, "boot", 300, 10), 2: (LINUX, "boot", 310, 10)})
    with pytest.raises(ImageError, match="2 partitions named boot"):
        roles_of(read_partitions(disk, "/dev/sda"))


def test_efi_by_its_type():
    assert roles_of(read_partitions(Disk({3: (EFI, "esp", 300, 10)}), "/dev/sda")).efi.number == 3
