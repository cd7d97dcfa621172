# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Boot images without an appliance: handles that read a real folder and a disk in memory, for unit tests."""

from __future__ import annotations

import os
import struct
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
