# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Converting a disk image from one format to another: qemu-img, between checks of what goes in and what comes out. Or packing it into an archive."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import glob
import json
import os
import re
import threading

from ..artifact.source import identity
from ..common import advice
from ..common.background import Background
from ..common.canonical import digest_of, without_defaults
from ..common.errors import ImageError
from ..files import space
from ..files.digests import SPARSE_PREFIX, digest_file, same_content, sha256_file, stat_of, sync_file
from ..platforms.disk_formats import FORMATS
from . import job as wire
from .disk import headers, oci_archive, qemu_img

#: content that takes less than this part of its size is rare even where it compresses well
_BEST_COMPRESSION = 10
_FLUSH_PAUSE = 0.1           # seconds between two flushes while an image is being written
_SYNC_FILE_RANGE_WRITE = 2   # linux/fs.h


READS_ONLY = False   # whether it makes nothing, in any mode


@dataclasses.dataclass
class Recipe:
    """What decides the content of the new image, beside its source."""

    src_format: str
    format: str
    compression: str = "none"  # none, zlib, zstd: of qcow2
    subformat: str = None
    adapter_type: str = None   # of vmdk
    hwversion: int = None      # of vmdk
    metadata: dict = None      # of pca_archive: what image_metadata.json says


@dataclasses.dataclass
class Options:
    src: str
    src_format: str
    name: str                  # of the destination: names of extents are made of it
    format: str
    compression: str = Recipe.compression
    subformat: str = Recipe.subformat
    adapter_type: str = Recipe.adapter_type
    hwversion: int = Recipe.hwversion
    metadata: str = None       # the text of that file
    verify: bool = False       # compare the new image with the source
    existing: str = None       # compare this image with the source, and make nothing
    read_path: str = None         # where to read the source, if not at src (artifact.source.HeldOpen)


def needs_guestfs(_options):
    """Whether the libguestfs binding is used."""
    return False


def inputs(options):
    """The files of the module host that the options name: a list of job.Input."""
    found = [wire.Input(options, "src", options["src_format"])]
    if options.get("existing"):
        found.append(wire.Input(options, "existing"))
    return found


def base_of(_options, _name):
    """The image, as an Input's path, that an artifact differs little from, or None."""
    return None


def run(job, progress):
    """Makes one artifact, "image"; values: source_files [{name, sha256, stat}], warnings.

    With job.check only the source is read and the free space looked at. Raises ImageError.
    """
    options = wire.load_options(Options, job.options)
    # extents lie beside their descriptor
    read_path = options.read_path if not FORMATS[options.src_format].several_files else None
    source = headers.read_header(read_path or options.src, options.src_format, options.src)
    if options.src_format == "vpc":
        source.virtual_size = qemu_img.info(source.path, "vpc", where=source.where)["virtual-size"]
    if options.existing:
        _compare(options.existing, source, options, progress)
        return wire.Result()
    if FORMATS[options.format].packs:
        oci_archive.check_image(source)
    _check_space(source, options, os.path.dirname(job.staging))
    warnings = []
    if source.looks_like:
        warnings.append(f"{options.src} was read as raw, as src_format says, and starts like a {source.looks_like} "
                        "image: the result is a disk whose content is that file")
    # (as it is named, where it is read)
    paths = [(options.src, source.path)]
    paths += [(path, path) for path in (os.path.join(os.path.dirname(options.src), name) for name in source.extents)]
    before = [stat_of(path) for _name, path in paths]
    reading = Background(lambda: [identity(name, sparse=source.full_length, read_path=path) for name, path in paths])
    make = _pack if FORMATS[options.format].packs else _convert
    made = None if job.check else make(source, options, job.staging, progress)
    digests = reading.result()
    if not all(same_content(status, stat_of(path)) for status, (_name, path) in zip(before, paths)):
        raise ImageError("the source image was changed while it was read", source.where,
                         advice.RUN_AGAIN_UNDISTURBED)
    files = [{"name": os.path.basename(name), "sha256": digest, "stat": status}
             for (name, _path), digest, status in zip(paths, digests, before)]
    return wire.Result([made] if made else [],
                       {"source_files": files, "warnings": warnings, "virtual_size": source.virtual_size})


# --- room --------------------------------------------------------------------------------------------


def _check_space(source, options, folder):
    """ImageError where the image will not fit: certainly, or as far as its allocated parts tell."""
    if space.free_space(folder) > source.virtual_size + source.virtual_size // 50 + (64 << 20):
        return   # whatever the content is
    if source.format == "raw" and source.allocated_size >= source.virtual_size // 10 * 9:
        return   # every block is allocated, also those with zeros only, which will take no room
    row = FORMATS[options.format]
    # of raw it tells the full length; tables of other formats take much the same as qcow2's
    needed = source.allocated_size if row.packs else qemu_img.measure(source.path, source.format, "qcow2", where=source.where)[0]
    if options.compression != "none" or row.own_compression(options.subformat):
        needed //= _BEST_COMPRESSION
    space.check_space(folder, needed, f"the {options.format} image")


# --- work --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _flushing(folder):
    """Meanwhile starts writing to the disk what is new in `folder`, so that little is left for the fsync at the end.

    sync_file_range(2) only starts it: an fsync each time would also write the file system's journal.
    """
    end, start_writing = threading.Event(), getattr(ctypes.CDLL(None), "sync_file_range", None)

    def flush():
        while not end.wait(_FLUSH_PAUSE):
            for path in glob.glob(os.path.join(glob.escape(folder), "*")):
                with contextlib.suppress(OSError), open(path, "rb") as file:
                    start_writing(file.fileno(), ctypes.c_int64(0), ctypes.c_int64(0), _SYNC_FILE_RANGE_WRITE)

    thread = threading.Thread(target=flush, daemon=True)
    if start_writing:
        thread.start()
    try:
        yield
    finally:
        end.set()
        if start_writing:
            thread.join()


def _file_name(source, options):
    """The name to convert to. qemu-img derives the names of extents from it, so they must differ from those
    of an older image of the same name, which stay in use until the new descriptor is published."""
    row = FORMATS[options.format]
    if options.subformat not in row.several_files:
        return f"image{row.suffix}"
    stem = re.sub(r"[^A-Za-z0-9._-]", "_", options.name.removesuffix(row.suffix))[:120]
    what = without_defaults(dataclasses.replace(options, verify=False, read_path=None))
    recipe = digest_of([what, stat_of(source.path)])
    return f"{stem}-{recipe[:10]}{row.suffix}"


def _arguments(options):
    """The options of `qemu-img convert` for the target. streamOptimized is compressed one grain after the other whatever the flags."""
    settings = []
    if options.subformat:
        settings.append(f"subformat={options.subformat}")
    if options.format == "vpc":
        settings.append("force_size=on")   # else the size is rounded up to a geometry of 1990
    if options.adapter_type:
        settings.append(f"adapter_type={options.adapter_type}")
    if options.hwversion:
        settings.append(f"hwversion={options.hwversion}")
    return qemu_img.compressed(options.compression) + (["-o", ",".join(settings)] if settings else [])


def _convert(source, options, staging, progress):
    path = os.path.join(staging, _file_name(source, options))
    progress.phase(f"convert to {options.format}", 100, "percent")
    with _flushing(staging):
        qemu_img.convert(source.path, source.format, path, options.format, source.virtual_size, progress, _arguments(options), source.where)
    progress.finish()
    progress.phase("check")
    facts = headers.read_header(path, options.format, options.name)
    files = [path] + [os.path.join(staging, name) for name in facts.extents]
    syncing = Background(lambda: [sync_file(name) for name in files])
    kind = SPARSE_PREFIX if facts.full_length else ""
    hashing = Background(lambda: [digest_file(name, kind) for name in files])
    if facts.virtual_size != source.virtual_size:
        raise ImageError(f"the new image has {facts.virtual_size} bytes for the guest, and the source "
                         f"{source.virtual_size}", options.name, "this is a defect of qemu-img: choose another format or subformat")
    qemu_img.check(path, options.format, where=options.name)
    syncing.result()
    digests = hashing.result()
    if options.verify:
        _compare(path, source, options, progress)
    progress.finish()
    extents = [{"name": os.path.basename(name), "size": os.path.getsize(name), "sha256": digest}
               for name, digest in zip(files[1:], digests[1:])]
    return wire.Artifact("image", path, options.format, os.path.getsize(path), digests[0], facts.virtual_size,
                         facts.extents, {"extents": extents})


def _pack(source, options, staging, progress):
    path = os.path.join(staging, _file_name(source, options))
    progress.phase(f"pack into {options.format}", source.file_size)
    with _flushing(staging):
        digest, size = oci_archive.write(path, options.metadata.encode(), source, progress)
    progress.finish()
    progress.phase("check")
    syncing = Background(lambda: sync_file(path))
    packed = oci_archive.read(path, options.name)
    if (packed.size, packed.metadata) != (source.file_size, json.loads(options.metadata)):
        raise ImageError("the archive does not hold what was packed", options.name, advice.REPORT)
    syncing.result()
    if options.verify:
        _compare(path, source, options, progress)
    progress.finish()
    return wire.Artifact("image", path, options.format, size, digest, source.virtual_size, [], {"extents": []})


# --- proof -------------------------------------------------------------------------------------------


def _compare(path, source, options, progress):
    """ImageError where the image at `path` does not give a guest what the source does; of an archive, where the source is not byte for byte in it."""
    if FORMATS[options.format].packs:
        _compare_packed(path, source, options, progress)
        return
    progress.phase("compare with the source", 100, "percent")
    if options.existing:
        headers.read_header(path, options.format, options.name)
    qemu_img.compare(path, options.format, source.path, source.format, progress, source.virtual_size, options.name)


def _compare_packed(path, source, options, progress):
    hashing = Background(lambda: sha256_file(source.path)[0])
    progress.phase("compare with the source", os.path.getsize(path))
    packed = oci_archive.read(path, options.name, to_the_end=True, progress=progress)
    expected = hashing.result()
    if packed.sha256 != expected:
        raise ImageError("the image in it differs from the one it was made of", options.name, advice.LOOK_FOR_FAULTS,
                         source_sha256=expected, sha256=packed.sha256)
