# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Boot images without an appliance: handles that read a real folder and a disk in memory, for unit tests."""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import types
import uuid

from ansible_collections.ocne.images.plugins.module_utils.work.guest import loader

COMMIT = "a" * 64
DEPLOYMENT = f"ostree/deploy/ock/deploy/{COMMIT}.0"


class Handle:
    """What the readers of an image ask of libguestfs, on a folder; no path of it may pass through a symbolic link."""

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


def entry(image, name, options, version=1):
    (image / "boot/loader.1/entries" / name).write_text(f"version {version}\noptions {options}\nlinux /k\n")


def entries(image):
    g = Handle(image)
    return loader.boot_entries(g, loader.loader_folder(g))


LINUX, EFI = "0fc63daf-8483-4772-8e79-3d69d8477de4", "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"


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


#: of the file systems of boot and root
BOOT_ID, ROOT_ID = "11111111-2222-3333-4444-555555555555", "66666666-7777-8888-9999-aaaaaaaaaaaa"
BOOT_NUMBER, ROOT_NUMBER, EFI_NUMBER = 2, 4, 1


def boot_disk():
    """A disk with the partitions of a boot image."""
    disk = Disk({EFI_NUMBER: (EFI, "EFI-SYSTEM", 300, 10), BOOT_NUMBER: (LINUX, "boot", 310, 10), ROOT_NUMBER: (LINUX, "root", 320, 10)})
    disk.xfs(BOOT_NUMBER, BOOT_ID, b"boot")
    disk.xfs(ROOT_NUMBER, ROOT_ID, b"root")
    return disk


class Guest(Handle):
    """A launched appliance with one disk: a folder has its file systems, which can be reached while they are mounted.

    Owners and labels are kept beside: only root may give files away. calls: the names of what was asked that changes something.
    """

    def __init__(self, folder, disk=None):
        super().__init__(folder)
        self.disk, self.mounted, self.calls = disk or boot_disk(), {}, []
        self.owners, self.labels, self.free = {}, {}, 1 << 30
        self.pread_device, self.blkid = self.disk.pread_device, self.disk.blkid

    def _real(self, path, last=True):
        assert "/" + path.strip("/").split("/")[0] in self.mounted, f"{path} is not mounted"
        return super()._real(path, last)

    # --- file systems ---

    def mount_options(self, options, device, path):
        assert path not in self.mounted
        self.mounted[path] = (device, options)

    def mount(self, device, path):
        self.calls.append("mount")
        self.mount_options("", device, path)

    def umount(self, path):
        del self.mounted[path]

    def umount_all(self):
        self.mounted.clear()

    def xfs_admin(self, device, uuid):
        assert not self.mounted, "the file systems are in use"
        self.calls.append("xfs_admin")
        self.disk.xfs(int(device[-1]), uuid, b"changed")

    def statvfs(self, path):
        self._real(path)
        return {"bavail": self.free // 4096, "frsize": 4096}

    def drop_caches(self, what):
        assert what == 3

    # --- files ---

    def lstatns(self, path):
        status = self._call("lstatns", lambda: os.lstat(self._real(path)))
        owner = self.owners.get(path, (0, 0))
        return {"st_mode": status.st_mode, "st_size": status.st_size, "st_nlink": status.st_nlink, "st_uid": owner[0], "st_gid": owner[1]}

    def write(self, path, data):
        self.calls.append("write")
        path = self._real(path, last=False)
        new = not os.path.exists(path)
        with open(path, "wb") as file:
            file.write(data)
        if new:
            os.chmod(path, 0o644)

    def pwrite(self, path, data, offset):
        self.calls.append("pwrite")
        with open(self._real(path, last=False), "r+b") as file:
            file.seek(offset)
            file.write(data)
        return len(data)

    def upload(self, source, path):
        with open(source, "rb") as file:
            self.write(path, file.read())

    def truncate_size(self, path, size):
        self.calls.append("truncate_size")
        os.truncate(self._real(path, last=False), size)

    def checksum(self, kind, path):
        with open(self._real(path, last=False), "rb") as file:
            return hashlib.new(kind, file.read()).hexdigest()

    def rm(self, path):
        self.calls.append("rm")
        self._call("rm", lambda: os.unlink(self._real(path)))
        self.owners.pop(path, None)
        self.labels.pop(path, None)

    def mkdir_mode(self, path, mode):
        self.calls.append("mkdir_mode")
        self._call("mkdir_mode", lambda: os.mkdir(self._real(path)))
        os.chmod(self._real(path), mode)

    def chown(self, owner, group, path):
        path_there = self._real(path, last=False)
        # as a kernel does
        os.chmod(path_there, stat.S_IMODE(os.stat(path_there).st_mode) & 0o1777)
        self.owners[path] = (owner, group)

    def chmod(self, mode, path):
        os.chmod(self._real(path, last=False), mode)

    def lsetxattr(self, name, value, length, path):
        assert name == "security.selinux" and length == len(value) + 1 and os.path.lexists(self._real(path))
        self.labels[path] = value

    def lgetxattr(self, path, name):
        if path not in self.labels:
            raise RuntimeError("lgetxattr: No data available")
        return self.labels[path].encode() + b"\0"


class Library(types.ModuleType):
    """In place of the module guestfs: its handles say what they were told. launch(handle) and shutdown(handle) may raise."""

    EVENT_LIBRARY, EVENT_WARNING = 1, 2

    def __init__(self):
        super().__init__("guestfs")
        self.handles, self.launch, self.shutdown = [], lambda handle: None, lambda handle: None
        self.GuestFS = lambda python_return_dict: LibraryHandle(self)


class LibraryHandle:
    """One handle of a Library: disks, settings, calls (names, in order)."""

    def __init__(self, library):
        self._library, self.settings, self.disks, self.calls, self.log = library, {}, [], [], None
        library.handles.append(self)

    def set_event_callback(self, function, events):
        self.log = lambda text: function(1, 0, text, [])

    def add_drive_opts(self, path, format, readonly):
        self.disks.append((path, format, readonly))

    def __getattr__(self, name):
        if name.startswith("set_"):
            return lambda value: self.settings.update({name[4:]: value})
        if name not in ("launch", "umount_all", "shutdown", "close"):
            raise AttributeError(name)
        self.calls.append(name)
        return (lambda: getattr(self._library, name)(self)) if name in ("launch", "shutdown") else lambda: None
