# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Capability schemas of images, before the lab's endpoint."""

from __future__ import annotations

import pytest

from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle import schemas
from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle.faults import CloudFault
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError

pytest.importorskip("oci.core", reason="the SDK of Oracle's cloud (oci) is not installed")
WANTED = {name: {"values": [value], "default": value} for name, value in schemas.CAPABILITIES.items()}


@pytest.fixture
def kept(session):
    return schemas.Schemas(session)


@pytest.fixture
def image(cloud, imported):
    return {"id": imported(), "compartment_id": cloud.compartment}


def operations(cloud):
    return cloud.control.counters()["operations"]


def give(cloud, image, version=None, **capabilities):
    """A schema that somebody else made: capabilities as descriptors."""
    import oci
    details = oci.core.models.CreateComputeImageCapabilitySchemaDetails(
        compartment_id=cloud.compartment, image_id=image["id"],
        schema_data={name.replace("_", ".", 1): about for name, about in capabilities.items()},
        compute_global_image_capability_schema_version_name=version)
    return cloud.compute.create_compute_image_capability_schema(details).data.id


def one_of(default, *values):
    import oci
    return oci.core.models.EnumStringImageCapabilitySchemaDescriptor(source="IMAGE", values=list(values), default_value=default)


def test_the_six_capabilities():
    paravirtualized = ("Compute.LaunchMode", "Storage.BootVolumeType", "Storage.RemoteDataVolumeType", "Storage.LocalDataVolumeType",
                       "Network.AttachmentType")
    assert schemas.CAPABILITIES == {"Compute.Firmware": "UEFI_64", **dict.fromkeys(paravirtualized, "PARAVIRTUALIZED")}


def test_a_schema_is_made_at_the_current_version_and_then_left(cloud, kept, image):
    assert kept.of(image["id"]) is None
    cloud.control.forget()
    made = kept.ensure(image)
    assert made.changed and (made.before, made.after) == ({}, WANTED)
    assert kept.of(image["id"]) == WANTED
    summary = cloud.compute.list_compute_image_capability_schemas(image_id=image["id"]).data[0]
    assert summary.compute_global_image_capability_schema_version_name == kept.current_version()
    cloud.control.forget()
    assert not kept.ensure(image).changed
    assert operations(cloud) == {"list_compute_image_capability_schemas": 1, "get_compute_image_capability_schema": 1}


def test_a_schema_that_differs_is_corrected_and_keeps_what_is_not_ours(cloud, kept, image):
    import oci
    secure = oci.core.models.BooleanImageCapabilitySchemaDescriptor(source="IMAGE", default_value=True)
    identity = give(cloud, image, kept.current_version(), Compute_Firmware=one_of("BIOS", "BIOS", "UEFI_64"), Compute_SecureBoot=secure,
                    Compute_LaunchMode=one_of("PARAVIRTUALIZED", "PARAVIRTUALIZED"))
    change = kept.ensure(image)
    assert change.before["Compute.Firmware"] == {"values": ["BIOS", "UEFI_64"], "default": "BIOS"} and "Network.AttachmentType" not in change.before
    assert change.after == {**WANTED, "Compute.SecureBoot": {"values": [], "default": True}}
    assert kept.of(image["id"]) == change.after
    assert [one.id for one in cloud.compute.list_compute_image_capability_schemas(image_id=image["id"]).data] == [identity]
    assert not kept.ensure(image).changed


def test_an_older_version_is_good_enough(cloud, kept, image):
    known = cloud.compute.list_compute_global_image_capability_schemas().data[0]
    oldest = cloud.compute.list_compute_global_image_capability_schema_versions(known.id).data[-1].name
    assert oldest != kept.current_version()
    give(cloud, image, oldest, Compute_Firmware=one_of("BIOS", "BIOS"))
    assert kept.ensure(image).changed and kept.of(image["id"]) == WANTED


def test_check_mode_only_reads(cloud, kept, image):
    cloud.control.forget()
    change = kept.ensure(image, check_mode=True)
    assert (change.before, change.after) == ({}, WANTED) and kept.of(image["id"]) is None
    give(cloud, image, kept.current_version(), Compute_Firmware=one_of("BIOS", "BIOS"))
    cloud.control.forget()
    change = kept.ensure(image, check_mode=True)
    assert change.before == {"Compute.Firmware": {"values": ["BIOS"], "default": "BIOS"}} and change.after == WANTED
    assert set(operations(cloud)) == {"list_compute_image_capability_schemas", "get_compute_image_capability_schema"}


def test_answers_that_are_lost_make_no_second_schema(cloud, kept, image):
    cloud.control.faults({"kind": "lost_answer", "times": 1, "operations": ["create_compute_image_capability_schema"]})
    assert kept.ensure(image).changed and not kept.ensure(image).changed
    cloud.control.faults({"kind": "lost_answer", "times": 1, "operations": ["update_compute_image_capability_schema"]})
    other = {"Network.AttachmentType": "VFIO"}
    assert kept.ensure(image, capabilities=other).changed and not kept.ensure(image, capabilities=other).changed
    assert len(cloud.compute.list_compute_image_capability_schemas(image_id=image["id"]).data) == 1


def test_what_the_cloud_does_not_know(kept, image):
    with pytest.raises(CloudFault, match="giving the image its capability schema failed: schemaData: the capability 'Compute.Speed' is not"):
        kept.ensure(image, capabilities={"Compute.Speed": "HIGH"})


def test_a_cloud_without_a_global_schema(kept, monkeypatch):
    monkeypatch.setattr(kept, "_pages", lambda *_args, **_more: iter(()))
    with pytest.raises(ImageError, match="no global capability schema; import a .oci archive"):
        kept.current_version()
