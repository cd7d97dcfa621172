# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is in an image: its format, partitions, boot entries, ostree deployment and files. Nothing is written to it.

The appliance gets a throw-away overlay whose backing file is opened without locks, so that a virtual machine
can run on the image before, meanwhile and afterwards, and a journal can be replayed in the overlay.
"""

from __future__ import annotations

import base64
import dataclasses
import fcntl
import os
import re
import stat
import struct

from ..common.errors import ImageError
from . import job as wire
from .disk import headers, qemu_img
from .guest import bls, loader, partitions
from .guest.appliance import Disk, appliance, guest_error
from .guest.view import View, is_file, lstat, names, read_range, read_small

_MAX_MEMBERS = 1000          # names of a folder that are told
_MAX_SMALL = 256 << 10       # bytes of fstab, os-release and the like
_TYPES = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link", stat.S_IFCHR: "character device",
          stat.S_IFBLK: "block device", stat.S_IFIFO: "fifo", stat.S_IFSOCK: "socket"}


#: raised when what is told of an image, or its meaning, changes
VERSION = 1


READS_ONLY = True   # whether it makes nothing, in any mode


@dataclasses.dataclass
class Options:
    src: str
    src_format: str
    contents: bool = True
    check: bool = False
    files: list = dataclasses.field(default_factory=list)   # paths to describe, as the booted system has them
    read: list = dataclasses.field(default_factory=list)    # paths to read
    max_read_size: int = 1 << 20                            # bytes of each
    read_path: str = None                                      # where to read the image, if not at src


def needs_guestfs(options):
    """Whether the libguestfs binding is used."""
    return bool(options.get("contents", True) or options.get("files") or options.get("read"))


def inputs(options):
    """The files of the module host that the options name: a list of job.Input."""
    return [wire.Input(options, "src", options["src_format"])]


def base_of(_options, _name):
    """The image, as an Input's path, that an artifact differs little from, or None."""
    return None


def run(job, progress):
    """values: what the module returns. Raises ImageError."""
    options = wire.load_options(Options, job.options)
    inside = options.contents or options.files or options.read
    facts = headers.read_header(options.read_path or options.src, options.src_format, options.src, allow_backing=not inside)
    values = _format(facts)
    values["in_use"] = in_use([facts.path, *(os.path.join(os.path.dirname(facts.path), name) for name in facts.extents)])
    values["warnings"] = warnings = []
    if facts.looks_like:
        warnings.append(f"it was read as raw, as src_format says, and starts like a {facts.looks_like} image")
    if options.check:
        values["integrity"] = _integrity(facts, values["in_use"], progress)
    if inside:
        if values["in_use"]:
            warnings.append("another process has it open for writing, so what is told of its contents may be of "
                            "different moments")
        with appliance([Disk(_overlay(facts, job.staging), "qcow2")], job.staging, progress) as handle:
            progress.phase("read the image")
            try:
                values.update(_contents(handle, options, warnings))
            except RuntimeError as error:
                raise guest_error(error, "reading the image", options.src) from error
            progress.finish()
    return wire.Result(values=_printable(values))


def _printable(value):
    """Bytes of the image that are not UTF-8 must not break a reader of JSON."""
    if isinstance(value, dict):
        return {_printable(key): _printable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_printable(item) for item in value]
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace") if isinstance(value, str) else value


# --- the file ----------------------------------------------------------------------------------------


def _format(facts):
    found = qemu_img.info(facts.path, facts.format, force_share=True, where=facts.where)
    return {"format": facts.format, "subformat": facts.subformat, "virtual_size": found["virtual-size"],
            "actual_size": facts.allocated_size, "file_size": facts.file_size, "cluster_size": facts.cluster_size,
            "compression_type": facts.compression_type, "backing_file": facts.backing_file,
            "snapshots": facts.snapshots, "dirty": facts.dirty, "extents": facts.extents}


def in_use(paths):
    """Whether a QEMU has the image, which is these files, open for writing.

    It then holds a lock on byte 100 + permission (1 is to write, 3 to resize; QEMU's block/file-posix.c,
    raw_check_lock_bytes). The locks are only asked for, never taken.
    """
    for path in paths:
        with open(path, "rb") as file:
            for byte in (101, 103):
                question = struct.pack("@hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
                try:
                    answer = fcntl.fcntl(file, fcntl.F_OFD_GETLK, question)
                except OSError:   # a file system without such locks
                    return False
                if struct.unpack("@hhqqi4x", answer)[0] != fcntl.F_UNLCK:
                    return True
    return False


def _integrity(facts, in_use, progress):
    if in_use:
        return {"state": "unknown", "reason": "another process has the image open for writing"}
    progress.phase("check")
    try:
        report = qemu_img.check(facts.path, facts.format, force_share=True, where=facts.where)
    except ImageError as error:
        if "report" not in error.details:
            raise
        report = error.details["report"]
    progress.finish()
    if report is None:
        return {"state": "unknown", "reason": f"qemu-img cannot check this variant of {facts.format}"}
    values = {name: report.get(name.replace("_", "-"), 0) for name in (
        "corruptions", "leaks", "check_errors", "total_clusters", "allocated_clusters", "compressed_clusters")}
    bad = values["corruptions"] or values["check_errors"]
    return dict(values, state="corrupt" if bad else "leaks" if values["leaks"] else "clean", reason=None)


def _overlay(facts, scratch):
    """A qcow2 in `scratch` that shows the image and takes all that is written."""
    path = os.path.join(scratch, "overlay.qcow2")
    qemu_img.overlay(path, facts.path, facts.format, facts.where, unlocked=len(facts.extents))
    return path


# --- what is inside -----------------------------------------------------------------------------------


def _contents(g, options, warnings):
    parts = partitions.read_partitions(g, "/dev/sda")
    values = {"partitions": [_partition(part) for part in parts], "ostree": None, "boot_entries": [], "ignition": None,
              "fstab": None, "machine_id": None, "files": [], "read": []}
    try:
        roles = partitions.roles_of(parts)
    except ImageError as error:
        warnings.append(str(error))
        roles = partitions.Roles()
    if roles.root is None:
        warnings.append("it has no partition named root, so nothing is told of its files")
        if options.files or options.read:
            raise ImageError("the image has no partition named root, so its files cannot be read", options.src,
                             "leave out the options files and read for this image")
        return values
    partitions.make_mountpoints(g)
    try:
        partitions.mount(g, roles, readonly=True)
    except ImageError as error:
        if options.files or options.read:
            raise
        warnings.append(str(error))
        return values
    deployment = _boot(g, roles, values, warnings)
    if deployment:
        view = loader.booted_view(g, deployment, roles)
        values["ostree"] = _ostree(g, view, deployment)
    else:
        view = View(g, {"/": partitions.ROOT, **({"/boot": partitions.BOOT} if roles.boot else {})})
    values["fstab"] = _fstab(_text(g, view, "/etc/fstab"))
    values["machine_id"] = _machine_id(_text(g, view, "/etc/machine-id"))
    values["files"] = [_described(g, view, path) for path in options.files]
    values["read"] = [_read(g, view, path, options.max_read_size) for path in options.read]
    return values


def _partition(part):
    return {"number": part.number, "name": part.name, "label": part.label, "uuid": part.uuid, "type": part.type,
            "filesystem": part.filesystem, "start": part.start, "size": part.size,
            "start_sector": part.start // 512, "sectors": part.size // 512}


def _boot(g, roles, values, warnings):
    """Fills in the boot entries and what they tell of Ignition; returns the deployment that boots, or None."""
    deployment = None
    folder = loader.loader_folder(g) if roles.boot else None
    entries = loader.boot_entries(g, folder) if folder else []
    for number, found in enumerate(entries):
        try:
            found.deployment = loader.deployment_of(g, found.entry)
        except ImageError as error:
            warnings.append(str(error))
        deployment = deployment or found.deployment
        values["boot_entries"].append({
            "name": found.name, "path": f"/boot/loader/entries/{found.name}", "default": number == 0,
            "fields": _fields(found.entry), "kernel_arguments": found.entry.arguments,
            "ostree": found.deployment and dataclasses.asdict(found.deployment)})
    if entries:
        platforms = bls.values(entries[0].entry.arguments, "ignition.platform.id")
        values["ignition"] = {"platform": platforms[-1] if platforms else None,
                              "embedded": _embedded(g, entries[0].entry, warnings)}
    if deployment is None:
        others = loader.all_deployments(g)
        if others:
            warnings.append("no boot entry leads to an ostree deployment; what is told is of the first in the root "
                            "partition")
            deployment = others[0]
    return deployment


def _fields(entry):
    """{key: value}, a list of values where a key repeats; `options` is told as kernel_arguments."""
    keys = {}
    for key, value in entry.items():
        if key != "options":
            keys.setdefault(key, []).append(value)
    return {key: found[0] if len(found) == 1 else found for key, found in keys.items()}


def _embedded(g, entry, warnings):
    """Whether the initramfs of a boot entry has an Ignition configuration at its end; None where it is missing."""
    path = entry.get("initrd")
    if not path:
        return None
    view = View(g, {"/": partitions.BOOT})
    real = view.real(view.resolve(path))
    status = lstat(g, real)
    if not is_file(status):
        warnings.append(f"the initramfs {path} of the first boot entry is missing")
        return None
    return loader.embedded(g, real, status["st_size"]) is not None


def _ostree(g, view, deployment):
    words = {}
    for line in (_text(g, view, "/usr/lib/os-release") or "").splitlines():
        key, equals, value = line.strip().partition("=")
        if equals and not key.startswith("#"):
            words[key] = re.sub(r"\\(.)", r"\1", value.strip("\"'"))
    keys = ("OSTREE_VERSION", "IMAGE_VERSION", "VERSION", "VERSION_ID")
    return dict(dataclasses.asdict(deployment), path="/" + deployment.path, os_release=words,
                version=next((words[key] for key in keys if words.get(key)), None),
                deployments=[dataclasses.asdict(found) for found in loader.all_deployments(g)])


def _text(g, view, path):
    """A small text file, or None where there is none."""
    real = view.resolve(path)
    if view.lstat(real) is None:
        return None
    return read_small(g, view.real(real), _MAX_SMALL, path).decode("utf-8", "replace")


def _fstab(text):
    """fstab(5): spaces and the like are octal escapes."""
    if text is None:
        return None
    rows = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) < 3 or fields[0].startswith("#"):
            continue
        fields = [re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), field) for field in fields]
        numbers = [int(field) if field.isdigit() else 0 for field in fields[4:6]] + [0, 0]
        rows.append({"device": fields[0], "mountpoint": fields[1], "type": fields[2],
                     "options": (fields[3] if len(fields) > 3 else "defaults").split(","),
                     "dump": numbers[0], "pass": numbers[1]})
    return rows


def _machine_id(text):
    """machine-id(5): only a missing or an uninitialized one makes a first boot."""
    if text is None:
        return "missing"
    text = text.strip()
    return "uninitialized" if text == "uninitialized" else "present" if text else "empty"


def _described(g, view, path):
    """lstat of one path, and more that tells what it is. A path that leads nowhere sensible has an `error`."""
    found = {"path": path, "exists": False}
    try:
        if not path.startswith("/"):
            raise ImageError("a path in an image begins with /", path)
        inside = view.resolve(path, follow=False)
        status = view.lstat(inside)
        if status is None:
            return found
        real, mode = view.real(inside), status["st_mode"]
        found.update(exists=True, type=_TYPES.get(stat.S_IFMT(mode), "unknown"), mode=f"{stat.S_IMODE(mode):04o}",
                     uid=status["st_uid"], gid=status["st_gid"], size=status["st_size"], mtime=status["st_mtime_sec"],
                     selinux=_label(g, real))
        if stat.S_ISLNK(mode):
            found["target"] = g.readlink(real)
        elif stat.S_ISDIR(mode):
            members = names(g, real)
            found.update(members=members[:_MAX_MEMBERS], truncated=len(members) > _MAX_MEMBERS)
    except ImageError as error:
        found["error"] = str(error)
    except UnicodeDecodeError:   # the binding gives names as text only
        found["error"] = str(ImageError("a name or a link in there is not UTF-8", path))
    return found


def _label(g, real):
    try:
        return g.lgetxattr(real, "security.selinux").rstrip(b"\0").decode("utf-8", "replace")
    except RuntimeError:   # none, or a file system that has none
        return None


def _read(g, view, path, limit):
    """The content of one file: links are followed as the booted system would. As text where it is, else base64."""
    found = {"path": path, "exists": False, "content": None, "encoding": None}
    try:
        if not path.startswith("/"):
            raise ImageError("a path in an image begins with /", path)
        inside = view.resolve(path)
        status = view.lstat(inside)
        if status is None:
            return found
        found.update(exists=True, size=status["st_size"])
        if not is_file(status):
            raise ImageError("only regular files can be read", path)
        if status["st_size"] > limit:
            raise ImageError(f"the file has {status['st_size']} bytes, more than max_read_size ({limit})", path)
        data = read_range(g, view.real(inside), 0, status["st_size"])
        try:
            text = data.decode("utf-8")
            found.update(content=text, encoding="text")
        except UnicodeDecodeError:
            found.update(content=base64.b64encode(data).decode(), encoding="base64")
    except ImageError as error:
        found["error"] = str(error)
    return found
