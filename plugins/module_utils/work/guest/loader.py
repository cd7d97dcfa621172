# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What boots: the loader's folder, its boot entries, the ostree deployments that they name. Every function takes a launched libguestfs handle."""

from __future__ import annotations

import dataclasses
import posixpath
import re

from ...common import advice
from ...common.errors import ImageError
from . import bls, ignition
from .appliance import guest_error
from .partitions import BOOT, EFI, ROOT
from .view import View, is_folder, is_link, lstat, names, read_range, read_small

_MAX_ENTRY = 64 << 10       # bytes of one boot entry; they have less than one KiB
_MAX_ENTRIES = 64
_DEPLOYMENT = re.compile(r"/ostree/deploy/([^/]+)/deploy/([0-9a-f]{64})\.(\d+)")


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
                             advice.HARMFUL)
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
                         advice.HARMFUL)
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
                         advice.HARMFUL)
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
