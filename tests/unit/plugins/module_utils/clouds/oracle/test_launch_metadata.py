# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""image_metadata.json of a .oci archive."""

from __future__ import annotations

import json

import pytest

from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle import launch_metadata as metadata
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError

VERSION = "f1b1b1d0-0003-4c1a-9d00-000000000000"


def made(cloud="oci", architecture="amd64", **more):
    return metadata.launch_metadata(cloud, architecture, "Oracle Linux", "8", **more)


def shapes(about):
    return [entry["internalShapeName"] for entry in about["additionalMetadata"]["shapeCompatibilities"]]


def test_an_image_of_the_cloud():
    about = made(schema_version=VERSION)
    assert (about["version"], about["operatingSystem"], about["operatingSystemVersion"]) == (2, "Oracle Linux", "8")
    assert about["externalLaunchOptions"] == {
        "firmware": "UEFI_64", "networkType": "VFIO", "bootVolumeType": "ISCSI", "remoteDataVolumeType": "PARAVIRTUALIZED",
        "localDataVolumeType": "VFIO", "launchOptionsSource": "NATIVE", "pvAttachmentVersion": 1, "pvEncryptionInTransitEnabled": False,
        "consistentVolumeNamingEnabled": False}
    assert about["imageCapsFormatVersion"] == VERSION
    assert json.loads(about["imageCapabilityData"]) == {"capabilities": {
        "Compute.LaunchMode": {"descriptorType": "enumstring", "values": ["PARAVIRTUALIZED"], "defaultValue": "PARAVIRTUALIZED"},
        "Compute.Firmware": {"descriptorType": "enumstring", "values": ["UEFI_64"], "defaultValue": "UEFI_64"}}}
    assert about["additionalMetadata"]["sourcePublicImageId"] is None
    assert about["additionalMetadata"]["shapeCompatibilities"][0] == {"internalShapeName": "VM.Standard.E2.1", "ocpuConstraints": None,
                                                                      "memoryConstraints": None}


def test_without_a_version_of_the_global_schema_there_are_no_capabilities():
    about = made()
    assert (about["imageCapabilityData"], about["imageCapsFormatVersion"]) == (None, None)
    assert about["externalLaunchOptions"]["firmware"] == "UEFI_64"


def test_an_image_of_an_appliance():
    about = made("pca", schema_version=VERSION)
    options = about["externalLaunchOptions"]
    assert {options[name] for name in ("networkType", "bootVolumeType", "remoteDataVolumeType", "localDataVolumeType")} == {"PARAVIRTUALIZED"}
    assert (options["firmware"], options["launchOptionsSource"]) == ("UEFI_64", "CUSTOM")
    assert (about["imageCapabilityData"], about["imageCapsFormatVersion"]) == (None, None)
    assert shapes(about) == ["VM.PCAStandard.E5.Flex"] and shapes(made("pca", "arm64")) == []


def test_shapes_are_of_the_architecture_or_as_told():
    assert shapes(made(architecture="arm64")) == ["VM.Standard.A1.Flex", "VM.Standard.A2.Flex", "BM.Standard.A1.160"]
    assert not any(".A1." in name or ".A2." in name for name in shapes(made()))
    assert shapes(made(shapes=["VM.Standard.E6.Flex"])) == ["VM.Standard.E6.Flex"] and shapes(made(shapes=[])) == []


@pytest.mark.parametrize("cloud, architecture", [("oci", "riscv64"), ("aws", "amd64")])
def test_what_there_is_not(cloud, architecture):
    with pytest.raises(ImageError, match=f"{architecture} images of {cloud}"):
        made(cloud, architecture)


def test_the_same_metadata_are_the_same_bytes():
    data = metadata.encoded(made())
    assert data == metadata.encoded(made()) and data.endswith(b"}\n") and json.loads(data) == made()
