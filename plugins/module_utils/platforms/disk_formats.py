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

    @property
    def default_subformat(self):
        return self.subformats[0] if self.subformats else None


#: name as qemu-img has it -> its row. vpc is what users know as VHD
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
}


def _all(field):
    return tuple(dict.fromkeys(value for row in FORMATS.values() for value in getattr(row, field)))


#: of all formats, each once
SUFFIXES = tuple(row.suffix for row in FORMATS.values())
SUBFORMATS, ADAPTERS, COMPRESSIONS = _all("subformats"), _all("adapters"), _all("compressions")


def checked(name, subformat=None, where=None):
    """The DiskFormat of a name. Raises ImageError where there is none, or the subformat is not one of its own."""
    if name not in FORMATS:
        raise ImageError(f"there is no disk format {name!r}", where, f"use one of {', '.join(FORMATS)}")
    row = FORMATS[name]
    if subformat and subformat not in row.subformats:
        raise ImageError(f"subformat {subformat} does not go with format {name}", where,
                         f"use one of {', '.join(row.subformats)}" if row.subformats else "leave subformat out")
    return row
