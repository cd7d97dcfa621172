# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Shape compatibility entries of images, before the lab's endpoint."""

from __future__ import annotations

import pytest

from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle import shapes
from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle.faults import CloudFault
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError

pytest.importorskip("oci.core", reason="the SDK of Oracle's cloud (oci) is not installed")
ARM64 = sorted(shapes.ARM64_SHAPES)


@pytest.fixture
def entries(session):
    return shapes.Shapes(session)


def operations(cloud):
    return cloud.control.counters()["operations"]


@pytest.mark.parametrize("shape, arm64", [
    ("VM.Standard.A1.Flex", True), ("BM.Standard.A1.160", True), ("VM.Standard.A4.Flex", True), ("VM.Standard.Arm.Generic", True),
    ("VM.Standard.E4.Flex", False), ("VM.Standard.AMD.Generic", False), ("VM.GPU.A10.1", False), ("BM.GPU.A100-v2.8", False),
])
def test_shapes_of_arm_processors_by_their_names(shape, arm64):
    assert shapes.is_arm64(shape) is arm64


def test_which_shapes_are_wanted():
    there = ["VM.Standard.E4.Flex", "VM.Standard.A4.Flex"]
    assert shapes.wanted(there, "arm64") == sorted([*ARM64, "VM.Standard.A4.Flex"])
    assert shapes.wanted(there, "arm64", ["VM.Standard.E4.Flex"], ["BM.Standard.A1.160"]) == [
        "VM.Standard.A1.Flex", "VM.Standard.A2.Flex", "VM.Standard.A4.Flex", "VM.Standard.E4.Flex"]
    assert shapes.wanted(there, "amd64") == sorted(there)
    changed = shapes.wanted(there, "amd64", ["VM.Standard.E5.Flex"], ["VM.Standard.A4.Flex", "VM.Nothing"])
    assert changed == ["VM.Standard.E4.Flex", "VM.Standard.E5.Flex"]
    with pytest.raises(ImageError, match="VM.One is both to be added and to be removed; name it once"):
        shapes.wanted(there, "amd64", ["VM.One"], ["VM.One"])


def test_an_arm64_image_gets_its_shapes_once(cloud, entries, imported):
    image = imported()
    change = entries.ensure(image, "arm64")
    assert change.changed and len(change.before) == 9 and change.after == ARM64
    assert entries.of(image) == ARM64
    cloud.control.forget()
    assert not entries.ensure(image, "arm64").changed
    assert operations(cloud) == {"list_image_shape_compatibility_entries": 1}


def test_an_amd64_image_keeps_what_the_cloud_gave_it(cloud, entries, imported):
    image = imported()
    cloud.control.forget()
    assert not entries.ensure(image, "amd64").changed
    # nine of them, five a page
    assert operations(cloud) == {"list_image_shape_compatibility_entries": 2}
    assert entries.ensure(image, "amd64", remove=["VM.Standard2.1", "VM.Nothing"]).changed
    assert "VM.Standard2.1" not in entries.of(image) and len(entries.of(image)) == 8
    assert not entries.ensure(image, "amd64", remove=["VM.Standard2.1", "VM.Nothing"]).changed


def test_drift_is_corrected_and_limits_stay(cloud, entries, imported):
    import oci
    image = imported()
    entries.ensure(image, "arm64")
    limits = oci.core.models.AddImageShapeCompatibilityEntryDetails(ocpu_constraints=oci.core.models.ImageOcpuConstraints(min=1, max=4))
    cloud.compute.add_image_shape_compatibility_entry(image, "VM.Standard.A1.Flex", add_image_shape_compatibility_entry_details=limits)
    cloud.compute.add_image_shape_compatibility_entry(image, "VM.Standard.E4.Flex")
    cloud.compute.remove_image_shape_compatibility_entry(image, "BM.Standard.A1.160")
    change = entries.ensure(image, "arm64")
    assert change.before == ["VM.Standard.A1.Flex", "VM.Standard.A2.Flex", "VM.Standard.E4.Flex"] and entries.of(image) == ARM64
    assert cloud.compute.get_image_shape_compatibility_entry(image, "VM.Standard.A1.Flex").data.ocpu_constraints.max == 4


def test_check_mode_only_reads(cloud, entries, imported):
    image = imported()
    cloud.control.forget()
    assert entries.ensure(image, "arm64", check_mode=True).after == ARM64
    assert set(operations(cloud)) == {"list_image_shape_compatibility_entries"}
    assert len(entries.of(image)) == 9


def test_answers_that_are_lost(cloud, entries, imported):
    image = imported()
    cloud.control.faults(*({"kind": "lost_answer", "times": 1, "operations": [operation]}
                           for operation in ("add_image_shape_compatibility_entry", "remove_image_shape_compatibility_entry")))
    assert entries.ensure(image, "arm64").changed and entries.of(image) == ARM64


def test_a_shape_that_there_is_not(entries, imported):
    image = imported()
    with pytest.raises(CloudFault, match="adding shape VM.Nothing to the image failed: The shape 'VM.Nothing' does not exist"):
        entries.ensure(image, "amd64", add=["VM.Nothing"])
