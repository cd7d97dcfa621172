# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether the kernel has ended a process for want of memory. Where control groups are nested, only the one that was killed is told."""

from __future__ import annotations

import contextlib
import re

from .errors import ImageError

#: of a container's own control group, version 2 and version 1 (Linux Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst)
_COUNTERS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")


def kills():
    """How many processes of this container the kernel has ended for want of memory; 0 where nothing tells."""
    for path in _COUNTERS:
        with contextlib.suppress(OSError), open(path, encoding="ascii") as file:
            found = re.search(r"(?m)^oom_kill (\d+)$", file.read())
            if found:
                return int(found.group(1))
    return 0


def explained(error, before):
    """The ImageError itself, or where kills() was `before` and is more now, one that says so."""
    if kills() <= before:
        return error
    return ImageError(f"the work ran out of memory: {error.what}", error.where,
                      "raise the memory that it may take (of a builder pod by pod_overrides: resources), and run the task again", **error.details)
