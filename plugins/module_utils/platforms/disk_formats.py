# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Disk formats: what each may be asked for, as data. Adding a format is adding a row here, and a reader of its header in work/disk/headers.py."""

from __future__ import annotations

import dataclasses

from ..common.errors import ImageError


@dataclasses.dataclass(frozen=True)
class DiskFormat:
    """What can be asked for when an image of this format is made."""

    suffix: str                    # of a file name
    subformats: tuple = ()         # the default first
    several_files: tuple = ()      # of these: a descriptor, and further files beside it
    self_compressed: tuple = ()    # of these: compressed, with zlib, whatever is asked for
    compressions: tuple = ()
    adapters: tuple = ()           # disk controllers
    default_adapter: str = None
    hwversion: bool = False        # a version of the virtual hardware
    packs: str = None              # of an archive: the format of the image in it, which no tool opens there. It is only written

    @property
    def default_subformat(self):
        return self.subformats[0] if self.subformats else None

    def own_compression(self, subformat):
        """How it is compressed whatever is asked for, or None."""
        return "gzip" if self.packs else "zlib" if subformat in self.self_compressed else None


#: name as qemu-img has it, but of archives -> its row. vpc is what users know as VHD
FORMATS = {
    "qcow2": DiskFormat(".qcow2", compressions=("zlib", "zstd")),
    "raw": DiskFormat(".raw"),
    "vmdk": DiskFormat(
        ".vmdk",
        subformats=("monolithicSparse", "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat", "streamOptimized"),
        several_files=("monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat"),
        self_compressed=("streamOptimized",),
        adapters=("ide", "buslogic", "lsilogic", "legacyESX"), default_adapter="lsilogic",
        hwversion=True),
    "vdi": DiskFormat(".vdi"),
    "vhdx": DiskFormat(".vhdx", subformats=("dynamic", "fixed")),
    "vpc": DiskFormat(".vhd", subformats=("dynamic", "fixed")),
    # what Oracle's cloud exports and imports, and the only one that a Private Cloud Appliance takes with firmware and shapes
    "pca_archive": DiskFormat(".oci", packs="qcow2"),
}
#: those that can be sources of work and disks of platforms
IMAGES = {name: row for name, row in FORMATS.items() if not row.packs}


def _all(field):
    return tuple(dict.fromkeys(value for row in FORMATS.values() for value in getattr(row, field)))


#: of all images, each once
SUFFIXES = tuple(row.suffix for row in IMAGES.values())
#: of all formats, each once
SUBFORMATS, ADAPTERS, COMPRESSIONS = _all("subformats"), _all("adapters"), _all("compressions")


def checked(name, subformat=None, where=None, among=IMAGES):
    """The DiskFormat of a name. Raises ImageError where it is not `among` those that will do, or the subformat is not one of its own."""
    if name not in among:
        raise ImageError(f"there is no disk format {name!r}", where, f"use one of {', '.join(among)}")
    row = among[name]
    if subformat and subformat not in row.subformats:
        raise ImageError(f"subformat {subformat} does not go with format {name}", where,
                         f"use one of {', '.join(row.subformats)}" if row.subformats else "leave subformat out")
    return row
