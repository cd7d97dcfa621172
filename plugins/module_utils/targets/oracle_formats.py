# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What Oracle's cloud imports, so that what it would refuse is not sent: "Importing Custom Images" in its documentation."""

from __future__ import annotations

from ..common.errors import ImageError

_MAX_SIZE = 400 * 10**9       # bytes that a guest sees: "Maximum image size is 400 GB"
_VMDKS = ("monolithicSparse", "streamOptimized")
_PARAVIRTUALIZED = "PARAVIRTUALIZED"
#: format of an image -> source_image_type of the import, which a .oci archive has not
SOURCE_TYPES = {"qcow2": "QCOW2", "vmdk": "VMDK", "pca_archive": None}
LAUNCH_MODES = (_PARAVIRTUALIZED, "NATIVE", "EMULATED")
#: suffix of an object's name
SUFFIXES = {"qcow2": ".qcow2", "vmdk": ".vmdk", "pca_archive": ".oci"}


def check(image, launch_mode):
    """Raises ImageError for what is not imported, or not for certain. image: targets.base.Image; without facts only the rest is looked at."""
    def refused(what, todo):
        return ImageError(what, image.where, todo)

    if image.architecture == "arm64" and launch_mode != _PARAVIRTUALIZED:
        raise refused(f"an Arm image cannot have launch_mode {launch_mode}", f"set launch_mode to {_PARAVIRTUALIZED}, or leave it out")
    facts = image.facts
    if (facts.get("virtual_size") or 0) > _MAX_SIZE:
        raise refused(f"it is {facts['virtual_size']} bytes large for its guest, and the cloud imports at most {_MAX_SIZE} (400 GB)",
                      "make a smaller image, and let its root file system grow when it boots")
    if facts.get("backing_file"):
        raise refused("it has a backing file, so it is not a whole image", "flatten it first (ocne_image_convert with format: qcow2)")
    if facts.get("compression_type") == "zstd":
        raise refused("it is a qcow2 for clusters compressed with zstd, which the cloud may not read",
                      "make one with zlib: ocne_image_convert with format: qcow2 and compression: zlib, or none")
    if image.format == "vmdk" and facts.get("subformat") not in (None, *_VMDKS):
        raise refused(f"it is a {facts['subformat']} VMDK, and the cloud imports {' and '.join(_VMDKS)} only",
                      f"convert it: ocne_image_convert with format: vmdk and subformat: {_VMDKS[0]}")
