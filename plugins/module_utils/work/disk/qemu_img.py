# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one door to qemu-img: always with the format stated, and under limits."""

from __future__ import annotations

import json
import os
import subprocess

from ...common import process
from ...common.errors import ImageError

#: address space of a qemu-img on a foreign image, bytes; checking one of MAX_VIRTUAL_SIZE needs an eighth of it
MEMORY_LIMIT = 4 << 30
#: processor time of a qemu-img that reads headers and tables, seconds
SECONDS_LIMIT = 300


# --- qemu-img, always with the format stated -------------------------------------------------------------

def named(path):
    """A path as qemu-img takes it: an absolute one is never a protocol (`nbd:`) or options (`json:`) to it."""
    if not os.path.isabs(path):
        raise ImageError("the path of an image must be absolute here", path)
    return path


def _shared(force_share):
    return ["-U"] if force_share else []


def info(path, format, force_share=False, where=None):
    """What qemu-img says of an image, as its JSON. force_share: also while another process writes to it."""
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


def compare(path, format, other, other_format, progress=None, force_share=False, where=None):
    """ImageError where two images do not give a guest the same bytes; a longer one must end in zeros."""
    arguments = ["qemu-img", "compare", "-p", *_shared(force_share), "-f", format, "-F", other_format,
                 named(path), named(other)]
    try:
        if progress:
            process.run_with_percent(arguments, where or path, "comparing the images", progress, memory=MEMORY_LIMIT)
        else:
            process.run([word for word in arguments if word != "-p"], where or path, "comparing the images",
                        MEMORY_LIMIT)
    except ImageError as error:
        if error.details.get("status") != 1:
            raise
        raise ImageError("its content differs from the image it was made of", where or path,
                         "look for a faulty disk or memory, then run the task again with force") from error
