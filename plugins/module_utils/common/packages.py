# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What image work needs of the system, and the packages that bring it.

Copies of it that no Python reads (bindep.txt, builder/packages.txt, scripts/setup, documentation) are held equal to it by its test.
"""

from __future__ import annotations

#: programs that the work starts
TOOLS = ("qemu-img", "skopeo", "zstd")
#: what a module host must be told to install; the rest comes along, or need not be there
HOST = ("guestfs", "xfs", *TOOLS)
_ARCHITECTURE = "ARCHITECTURE"
#: what is needed -> (Debian's package, that of Oracle Linux and Fedora). A builder has all of them; a pod installs them in this order
PACKAGES = {
    "python": ("python3", "python3"),
    "guestfs": ("python3-guestfs", "python3-libguestfs"),
    "appliance": ("guestfish", "libguestfs"),
    "xfs": ("libguestfs-xfs", "libguestfs-xfs"),
    "ext": ("e2fsprogs", "e2fsprogs"),
    "qemu-img": ("qemu-utils", "qemu-img"),
    "skopeo": ("skopeo", "skopeo"),
    "zstd": ("zstd", "zstd"),
    "ostree": ("ostree", "ostree"),
    "authorities": ("ca-certificates", "ca-certificates"),
    "kernel": (f"linux-image-cloud-{_ARCHITECTURE}", "kernel-core"),
}
_COLUMNS = {"apt": 0, "dnf": 1}


def names(manager, needs=tuple(PACKAGES), architecture=""):
    """The packages that bring `needs`, by "apt" or "dnf". architecture: as Debian names it."""
    return [PACKAGES[need][_COLUMNS[manager]].replace(_ARCHITECTURE, architecture) for need in needs]


def how_to_install(tool):
    """What to do where a tool or binding is missing."""
    debian, rpm = PACKAGES[tool]
    return f"install the package {debian} (Debian) or {rpm} (Oracle Linux, Fedora)"
