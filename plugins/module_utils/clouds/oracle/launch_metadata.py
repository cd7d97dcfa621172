# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What `image_metadata.json` of a .oci archive says: how its image is launched, and on which shapes.

With it the import needs no capability schema and no shape entries. On a Private Cloud Appliance it is the only way.
"""

from __future__ import annotations

import json

from ...common.errors import ImageError

#: the members of the archive, with exactly these names
METADATA_MEMBER, DISK_MEMBER = "image_metadata.json", "output.QCOW2"
OCI, PCA = "oci", "pca"
_VERSION = 2   # of this format
_FIRMWARE = "UEFI_64"
_PARAVIRTUALIZED = "PARAVIRTUALIZED"

_LAUNCH = {
    OCI: {"networkType": "VFIO", "bootVolumeType": "ISCSI", "remoteDataVolumeType": _PARAVIRTUALIZED, "localDataVolumeType": "VFIO",
          "launchOptionsSource": "NATIVE"},
    PCA: {"networkType": _PARAVIRTUALIZED, "bootVolumeType": _PARAVIRTUALIZED, "remoteDataVolumeType": _PARAVIRTUALIZED,
          "localDataVolumeType": _PARAVIRTUALIZED, "launchOptionsSource": "CUSTOM"},
}
#: (cloud, architecture) -> shapes, where nobody names others; public names, whatever the key in the file is called
SHAPES = {
    (OCI, "amd64"): (
        "VM.Standard.E2.1", "VM.Standard.E2.2", "VM.Standard.E2.4", "VM.Standard.E2.8", "VM.Standard.E2.1.Micro", "VM.Standard.E3.Flex",
        "VM.Standard.E4.Flex", "VM.Standard.E5.Flex", "VM.Standard.E6.Flex", "VM.Standard2.1", "VM.Standard2.2", "VM.Standard2.4", "VM.Standard2.8",
        "VM.Standard2.16", "VM.Standard2.24", "VM.Standard3.Flex", "VM.Optimized3.Flex", "VM.DenseIO2.8", "VM.DenseIO2.16", "VM.DenseIO2.24",
        "VM.DenseIO.E4.Flex", "VM.DenseIO.E5.Flex", "VM.GPU2.1", "VM.GPU3.1", "VM.GPU3.2", "VM.GPU3.4", "VM.GPU.A10.1", "VM.GPU.A10.2",
        "BM.Standard2.52", "BM.Standard3.64", "BM.Standard.E2.64", "BM.Standard.E3.128", "BM.Standard.E4.128", "BM.Standard.E5.192",
        "BM.Optimized3.36", "BM.DenseIO2.52", "BM.DenseIO.E4.128", "BM.DenseIO.E5.128"),
    (OCI, "arm64"): ("VM.Standard.A1.Flex", "VM.Standard.A2.Flex", "BM.Standard.A1.160"),
    (PCA, "amd64"): ("VM.PCAStandard.E5.Flex",),
    (PCA, "arm64"): (),
}


def launch_metadata(cloud, architecture, operating_system, operating_system_version, shapes=None, schema_version=None):
    """The metadata as plain data. cloud: "oci" or "pca"; architecture: "amd64" or "arm64". Raises ImageError for others.

    shapes: names, instead of those that the architecture has. schema_version: the name of a version of the global capability schema (schemas.py);
    with it, and not for "pca", firmware and launch mode are also capabilities of the image, which nobody can launch otherwise.
    """
    if (cloud, architecture) not in SHAPES:
        raise ImageError(f"there are no launch options for {architecture} images of {cloud}", todo="use amd64 or arm64",
                         known=sorted(map(list, SHAPES)))
    names = SHAPES[cloud, architecture] if shapes is None else shapes
    restricted = cloud == OCI and schema_version is not None
    return {
        "version": _VERSION,
        "externalLaunchOptions": {"firmware": _FIRMWARE, **_LAUNCH[cloud], "pvAttachmentVersion": 1, "pvEncryptionInTransitEnabled": False,
                                  "consistentVolumeNamingEnabled": False},
        # text in text: so the service exports it
        "imageCapabilityData": json.dumps({"capabilities": _capabilities()}, sort_keys=True) if restricted else None,
        "imageCapsFormatVersion": schema_version if restricted else None,
        "operatingSystem": operating_system,
        "operatingSystemVersion": operating_system_version,
        "additionalMetadata": {
            "sourcePublicImageId": None,
            "shapeCompatibilities": [{"internalShapeName": name, "ocpuConstraints": None, "memoryConstraints": None} for name in names]},
    }


def _capabilities():
    only = {"Compute.LaunchMode": _PARAVIRTUALIZED, "Compute.Firmware": _FIRMWARE}
    return {name: {"descriptorType": "enumstring", "values": [value], "defaultValue": value} for name, value in only.items()}


def encoded(metadata):
    """The bytes of the member: the same ones for the same metadata."""
    return (json.dumps(metadata, indent=2, sort_keys=True) + "\n").encode()
