# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The partitions of a boot image: found by GPT name or file system label, and mounted.

Every function takes a launched libguestfs handle. The image is hostile: sizes and numbers have limits.
"""

from __future__ import annotations

import dataclasses
import re
import struct
import uuid

from ...common.errors import ImageError
from .appliance import guest_error

#: where mount() has them, in the appliance
BOOT, ROOT, EFI = "/boot", "/root", "/efi"
_MOUNTPOINTS = (BOOT, ROOT, EFI)
_EFI_TYPE = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
_SECTOR = 512
_MAX_PARTITIONS = 128


# --- partitions --------------------------------------------------------------------------------------


@dataclasses.dataclass
class Partition:
    number: int
    device: str             # in the appliance: /dev/sda2
    name: str = ""          # of the GPT entry
    label: str = ""         # of the file system
    uuid: str = ""          # of the file system
    filesystem: str = ""    # xfs, vfat, ...; empty where there is none
    type: str = ""          # GUID of the GPT type, lower case
    start: int = 0          # bytes
    size: int = 0           # bytes


@dataclasses.dataclass
class Roles:
    """Which partition is what; None where there is none."""

    boot: object = None
    root: object = None
    efi: object = None


def read_partitions(g, device):
    """The partitions of one device (/dev/sda) and their file systems, in the order of their numbers. Raises ImageError."""
    try:
        found = _table(g, device)
        for partition in found:
            identify(g, partition)
    except RuntimeError as error:
        raise guest_error(error, "reading the partition table") from error
    return found


def _table(g, device):
    """The partitions of one device as far as its table knows them.

    It is read here, in one read: a tool in the appliance takes half a second for each name.
    """
    found = _gpt(g, device)
    if found is None:
        found = [Partition(int(re.search(r"\d+$", name).group()), name)
                 for name in g.list_partitions() if re.fullmatch(re.escape(device) + r"p?\d+", name)][:_MAX_PARTITIONS]
    return sorted(found, key=lambda partition: partition.number)


def _gpt(g, device):
    """The entries of a GUID partition table of 512-byte sectors (UEFI specification, 5.3); None where there is none."""
    head = g.pread_device(device, 34 * _SECTOR, 0)
    if head[_SECTOR:_SECTOR + 8] != b"EFI PART":
        return None
    table, count, size = struct.unpack_from("<QII", head, _SECTOR + 72)
    if size < 128 or size > 4096 or count > 1024:
        return None
    count = min(count, _MAX_PARTITIONS)
    entries = head[2 * _SECTOR:] if table == 2 and count * size <= 32 * _SECTOR else g.pread_device(device, count * size, table * _SECTOR)
    found = []
    for number in range(min(count, len(entries) // size)):
        kind, _own, first, last, _flags, name = struct.unpack_from("<16s16sQQQ72s", entries, number * size)
        if any(kind):
            found.append(Partition(number + 1, f"{device}{number + 1}", name=name.decode("utf-16-le", "replace").split("\0")[0],
                                   type=str(uuid.UUID(bytes_le=kind)), start=first * _SECTOR, size=(last - first + 1) * _SECTOR))
    return found


def identify(g, partition):
    """Fill in what the file system of a Partition says of itself. Raises RuntimeError."""
    head = b""
    if partition.size >= _SECTOR:
        head = g.pread_device(partition.device, _SECTOR, 0)
    if head[:4] == b"XFSB":   # struct xfs_dsb: sb_uuid at 32, sb_fname at 108
        partition.filesystem, partition.uuid = "xfs", str(uuid.UUID(bytes=head[32:48]))
        partition.label = head[108:120].split(b"\0")[0].decode("utf-8", "replace")
    else:
        try:
            tags = g.blkid(partition.device)
        except RuntimeError:   # nothing that is known
            return
        partition.label, partition.uuid, partition.filesystem = tags.get("LABEL", ""), tags.get("UUID", ""), tags.get("TYPE", "")
        if not partition.size:
            partition.start, partition.size = (int(tags.get("PART_ENTRY_" + key, 0)) * _SECTOR for key in ("OFFSET", "SIZE"))


def _only(found, what):
    if len(found) > 1:
        raise ImageError(f"the image has {len(found)} partitions named {what}", todo="give each its own GPT name",
                         numbers=[partition.number for partition in found])
    return found[0] if found else None


def roles_of(found):
    """Boot, root and EFI among the partitions: by GPT name, else by file system label. Raises ImageError where two have one name."""
    def role(*names):
        return (_only([part for part in found if part.name.lower() in names], names[0])
                or _only([part for part in found if part.label.lower() in names], names[0]))
    return Roles(boot=role("boot"), root=role("root"),
                 efi=role("efi-system") or next((part for part in found if part.type == _EFI_TYPE), None))


def find_roles(g, device):
    """The Roles of one device; what its file systems say is read only where the names of its partitions leave that open. Raises ImageError."""
    try:
        named = roles_of(_table(g, device))
    except RuntimeError as error:
        raise guest_error(error, "reading the partition table") from error
    return named if named.boot and named.root else roles_of(read_partitions(g, device))


def make_mountpoints(g):
    """Once in a launch, before the first mount()."""
    for path in _MOUNTPOINTS:
        g.mkmountpoint(path)


def mount(g, found, readonly=False):
    """Mount what is there of boot, root and EFI (Roles) at BOOT, ROOT and EFI. umount() before the next disk:
    xfs refuses two file systems of one UUID at once."""
    for partition, path in ((found.root, ROOT), (found.boot, BOOT), (found.efi, EFI)):
        if partition:
            try:
                g.mount_options("ro" if readonly else "", partition.device, path)
            except RuntimeError as error:
                raise guest_error(error, f"mounting partition {partition.number} ({partition.name or partition.label})") from error


def umount(g):
    """Unmount whatever mount() has mounted."""
    g.umount_all()
