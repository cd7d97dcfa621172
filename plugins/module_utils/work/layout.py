# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where things are in a boot image: partitions, loader, boot entries, ostree deployments, and safe ways along its paths.

Every function takes a launched libguestfs handle. The image is hostile: sizes and numbers have limits, and paths are
walked one component at a time, so that no symbolic link leads where the booted system would not go.
"""

from __future__ import annotations

import dataclasses
import posixpath
import re
import stat
import struct
import uuid

from ..common.errors import ImageError
from . import bls, ignition
from .appliance import guest_error

#: where open_image() mounts the partitions, in the appliance
BOOT, ROOT, EFI = "/boot", "/root", "/efi"
_MOUNTPOINTS = (BOOT, ROOT, EFI)

_EFI_TYPE = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
_SECTOR = 512
_MAX_PARTITIONS = 128
_MAX_ENTRY = 64 << 10       # bytes of one boot entry; they have less than one KiB
_MAX_ENTRIES = 64
_MAX_FOLDER = 1 << 20       # bytes a folder itself may have: some ten thousand names
_MAX_LINKS = 40             # symbolic links on one way, as Linux has it
_MESSAGE = 2 << 20          # bytes; libguestfs takes less than 4 MiB in one message
_DEPLOYMENT = re.compile(r"/ostree/deploy/([^/]+)/deploy/([0-9a-f]{64})\.(\d+)")


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


# --- single files ------------------------------------------------------------------------------------


def lstat(g, path):
    """lstat of a path whose folders are no symbolic links, or None where there is nothing."""
    try:
        return g.lstatns(path)
    except RuntimeError as error:
        # the binding gives no errno
        if str(error).endswith(("No such file or directory", "Not a directory")):
            return None
        raise guest_error(error, "reading the image", path) from error


def _kind(status, test):
    return status is not None and test(status["st_mode"])


def is_folder(status):
    return _kind(status, stat.S_ISDIR)


def is_link(status):
    return _kind(status, stat.S_ISLNK)


def is_file(status):
    return _kind(status, stat.S_ISREG)


def read_small(g, path, limit, what):
    """The bytes of a regular file that may have `limit` of them. Raises ImageError for anything else."""
    status = lstat(g, path)
    if not is_file(status):
        raise ImageError(f"{what} is {'missing' if status is None else 'not a regular file'}", path)
    if status["st_size"] > limit:
        raise ImageError(f"{what} has {status['st_size']} bytes, and at most {limit} are accepted", path,
                         "the image is damaged or made to do harm: do not use it", size=status["st_size"], limit=limit)
    try:
        return read_range(g, path, 0, status["st_size"])
    except RuntimeError as error:
        raise guest_error(error, f"reading {what}", path) from error


def read_range(g, path, offset, count):
    """`count` bytes of a file, in messages that the protocol takes (read_file() costs far more). Raises RuntimeError."""
    pieces = []
    while count > 0:
        piece = g.pread(path, min(count, _MESSAGE), offset)
        if not piece:
            break
        pieces.append(piece)
        offset, count = offset + len(piece), count - len(piece)
    return b"".join(pieces)


def names(g, path):
    """The sorted names in a folder. Raises ImageError where there are absurdly many."""
    status = lstat(g, path)
    if not is_folder(status):
        raise ImageError("there is no such folder in the image", path)
    if status["st_size"] > _MAX_FOLDER:
        raise ImageError("the folder holds too many files", path, "the image is damaged or made to do harm: do not use it")
    try:
        return sorted(g.ls(path))
    except RuntimeError as error:
        raise guest_error(error, "listing a folder of the image", path) from error


# --- paths as the booted system has them --------------------------------------------------------------


class View:
    """The files of an image at the paths they have in the booted system.

    mounts: {path in the booted system: path in the appliance}, with "/" in it. Links are followed as the
    booted system would follow them; `..` does not lead above its root.
    """

    def __init__(self, g, mounts):
        self._g = g
        self._mounts = sorted(mounts.items(), key=lambda item: len(item[0]), reverse=True)
        self._known = {}

    def real(self, path):
        """Where an absolute path without links is in the appliance."""
        for prefix, base in self._mounts:
            if prefix == "/" or path == prefix or path.startswith(prefix + "/"):
                return posixpath.normpath(base + "/" + (path if prefix == "/" else path[len(prefix):]))
        raise ImageError("this path is in no file system of the image", path)

    def lstat(self, path):
        if path not in self._known:
            self._known[path] = lstat(self._g, self.real(path))
        return self._known[path]

    def forget(self):
        """Something was written: what is known of the paths may be wrong now."""
        self._known.clear()

    def resolve(self, path, follow=True):
        """The path with all symbolic links resolved, but for the last component's where not `follow`.

        What does not exist (yet) is kept as it is written. Raises ImageError for loops and for a file where a folder must be.
        """
        todo = [part for part in path.split("/") if part not in ("", ".")][::-1]
        done, links = [], 0
        while todo:
            part = todo.pop()
            if part == "..":
                if done:
                    done.pop()
                continue
            here = "/" + "/".join([*done, part])
            status = self.lstat(here)
            if is_link(status) and (todo or follow):
                links += 1
                if links > _MAX_LINKS:
                    raise ImageError("too many symbolic links, or a loop of them, in the image", path)
                target = self._readlink(here)
                if target.startswith("/"):
                    done = []
                todo += [piece for piece in target.split("/") if piece not in ("", ".")][::-1]
                continue
            if todo and status is not None and not is_folder(status):
                raise ImageError("a file is in the way where a folder should be", here)
            done.append(part)
        return "/" + "/".join(done)

    def _readlink(self, path):
        try:
            return self._g.readlink(self.real(path))
        except RuntimeError as error:
            raise guest_error(error, "reading a symbolic link of the image", path) from error


# --- loader and boot entries --------------------------------------------------------------------------


@dataclasses.dataclass
class Deployment:
    """An ostree deployment."""

    osname: str
    commit: str
    serial: int

    @property
    def path(self):
        """From the top of the root partition, without a leading slash."""
        return f"ostree/deploy/{self.osname}/deploy/{self.commit}.{self.serial}"

    @property
    def var(self):
        """What the booted system has at /var: it belongs to the state root, not to the deployment."""
        return f"ostree/deploy/{self.osname}/var"


@dataclasses.dataclass
class BootEntry:
    name: str               # file name: ostree-1-ock.conf
    path: str               # in the appliance
    entry: bls.Entry
    deployment: object = None   # Deployment, or None where its `ostree=` names none


def loader_folder(g):
    """The folder of the boot loader's entries in the boot partition: loader.0 or loader.1, which the link `loader` names;
    `loader` where that is a folder (no ostree); None where there is nothing. Raises ImageError for another link."""
    status = lstat(g, BOOT + "/loader")
    if is_link(status):
        try:
            target = g.readlink(BOOT + "/loader")
        except RuntimeError as error:
            raise guest_error(error, "reading the link `loader`", "/boot/loader") from error
        if target.rstrip("/") not in ("loader.0", "loader.1"):
            raise ImageError(f"the link leads to {target[:100]!r}, not to loader.0 or loader.1", "/boot/loader",
                             "the image is damaged or made to do harm: do not use it")
        return target.rstrip("/")
    return "loader" if is_folder(status) else None


def _rank(name, entry):
    """Boot loaders take the highest version first, then the highest name."""
    def natural(text):
        return [(int(digits), "") if digits else (-1, other) for digits, other in re.findall(r"(\d+)|(\D+)", text)]
    return natural(entry.get("version") or ""), natural(name)


def boot_entries(g, folder):
    """The boot entries below `folder` (see loader_folder()), the default one first. Raises ImageError."""
    path = f"{BOOT}/{folder}/entries"
    if not is_folder(lstat(g, f"{BOOT}/{folder}")) or not is_folder(lstat(g, path)):
        return []
    found = [name for name in names(g, path) if name.endswith(".conf") and not name.startswith(".")]
    if len(found) > _MAX_ENTRIES:
        raise ImageError(f"there are {len(found)} boot entries, and at most {_MAX_ENTRIES} are accepted", path,
                         "the image is damaged or made to do harm: do not use it")
    entries = []
    for name in found:
        # what is not UTF-8 comes back unchanged when it is written
        text = read_small(g, f"{path}/{name}", _MAX_ENTRY, "the boot entry").decode("utf-8", "surrogateescape")
        entries.append(BootEntry(name, f"{path}/{name}", bls.Entry(text)))
    return sorted(entries, key=lambda item: _rank(item.name, item.entry), reverse=True)


def deployment_of(g, entry):
    """The deployment that the `ostree=` of a bls.Entry leads to; None where it has none. Raises ImageError where it leads elsewhere."""
    paths = bls.values(entry.arguments, "ostree")
    if not paths or not paths[-1]:
        return None
    real = View(g, {"/": ROOT}).resolve(paths[-1])
    match = _DEPLOYMENT.fullmatch(real)
    if not match or not is_folder(lstat(g, ROOT + real)):
        raise ImageError(f"the boot entry's ostree= leads to {real[:200]!r}, which is no ostree deployment", paths[-1][:200],
                         "the image is damaged or made to do harm: do not use it")
    return Deployment(match.group(1), match.group(2), int(match.group(3)))


def all_deployments(g):
    """Every deployment in the root partition, booting or not."""
    found, view = [], View(g, {"/": ROOT})
    if not is_folder(view.lstat("/ostree")) or not is_folder(view.lstat("/ostree/deploy")):
        return []
    for osname in names(g, ROOT + "/ostree/deploy"):
        folder = f"/ostree/deploy/{osname}/deploy"
        if is_folder(view.lstat(posixpath.dirname(folder))) and is_folder(view.lstat(folder)):
            for name in names(g, ROOT + folder):
                match = _DEPLOYMENT.fullmatch(f"{folder}/{name}")
                if match and is_folder(view.lstat(f"{folder}/{name}")):
                    found.append(Deployment(match.group(1), match.group(2), int(match.group(3))))
    return found


def booted_view(g, deployment, found):
    """The View that the booted deployment has of the mounted image. found: Roles."""
    mounts = {"/": f"{ROOT}/{deployment.path}", "/var": f"{ROOT}/{deployment.var}", "/sysroot": ROOT}
    if found.boot:
        mounts["/boot"] = BOOT
    if found.efi:
        mounts["/boot/efi"] = EFI
    return View(g, mounts)


def embedded(g, path, size):
    """(where it begins, configuration) of the user.ign embedded last in an initramfs of `size` bytes, or None. Reads its end only."""
    count = min(size, ignition.TRAILER)
    tail = read_range(g, path, size - count, count)
    for window in ignition.windows(tail, size):
        data = tail[-window:] if window <= count else read_range(g, path, size - window, window)
        found = ignition.find(data, size)
        if found:
            return found
    return None
