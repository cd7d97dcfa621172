# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Platform profiles: what an image needs to boot somewhere, as data. Adding a platform is adding data here."""

from __future__ import annotations

import dataclasses
import re

from ..common.errors import ImageError
from . import disk_formats
from .oracle_hostname import FILES as OCI_HOSTNAME_FILES

#: a screen in place of the serial line that boot images come with
_SCREEN = {"replace": {"console=ttyS0": "console=tty0"}}
#: every instance is its own: file systems of two disks can be told apart, and systemd sees a first boot
_NEW_IDENTITY = {"uuids": "derived", "machine_id": "remove"}
_NO_MACHINE_ID = {"uuids": "keep", "machine_id": "remove"}

#: name -> fields of Profile. Ignition's platform ids: https://coreos.github.io/ignition/supported-platforms/;
#: "oci" is what Oracle's build of Ignition has for Oracle Cloud Infrastructure
PROFILES = {
    "qemu": {"ignition_platform": "qemu"},
    "oci": {"ignition_platform": "oci", "identity": _NEW_IDENTITY, "files": OCI_HOSTNAME_FILES},
    "olvm": {"ignition_platform": "openstack", "identity": _NEW_IDENTITY, "kernel_arguments": _SCREEN},
    "openstack": {"ignition_platform": "openstack", "identity": _NO_MACHINE_ID},
    "kubevirt": {"ignition_platform": "kubevirt", "identity": _NO_MACHINE_ID},
    "vmware": {"ignition_platform": "vmware", "identity": _NO_MACHINE_ID, "kernel_arguments": _SCREEN, "disk_format": "vmdk"},
    "metal": {"ignition_platform": "metal", "identity": _NO_MACHINE_ID, "kernel_arguments": _SCREEN, "disk_format": "raw"},
}


@dataclasses.dataclass
class Profile:
    """Everything that a platform decides. What a field leaves out is not changed in the image."""

    name: str = None
    ignition_platform: str = None                                           # value of ignition.platform.id
    kernel_arguments: dict = dataclasses.field(default_factory=dict)        # append, delete, replace
    files: list = dataclasses.field(default_factory=list)                   # as the option `files` of ocne_image_customize
    identity: dict = dataclasses.field(default_factory=dict)                # uuids: derived, random, keep; machine_id: remove, keep
    disk_format: str = "qcow2"                                              # what the platform takes best; one of disk_formats.FORMATS
    disk_subformat: str = None                                              # None: the format's default
    disk_suffix: str = None                                                 # of a file name, with its dot; None: the format's own

    def disk(self, format=None):
        """{format, subformat, suffix} of the platform's disk; of another format, where that is given, as that format has them. Raises ImageError."""
        own = format in (None, self.disk_format)
        row = disk_formats.checked(self.disk_format if own else format)
        return {"format": self.disk_format if own else format,
                "subformat": own and self.disk_subformat or row.default_subformat,
                "suffix": own and self.disk_suffix or row.suffix}


def profile(platform):
    """The Profile of a platform's name or of a user's own dictionary; an empty one for None. Raises ImageError."""
    if platform is None:
        return Profile()
    if isinstance(platform, str):
        if platform not in PROFILES:
            raise ImageError(f"there is no platform {platform!r}", todo=f"use one of {', '.join(PROFILES)}, or a dictionary of your own")
        return Profile(name=platform, **PROFILES[platform])
    if not isinstance(platform, dict):
        raise ImageError(f"a platform is a name or a dictionary, not {type(platform).__name__}", "platform")
    known = {field.name: field.type for field in dataclasses.fields(Profile)}
    for key, value in platform.items():
        if key not in known:
            raise ImageError(f"a platform has no {key!r}", "platform", f"it has {', '.join(known)}")
        if not isinstance(value, {"str": str, "dict": dict, "list": list}[known[key]]):
            raise ImageError(f"{key} of a platform is a {known[key]}, not {type(value).__name__}", "platform")
    made = Profile(**{"name": "custom", **platform})
    _check_disk(made)
    return made


def _check_disk(made):
    row = disk_formats.checked(made.disk_format, made.disk_subformat, "platform")
    suffix = made.disk_suffix
    if suffix is None:
        return
    if not re.fullmatch(r"\.[A-Za-z0-9][A-Za-z0-9._-]*", suffix):
        raise ImageError(f"{suffix!r} is not the suffix of a file name", "platform", "give one with its dot, such as .img")
    if suffix != row.suffix and suffix in disk_formats.SUFFIXES:
        raise ImageError(f"the suffix {suffix} is that of another format than {made.disk_format}", "platform", f"give another one, or none for {row.suffix}")
