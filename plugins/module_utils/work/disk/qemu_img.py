# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one door to qemu-img: always with the format stated, and under limits."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile

from ...common import advice, process
from ...common.errors import ImageError
from ...common.progress import silent

#: address space of a qemu-img on a foreign image, bytes; checking one of headers.MAX_VIRTUAL_SIZE needs an eighth of it
MEMORY_LIMIT = 4 << 30
#: processor time of a qemu-img that reads headers and tables, seconds
SECONDS_LIMIT = 300
#: processor time for each GiB that a guest sees, of one that reads all of them, seconds: zlib takes 25 of it on a slow machine
_SECONDS_PER_GIB = 300
_LAST_WORDS = 4000   # bytes of what it says that are told


def named(path):
    """A path as qemu-img takes it: an absolute one is never a protocol (`nbd:`) or options (`json:`) to it."""
    if not os.path.isabs(path):
        raise ImageError("the path of an image must be absolute here", path)
    return path


def _shared(force_share):
    return ["-U"] if force_share else []


def _seconds(virtual_size):
    """Processor time for reading a whole disk of so many bytes, seconds."""
    return SECONDS_LIMIT + _SECONDS_PER_GIB * (1 + (virtual_size >> 30))


def _with_percent(arguments, where, doing, progress, seconds):
    """Run qemu-img with -p: its `(12.34/100%)` goes to progress, a phase in percent. Raises ImageError."""
    # a file: a pipe that is full of warnings would stop it for ever
    with tempfile.TemporaryFile() as errors:
        with process.start(arguments, MEMORY_LIMIT, seconds, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors) as child:
            while True:
                text = os.read(child.stdout.fileno(), 4096)
                if not text:
                    break
                found = re.findall(rb"\((\d+(?:\.\d+)?)/100%\)", text)
                if found:
                    progress.update(float(found[-1]))
            child.wait()
        errors.seek(max(0, errors.seek(0, os.SEEK_END) - _LAST_WORDS))
        words = errors.read()
    if child.returncode:
        raise process.failed(arguments[0], child.returncode, words, where, doing)


# --- what is there -----------------------------------------------------------------------------------


def info(path, format, force_share=False, where=None):
    """What qemu-img says of an image, as its JSON. force_share: also while another process writes to it. Raises ImageError."""
    output = process.run(["qemu-img", "info", "--output=json", *_shared(force_share), "-f", format, named(path)],
                         where or path, "reading the image's header", MEMORY_LIMIT, SECONDS_LIMIT)
    return json.loads(output)


def measure(path, format, target, options=None, force_share=False, where=None):
    """(bytes needed, bytes if all were allocated) of the image converted to `target`: raw or qcow2 only."""
    output = process.run(["qemu-img", "measure", "--output=json", *_shared(force_share), "-f", format, "-O", target,
                          *(["-o", options] if options else []), named(path)],
                         where or path, "measuring the image", MEMORY_LIMIT, SECONDS_LIMIT)
    data = json.loads(output)
    return data["required"], data["fully-allocated"]


def check(path, format, force_share=False, where=None):
    """The report of `qemu-img check`, or None for formats that it cannot check (raw, vpc, flat vmdk).

    Raises ImageError where the image is corrupt. Leaked clusters only waste space: they are in the report.
    """
    arguments = ["qemu-img", "check", "--output=json", *_shared(force_share), "-f", format, named(path)]
    with process.start(arguments, MEMORY_LIMIT, 10 * SECONDS_LIMIT, stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        output, errors = child.communicate()
    if child.returncode == 63:   # "checks are not supported by this image format"
        return None
    if child.returncode in (0, 3):
        return json.loads(output)
    if child.returncode == 2:
        report = json.loads(output)
        raise ImageError(f"the image is corrupt ({report.get('corruptions', 'some')} errors in its tables)",
                         where or path, "copy, pull or build it again", report=report)
    raise process.failed("qemu-img", child.returncode, errors, where or path, "checking the image")


def compare(path, format, other, other_format, progress=None, virtual_size=0, where=None):
    """ImageError where two images do not give a guest the same bytes; a longer one must end in zeros. virtual_size: of the disk, bytes."""
    arguments = ["qemu-img", "compare", "-p", "-f", format, "-F", other_format, named(path), named(other)]
    try:
        _with_percent(arguments, where or path, "comparing the images", progress or silent(), 2 * _seconds(virtual_size))
    except ImageError as error:
        if error.details.get("status") != 1:
            raise
        raise ImageError("its content differs from the image it was made of", where or path,
                         advice.LOOK_FOR_FAULTS) from error


# --- what is made ------------------------------------------------------------------------------------


def convert(path, format, target, target_format, virtual_size, progress, arguments=(), where=None, doing=None):
    """Write an image anew at `target`; arguments: further ones of `qemu-img convert`. virtual_size: bytes of the disk. Raises ImageError."""
    _with_percent(["qemu-img", "convert", "-p", "-f", format, "-O", target_format, *arguments, named(path), named(target)],
                  where or path, doing or f"converting the image to {target_format}", progress, _seconds(virtual_size))


def compressed(compression):
    """Arguments for convert(): clusters compressed by zlib or zstd, or none of them.

    Measured on two cores with 0.5 GiB of data in 15 GiB: -m and -W gain nothing where clusters are not compressed,
    and scatter them; zlib takes 0.6 and zstd 0.13 of the time of a plain `-c` with them.
    """
    return ["-c", "-m", "16", "-W", "-o", f"compression_type={compression}"] if compression != "none" else []


def overlay(path, base, base_format, where=None, unlocked=None):
    """Make a qcow2 at `path` that shows `base` and takes all that is written. Raises ImageError.

    unlocked: how many further files the base has, where another process may have them open for writing; None where it must not.
    """
    backing = named(base)
    if unlocked is not None:
        node = {"driver": base_format, "file": {"driver": "file", "filename": backing, "locking": "off"}}
        for number in range(unlocked):
            node[f"extents.{number}.locking"] = "off"
        backing = "json:" + json.dumps(node, ensure_ascii=False)
    process.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", base_format, "-b", backing, named(path)], where or base,
                "making an overlay of the image", MEMORY_LIMIT, SECONDS_LIMIT)
