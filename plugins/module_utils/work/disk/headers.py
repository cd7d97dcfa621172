# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Disk image formats: what a header says, and what is refused before a tool opens a file.

read_header() reads the headers itself, because a tool that opens an image also opens what the image
names. Layouts are from QEMU's docs/interop/qcow2.txt and block/{vmdk,vdi,vhdx,vpc}.c, and from Microsoft's [MS-VHDX].
"""

from __future__ import annotations

import dataclasses
import os
import re
import stat
import struct
import uuid

from ...common import advice
from ...common.errors import ImageError, from_os_error
from ...platforms.disk_formats import IMAGES

#: bytes a guest may see: more than any boot image has, less than what makes tables or loops absurd
MAX_VIRTUAL_SIZE = 16 << 40
#: bytes at the start of a qcow2 that hold all that its header says: the largest cluster that there is
START = 2 << 20
_SECTOR = 512
_DESCRIPTOR_SIZE = 20 * _SECTOR       # bytes of an embedded vmdk descriptor that qemu looks at
_MAX_DESCRIPTOR_FILE = 1 << 20        # bytes of a descriptor file; qemu's own limit is 64 KiB after the magic
_MAX_EXTENTS = 16384


@dataclasses.dataclass
class Header:
    """What the header of an image says, checked. Sizes are in bytes."""

    path: str                        # where it is read
    format: str
    virtual_size: int                # vpc: as the footer has it; QEMU takes older ones' geometry instead, so ask info()
    file_size: int                   # of all its files together
    allocated_size: int              # on the disk, of all its files together: sparse parts do not count
    subformat: str = None            # vmdk's createType; dynamic or fixed (vdi, vhdx, vpc)
    cluster_size: int = None
    compression_type: str = None     # what compressed clusters would use (qcow2), zlib or zstd; there need not be any
    version: int = None              # of qcow2
    snapshots: int = 0               # internal ones (qcow2)
    backing_file: str = None         # only with allow_backing (qcow2)
    dirty: bool = False              # not closed cleanly, its reference counts may be stale (qcow2)
    full_length: bool = False        # as long as the disk itself, mostly holes: raw, flat, fixed
    looks_like: str = None           # the format that the magic of a "raw" image belongs to
    extents: list = dataclasses.field(default_factory=list)   # names of further files, beside `path` (vmdk)
    where: str = None                # its name for the reader of a message


class _Bytes:
    """Exact reads of an image. where: its name for the reader of a message; size: bytes that it has."""

    where, size = None, 0

    def up_to(self, offset, length):
        """At most `length` bytes: fewer where the image, or what is at hand of it, ends."""
        raise NotImplementedError

    def refusal(self, what, todo=advice.UNTRUSTED, **details):
        return ImageError(what, self.where, todo, **details)

    def at(self, offset, length, what):
        data = self.up_to(offset, length)
        if len(data) < length:
            raise self.refusal(f"the image is cut off inside its {what}", advice.COPY_AGAIN)
        return data

    def sane_size(self, virtual_size):
        if not 0 < virtual_size <= MAX_VIRTUAL_SIZE:
            raise self.refusal(f"its virtual size of {virtual_size} bytes is absurd (the limit is {MAX_VIRTUAL_SIZE})",
                               virtual_size=virtual_size, limit=MAX_VIRTUAL_SIZE)


class Reader(_Bytes):
    """Exact reads from one regular file, which it holds open; used as a context. Raises ImageError."""

    def __init__(self, path, where=None):
        self.where = where or path
        try:
            # a FIFO or a device must neither block nor be read
            self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise from_os_error(error, "reading the image", self.where) from error
        self.status = os.fstat(self._fd)
        if not stat.S_ISREG(self.status.st_mode):
            os.close(self._fd)
            raise self.refusal("it is not a regular file", "name the image file itself")
        self.size = self.status.st_size

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        os.close(self._fd)

    def up_to(self, offset, length):
        if offset >= self.size:
            return b""
        try:
            return os.pread(self._fd, length, offset)
        except OSError as error:
            raise from_os_error(error, "reading the image", self.where) from error


class _Start(_Bytes):
    """The same of an image of `size` bytes of which only the start is at hand."""

    def __init__(self, data, size, where):
        self._data, self.size, self.where = data, size, where

    def up_to(self, offset, length):
        return bytes(self._data[offset:offset + length])


def recognise(reader):
    """The format that the magic numbers of a file belong to, or None (raw, or something unknown)."""
    head = reader.up_to(0, _SECTOR)
    if head[:4] == b"QFI\xfb":
        return "qcow2"
    if head[:4] in (b"KDMV", b"COWD") or re.match(rb"\s*(#[^\n]*\n\s*)*#\s*Disk DescriptorFile", head, re.IGNORECASE):
        return "vmdk"
    if head[64:68] == b"\x7f\x10\xda\xbe":
        return "vdi"
    if head[:8] == b"vhdxfile":
        return "vhdx"
    if head[:8] == b"conectix" or (reader.size >= _SECTOR and reader.up_to(reader.size - _SECTOR, 8) == b"conectix"):
        return "vpc"
    return None


def read_header(path, format, where=None, allow_backing=False):
    """Header of a foreign image of a stated format; ImageError where it is refused.

    Refused are: another format than stated, a cut-off header, a size or table beyond MAX_VIRTUAL_SIZE or QEMU's own
    limits, all that makes a reader open another file than the image itself (backing file, data file, parent, extents
    elsewhere), encryption, and a qcow2 marked as corrupt.
    where: the name for the reader of a message (default: path). allow_backing: of a qcow2 with a backing file only
    tell its name; such a one must not be opened with its backing chain.
    """
    if format not in IMAGES:
        raise ImageError(f"unknown image format {format}", where or path, f"use one of {', '.join(IMAGES)}")
    if not os.path.isabs(path):
        raise ImageError("the path of an image must be absolute here", path)
    with Reader(path, where) as reader:
        return _checked(reader, Header(path, format, 0, reader.size, reader.status.st_blocks * 512, where=reader.where), allow_backing)


def read_start(data, size, where):
    """Header of a qcow2 image of `size` bytes that is nowhere a file, as read_header() does: out of an archive.

    data: its first START bytes, or all where it has fewer. Path and where of the header are `where`.
    """
    return _checked(_Start(data, size, where), Header(where, "qcow2", 0, size, size, where=where))


def _checked(reader, facts, allow_backing=False):
    """The Header `facts`, filled in."""
    format, seen = facts.format, recognise(reader)
    if format != "raw" and seen != format:
        raise reader.refusal(f"it is not a {format} image" + (f", it looks like {seen}" if seen else ""),
                             f"state its format ({seen}) in the task" if seen
                             else "check the path and the format stated in the task",
                             stated=format, looks_like=seen)
    _READERS[format](reader, facts)
    if facts.backing_file and not allow_backing:
        raise reader.refusal("it has a backing file, so it is not a whole image",
                             "give the base image itself, or flatten it first (qemu-img convert)")
    facts.full_length |= format == "raw" or facts.subformat == "fixed"
    if format == "raw":
        facts.looks_like = seen
    reader.sane_size(facts.virtual_size)
    return facts


# --- qcow2 -------------------------------------------------------------------------------------------

_INCOMPATIBLE_DIRTY, _INCOMPATIBLE_CORRUPT, _INCOMPATIBLE_DATA_FILE = 1 << 0, 1 << 1, 1 << 2
_INCOMPATIBLE_COMPRESSION, _INCOMPATIBLE_EXTENDED_L2 = 1 << 3, 1 << 4
_KNOWN_INCOMPATIBLE = 0x1f
_MAX_L1, _MAX_REFCOUNT_TABLE, _MAX_SNAPSHOTS = 32 << 20, 8 << 20, 65536   # QEMU's block/qcow2.h; bytes, bytes, count


def _qcow2(reader, facts):
    head = reader.at(0, 72, "header")
    (_magic, version, backing_offset, backing_size, cluster_bits, size, encryption, l1_size, l1_offset,
     refcount_offset, refcount_clusters, snapshots, snapshots_offset) = struct.unpack(">4sIQIIQIIQQIIQ", head)
    if version not in (2, 3):
        raise reader.refusal(f"its qcow2 version {version} is unknown",
                             "convert it with the qemu-img that made it (-o compat=1.1)")
    incompatible, refcount_order, header_length, compression = 0, 4, 72, 0
    if version == 3:
        incompatible, _compatible, _autoclear, refcount_order, header_length = struct.unpack(
            ">QQQII", reader.at(72, 32, "header"))
    facts.version, facts.virtual_size, facts.snapshots = version, size, snapshots
    facts.dirty = bool(incompatible & _INCOMPATIBLE_DIRTY)
    if backing_offset or backing_size:
        facts.backing_file = reader.up_to(backing_offset, min(backing_size, 1023)).decode("utf-8", "replace") or "?"
    if incompatible & _INCOMPATIBLE_DATA_FILE:
        raise reader.refusal("its content is in an external data file", advice.FLATTEN)
    if encryption:
        raise reader.refusal("it is encrypted", "decrypt it first")
    if incompatible & _INCOMPATIBLE_CORRUPT:
        raise reader.refusal("it is marked as corrupt",
                             "copy or pull it again, or repair it (qemu-img check -r all)")
    if incompatible & ~_KNOWN_INCOMPATIBLE:
        unknown = incompatible & ~_KNOWN_INCOMPATIBLE
        raise reader.refusal(f"it uses unknown features of qcow2 (incompatible bits {unknown:#x})",
                             "convert it with the qemu-img that made it")
    if not 9 <= cluster_bits <= 21:
        raise reader.refusal(f"its cluster size is absurd (2^{cluster_bits} bytes)")
    reader.sane_size(size)
    facts.cluster_size = cluster = 1 << cluster_bits
    if version == 3:
        if not 104 <= header_length <= cluster or header_length % 8 or refcount_order > 6:
            raise reader.refusal("its qcow2 header is malformed")
        compression = reader.at(104, 1, "header")[0] if header_length > 104 else 0
    if compression > 1 or bool(incompatible & _INCOMPATIBLE_COMPRESSION) != bool(compression):
        raise reader.refusal(f"its compression type {compression} is unknown",
                             "convert it with the qemu-img that made it")
    facts.compression_type = "zstd" if compression else "zlib"
    # an L2 table is one cluster; its entries are twice as large with extended_l2
    per_l1_entry = cluster // (16 if incompatible & _INCOMPATIBLE_EXTENDED_L2 else 8) * cluster
    if l1_size * 8 > _MAX_L1 or l1_size * per_l1_entry < size:
        raise reader.refusal(f"the size of its L1 table is absurd ({l1_size} entries for {size} bytes)")
    if refcount_clusters * cluster > _MAX_REFCOUNT_TABLE or snapshots > _MAX_SNAPSHOTS:
        raise reader.refusal("its tables are absurdly large")
    for name, offset in (("L1", l1_offset), ("refcount", refcount_offset),
                         ("snapshot", snapshots_offset if snapshots else cluster)):
        if offset % cluster or offset == 0 or (offset >= reader.size and offset != cluster):
            raise reader.refusal(f"its {name} table is not inside the file", advice.COPY_AGAIN)
    offset = header_length
    while offset + 8 <= cluster:
        data = reader.up_to(offset, 8)
        kind, length = struct.unpack(">II", data) if len(data) == 8 else (0, 0)
        if kind == 0:
            break
        if length > cluster - offset - 8:
            raise reader.refusal("a header extension reaches beyond the header's cluster")
        offset += 8 + (length + 7) // 8 * 8


# --- vmdk --------------------------------------------------------------------------------------------

_EXTENT = re.compile(r'^\s*(RW|RDONLY|NOACCESS)\s+(-?\d+)\s+(\S+)(?:\s+"([^"\r\n]*)")?')
_SIMPLE_NAME = re.compile(r"^[^/\\:\x00-\x1f]+$")


def _vmdk_sparse(reader, what="header"):
    """(capacity in bytes, descriptor's text or "", grain size) of a KDMV file; the header in its footer counts if any."""
    layout = "<4sIIQQQQIQQQ"
    head = struct.unpack(layout, reader.at(0, struct.calcsize(layout), what))
    descriptor = reader.up_to(_SECTOR, _DESCRIPTOR_SIZE)   # where qemu looks for a parent, whatever the header says
    if head[5] and head[5] != 1:
        descriptor += b"\n" + reader.up_to(head[5] * _SECTOR, min(head[6] * _SECTOR, _MAX_DESCRIPTOR_FILE))
    if head[9] == 0xffffffffffffffff:
        # streamOptimized: the last three sectors are a marker, the true header and the end
        head = struct.unpack(layout, reader.at(max(0, reader.size - 2 * _SECTOR), struct.calcsize(layout), "footer"))
        if head[0] != b"KDMV":
            raise reader.refusal("its footer is missing", advice.COPY_AGAIN)
    if head[3] > MAX_VIRTUAL_SIZE // _SECTOR:
        reader.sane_size(head[3] * _SECTOR)
    if not 1 <= head[4] <= 0x200000 or not 1 <= head[7] <= 512:
        raise reader.refusal("the size of its grains or tables is absurd")
    return head[3] * _SECTOR, descriptor.decode("latin-1"), head[4] * _SECTOR


def _vmdk_descriptor(reader, facts, text):
    """Checks the extents of a descriptor and adds them up."""
    folder, sectors = os.path.dirname(facts.path), 0
    for line in text.splitlines():
        found = _EXTENT.match(line)
        if not found:
            if re.match(r"\s*(RW|RDONLY|NOACCESS)\s", line):
                raise reader.refusal("a line of its descriptor is malformed", line=line[:200])
            continue
        access, count, kind, name = found.groups()
        sectors += int(count)
        if int(count) < 0 or sectors > MAX_VIRTUAL_SIZE // _SECTOR:
            raise reader.refusal("the size of its extents is absurd", extent_sectors=int(count))
        if access != "RW" or kind not in ("FLAT", "SPARSE", "VMFS"):
            raise reader.refusal(f"it has an extent of an unsupported kind ({access} {kind[:20]})",
                                 advice.CONVERT_ELSEWHERE)
        if not name or not _SIMPLE_NAME.match(name) or name in (".", ".."):
            raise reader.refusal(f"its descriptor names an extent that is not a file beside it: {name!r}")
        # qemu reads names as bytes, and so do we
        name = name.encode("latin-1").decode("utf-8", "surrogateescape")
        path = os.path.join(folder, name)
        if name == os.path.basename(facts.path) or name in facts.extents or os.path.islink(path):
            raise reader.refusal(f"its extent {name!r} is a link, named twice, or the descriptor itself")
        facts.extents.append(name)
        if len(facts.extents) > _MAX_EXTENTS:
            raise reader.refusal("it has too many extents")
        with Reader(path, f"{reader.where}, extent {name}") as extent:
            facts.file_size += extent.size
            facts.allocated_size += extent.status.st_blocks * 512
            facts.full_length |= kind != "SPARSE"
            if kind == "SPARSE":
                if extent.up_to(0, 4) != b"KDMV":
                    raise extent.refusal("it is not a sparse vmdk extent")
                capacity, inner, facts.cluster_size = _vmdk_sparse(extent)
                # a capacity of 0 would make qemu follow a descriptor in there
                if not capacity or "parentFileNameHint" in inner:
                    raise extent.refusal("the extent refers to further files")
    facts.virtual_size = sectors * _SECTOR


def _vmdk(reader, facts):
    magic = reader.up_to(0, 4)
    if magic == b"COWD":
        raise reader.refusal("it is an old COWD image", advice.CONVERT_ELSEWHERE)
    if magic == b"KDMV":
        facts.virtual_size, text, facts.cluster_size = _vmdk_sparse(reader)
        if not facts.virtual_size:
            raise reader.refusal("its header has no capacity")
    else:
        if reader.size > _MAX_DESCRIPTOR_FILE:
            raise reader.refusal("its descriptor is absurdly large")
        text = reader.up_to(0, _MAX_DESCRIPTOR_FILE).decode("latin-1")
        _vmdk_descriptor(reader, facts, text)
    if "parentFileNameHint" in text:
        raise reader.refusal("it has a parent image, so it is not a whole image", advice.FLATTEN)
    kind = re.search(r'^createType="([A-Za-z0-9]+)"', text, re.MULTILINE)
    facts.subformat = kind and kind.group(1)


# --- vdi, vhdx, vpc, raw -------------------------------------------------------------------------------

def _vdi(reader, facts):
    head = reader.at(0, 512, "header")
    version, kind = struct.unpack_from("<I4xI", head, 68)
    size, block, _extra, blocks, allocated = struct.unpack_from("<QIIII", head, 368)
    if version != 0x10001:
        raise reader.refusal(f"its vdi version {version:#x} is unknown", advice.CONVERT_ELSEWHERE)
    if kind not in (1, 2) or any(head[424:456]):
        raise reader.refusal("it is a difference to another image, not a whole one", "flatten it first")
    reader.sane_size(size)
    if block != 1 << 20 or blocks * block < size or allocated > blocks:
        raise reader.refusal("the size of its blocks is absurd")
    facts.virtual_size, facts.cluster_size, facts.subformat = size, block, {1: "dynamic", 2: "fixed"}[kind]


_VHDX_METADATA = uuid.UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e").bytes_le
_VHDX_PARAMETERS = uuid.UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b").bytes_le
_VHDX_SIZE = uuid.UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8").bytes_le
_VHDX_REGIONS = 192 << 10   # offset of the region table, bytes


def _vhdx(reader, facts):
    signature, count = struct.unpack("<4s4xI", reader.at(_VHDX_REGIONS, 12, "region table"))
    if signature != b"regi" or count > 2047:
        raise reader.refusal("its region table is malformed", advice.COPY_AGAIN)
    entries = reader.at(_VHDX_REGIONS + 16, 32 * count, "region table")
    base = next((struct.unpack_from("<Q", entries, n * 32 + 16)[0] for n in range(count)
                 if entries[n * 32:n * 32 + 16] == _VHDX_METADATA), None)
    if base is None:
        raise reader.refusal("it has no metadata", advice.COPY_AGAIN)
    signature, count = struct.unpack("<8s2xH", reader.at(base, 12, "metadata"))
    if signature != b"metadata" or count > 2047:
        raise reader.refusal("its metadata is malformed", advice.COPY_AGAIN)
    entries, items = reader.at(base + 32, 32 * count, "metadata"), {}
    for number in range(count):
        offset, = struct.unpack_from("<I", entries, number * 32 + 16)
        items[entries[number * 32:number * 32 + 16]] = base + offset
    if _VHDX_PARAMETERS not in items or _VHDX_SIZE not in items:
        raise reader.refusal("its metadata is incomplete", advice.COPY_AGAIN)
    block, bits = struct.unpack("<II", reader.at(items[_VHDX_PARAMETERS], 8, "metadata"))
    facts.virtual_size, = struct.unpack("<Q", reader.at(items[_VHDX_SIZE], 8, "metadata"))
    if bits & 2:
        raise reader.refusal("it is a difference to another image, not a whole one", "flatten it first")
    if not 1 << 20 <= block <= 256 << 20:
        raise reader.refusal("the size of its blocks is absurd")
    facts.cluster_size, facts.subformat = block, "fixed" if bits & 1 else "dynamic"


def _vpc(reader, facts):
    at_start = reader.up_to(0, 8) == b"conectix"
    footer = reader.at(0 if at_start else reader.size - _SECTOR, _SECTOR, "footer")
    header_offset, = struct.unpack_from(">Q", footer, 16)
    size, _geometry, kind = struct.unpack_from(">QII", footer, 48)
    if kind not in (2, 3):
        raise reader.refusal("it is a difference to another image, not a whole one", "flatten it first", disk_type=kind)
    if kind == 3:
        header = reader.at(header_offset, 1024, "dynamic disk header")
        block, = struct.unpack_from(">I", header, 32)
        if header[:8] != b"cxsparse" or any(header[40:56]):
            raise reader.refusal("its dynamic disk header is malformed or names a parent",
                                 "flatten it first, or copy it again")
        if block < _SECTOR or block & (block - 1) or block > 256 << 20:
            raise reader.refusal("the size of its blocks is absurd")
        facts.cluster_size = block
    facts.virtual_size, facts.subformat = size, {2: "fixed", 3: "dynamic"}[kind]


def _raw(reader, facts):
    facts.virtual_size = (reader.size + _SECTOR - 1) // _SECTOR * _SECTOR
    if not reader.size:
        raise reader.refusal("it is empty", "check the path")


_READERS = {"qcow2": _qcow2, "raw": _raw, "vmdk": _vmdk, "vdi": _vdi, "vhdx": _vhdx, "vpc": _vpc}
