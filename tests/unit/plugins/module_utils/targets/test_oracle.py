# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An image file becomes a custom image of the lab's endpoint; what is there already stays; what a run that has ended left behind is gone on with."""

from __future__ import annotations

import secrets

import pytest

from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle import work_requests
from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle.faults import CloudFault
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.common.progress import Progress
from ansible_collections.ocne.images.plugins.module_utils.targets.base import Image
from ansible_collections.ocne.images.plugins.module_utils.targets.journal import Journal
from ansible_collections.ocne.images.plugins.module_utils.targets.oracle import OracleCloud, Settings
from ansible_collections.ocne.images.plugins.module_utils.targets.oracle_object import Terms
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.targets.conftest import image_of

pytest.importorskip("oci.core")   # the bare name could be the lab's own folder


@pytest.fixture
def bucket(cloud):
    made = cloud.bucket()
    cloud.control.forget()
    return made


@pytest.fixture
def target(session, cloud, bucket, file):
    """A target as a run of a task has it: target(**fields of Settings); what it warned of is in its list warnings."""
    def made(**fields):
        terms = Terms(bucket, part_size=256 << 10, parallel=3, **{name: fields.pop(name) for name in ("keep", "adopt_after") if name in fields})
        warnings = []
        settings = Settings(cloud.compartment, terms, **{"interval": 0.05, "timeout": 60, "retry_seconds": 30, **fields})
        one = OracleCloud(session, settings, Journal(str(file)), warn=warnings.append)
        one.warnings = warnings
        return one
    return made


def ensure(target, image):
    """What a module does: (image of the cloud, what was imported or None)."""
    try:
        return _ensure(target, image)
    finally:
        target.close()


def _ensure(target, image):
    found = target.check(image)
    target.take_up(image, found)
    begun = None
    if found is None:
        begun = found = target.register(image, target.upload(image))
    if not found.ready and target.settings.wait:
        found = target.wait(image, found)
    if found.ready:
        found.image, _changes = target.correct(image, found.image)
        target.finish()
    return found.image, begun


def nothing_left(cloud, bucket, file):
    told = cloud.control.left()
    assert not [one for kind in ("objects", "uploads") for one in told[kind] if one.startswith(bucket + "/")]
    assert not cloud.storage.list_preauthenticated_requests(cloud.namespace, bucket).data
    assert not list(file.parent.glob(".*"))


def operations(cloud):
    return cloud.control.counters()["operations"]


# --- the whole way -----------------------------------------------------------------------------------


def test_imported_once(target, image, cloud, bucket, file):
    there, begun = ensure(target(name="first", kubernetes="1.33"), image)
    assert begun and there["lifecycle_state"] == "AVAILABLE" and there["display_name"] == "first"
    assert there["freeform_tags"] == {"ocne/architecture": "amd64", "ocne/kubernetes": "1.33", "ocne-images/content": image.content}
    nothing_left(cloud, bucket, file)
    cloud.control.forget()
    again, begun = ensure(target(name="first", kubernetes="1.33"), image)
    assert begun is None and again["id"] == there["id"]
    told = cloud.control.counters()
    assert len(told["requests"]) <= 8 and all(name.split("_")[0] in ("list", "get") for name in told["operations"]), told["operations"]


def test_known_by_its_recipe(target, file, tmp_path):
    recipe = secrets.token_hex(32)
    first, _begun = ensure(target(), image_of(file, recipe=recipe))
    file.write_bytes(file.read_bytes() + b"\0" * 512)
    again, begun = ensure(target(), image_of(file, recipe=recipe))
    assert begun is None and again["id"] == first["id"]
    other, begun = ensure(target(), image_of(file, recipe=secrets.token_hex(32)))
    assert begun and other["id"] != first["id"]


def test_another_architecture_is_another_image(target, file):
    first, _begun = ensure(target(), image_of(file))
    other, begun = ensure(target(), image_of(file, architecture="arm64"))
    assert begun and other["id"] != first["id"]


def test_anew(target, image):
    first, _begun = ensure(target(), image)
    second, begun = ensure(target(anew=True), image)
    assert begun and second["id"] != first["id"]


def test_schema_shapes_and_tags_are_corrected(target, image, cloud, session):
    from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle.schemas import CAPABILITIES, Schemas
    from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle.shapes import ARM64_SHAPES, Shapes
    image.architecture = "arm64"
    there, _begun = ensure(target(), image)
    assert {name: about["default"] for name, about in Schemas(session).of(there["id"]).items()} == CAPABILITIES
    assert Shapes(session).of(there["id"]) == sorted(ARM64_SHAPES)
    cloud.compute.remove_image_shape_compatibility_entry(there["id"], ARM64_SHAPES[0])
    cloud.compute.update_image(there["id"], {"displayName": "spoilt", "freeformTags": {"theirs": "1"}})
    one = target(freeform={"mine": "2"}, operating_system="Other")
    found = one.check(image)
    assert found is None     # its tags are gone, so nobody knows what it is
    cloud.compute.update_image(there["id"], {"freeformTags": {**there["freeform_tags"], "theirs": "1"}})
    found = one.check(image)
    same, changes = one.correct(image, found.image, check_mode=True)
    assert {name: change.changed for name, change in changes.items()} == {"image": True, "capability_schema": False, "shapes": True}
    assert one.check(image).image["display_name"] == "spoilt" == same["display_name"]
    now, changes = one.correct(image, found.image)
    assert (now["display_name"], now["operating_system"], now["freeform_tags"]["mine"], now["freeform_tags"]["theirs"]) == ("ock", "Other", "2", "1")
    assert Shapes(session).of(there["id"]) == sorted(ARM64_SHAPES)
    assert not any(change.changed for change in one.correct(image, now)[1].values())


def test_percent_are_told(session, target, image, cloud):
    events = []
    cloud.control.set(import_seconds=5)   # it wants to be asked once in a second
    one = target()
    one._progress = Progress(events.append, interval=0)
    ensure(one, image)
    percent = [event["done"] for event in events if event["unit"] == "percent"]
    assert percent == sorted(percent) and percent[-1] == 100 and len(set(percent)) > 3


# --- what is no file here ----------------------------------------------------------------------------


def test_an_object_of_somebody_stays(session, cloud, bucket, disk, tmp_path):
    with open(disk, "rb") as data:
        cloud.storage.put_object(cloud.namespace, bucket, "golden", data)
    image = Image(f"{bucket}/golden", "qcow2", "amd64", source=secrets.token_hex(32))
    settings = Settings(cloud.compartment, Terms(bucket), object_name="golden", namespace=cloud.namespace, interval=0.05)
    made = [ensure(OracleCloud(session, settings, Journal(None, image.source)), image) for _run in range(2)]
    assert made[0][1] and made[1][1] is None and made[0][0]["id"] == made[1][0]["id"]
    assert made[0][0]["freeform_tags"]["ocne-images/source"] == image.source
    assert f"{bucket}/golden" in cloud.control.left()["objects"]


def test_an_object_that_is_not_there(session, cloud, bucket):
    image = Image(f"{bucket}/none", "qcow2", "amd64", source=secrets.token_hex(32))
    one = OracleCloud(session, Settings(cloud.compartment, Terms(bucket), object_name="none"), Journal(None, image.source))
    with pytest.raises(ImageError, match="there is no such object"):
        one.upload(image)


def test_an_address(session, cloud, bucket, disk):
    with open(disk, "rb") as data:
        cloud.storage.put_object(cloud.namespace, bucket, "golden", data)
    url = cloud.about["endpoint"] + cloud.par(bucket, "ObjectRead", "golden").access_uri
    image = Image("the address", "qcow2", "amd64", source=secrets.token_hex(32))
    one = OracleCloud(session, Settings(cloud.compartment, Terms("none"), uri=url, interval=0.05), Journal(None, image.source))
    there, begun = ensure(one, image)
    assert begun and there["lifecycle_state"] == "AVAILABLE"


# --- faults ------------------------------------------------------------------------------------------


def test_an_import_that_fails(target, image, cloud, bucket, file):
    file.write_bytes(b"no disk at all" + secrets.token_bytes(32))
    broken = image_of(file)
    with pytest.raises(work_requests.Ended, match="importing the image failed"):
        ensure(target(), broken)
    nothing_left(cloud, bucket, file)
    assert target().check(broken) is None


def test_a_limit_of_the_service(target, image, cloud, bucket, file):
    cloud.control.set(image_limit=0)
    with pytest.raises(CloudFault, match="limit of the service is reached.*ask for a higher limit"):
        ensure(target(), image)
    nothing_left(cloud, bucket, file)


def test_what_the_cloud_does_not_import_is_not_sent(target, image, cloud):
    image.facts = {"compression_type": "zstd"}
    cloud.control.forget()
    with pytest.raises(ImageError, match="zstd"):
        ensure(target(), image)
    assert not cloud.control.counters()["requests"]


def test_not_waited_for_and_gone_on_with(target, image, cloud, bucket, file):
    cloud.control.set(import_seconds=2)
    first, begun = ensure(target(wait=False), image)
    assert begun and begun.work_request and first["lifecycle_state"] in ("PROVISIONING", "IMPORTING")
    assert len(list(file.parent.glob(".*.ocne-import"))) == 1
    same, begun = ensure(target(wait=False), image)
    assert begun is None and same["id"] == first["id"]
    there, begun = ensure(target(), image)
    assert begun is None and there["id"] == first["id"] and there["lifecycle_state"] == "AVAILABLE"
    nothing_left(cloud, bucket, file)


def test_the_time_is_over_and_the_next_run_goes_on(target, image, cloud, bucket, file):
    cloud.control.set(import_seconds=2)
    with pytest.raises(work_requests.NotYet, match="goes on waiting, or raise wait_timeout"):
        ensure(target(timeout=0.3), image)
    there, begun = ensure(target(), image)
    assert begun is None and there["lifecycle_state"] == "AVAILABLE"
    nothing_left(cloud, bucket, file)


def test_one_that_failed_while_nobody_waited_is_told_apart(target, cloud, bucket, file):
    file.write_bytes(b"no disk at all" + secrets.token_bytes(32))
    broken = image_of(file)
    one = target(wait=False)
    first, _begun = ensure(one, broken)
    with pytest.raises(work_requests.Ended):
        work_requests.follow(one._session, _begun.work_request, work_requests.Patience(30, 0.05))
    second = target()
    with pytest.raises(work_requests.Ended):
        ensure(second, broken)
    assert len(second.warnings) == 1 and "importing the image failed" in second.warnings[0] and "begun anew" in second.warnings[0]
    nothing_left(cloud, bucket, file)


@pytest.mark.parametrize("operation", ["create_image", "commit_multipart_upload", "create_multipart_upload", "upload_part", "delete_object"])
def test_an_answer_that_is_lost_makes_nothing_twice(target, image, cloud, bucket, file, operation):
    cloud.control.faults({"kind": "lost_answer", "times": 1, "operations": [operation]})
    there, _begun = ensure(target(), image)
    cloud.control.faults()
    nothing_left(cloud, bucket, file)
    assert [one["id"] for one in target()._images.find(cloud.compartment, tags={"ocne-images/content": image.content})] == [there["id"]]


def test_two_runs_at_once_make_one_image(target, image, cloud, bucket, file):
    cloud.control.set(import_seconds=1)
    first, second = target(), target()
    assert first.check(image) is None and second.check(image) is None
    sent = [(one, one.upload(image)) for one in (first, second)]
    begun = [one.register(image, uploaded) for one, uploaded in sent]
    assert begun[0].image["id"] == begun[1].image["id"]
    for one, found in zip((first, second), begun):
        assert one.wait(image, found).ready
        one.finish()
    nothing_left(cloud, bucket, file)


def test_another_content_under_the_same_name(target, image, cloud, bucket, file):
    cloud.control.faults({"kind": "401", "times": 1, "skip": 2, "operations": ["upload_part"]})
    with pytest.raises(ImageError):
        ensure(target(), image)
    cloud.control.faults()
    file.write_bytes(file.read_bytes() + secrets.token_bytes(512))
    there, begun = ensure(target(), image_of(file))
    assert begun and there["lifecycle_state"] == "AVAILABLE"
    nothing_left(cloud, bucket, file)


def test_an_object_that_the_cloud_still_reads_is_left(target, image, cloud, bucket, file):
    cloud.control.set(import_seconds=2)
    first, _begun = ensure(target(wait=False), image)
    before = file.read_bytes()
    file.write_bytes(before + secrets.token_bytes(512))
    other, _begun = ensure(target(), image_of(file))
    assert other["id"] != first["id"]
    file.write_bytes(before)
    there, begun = ensure(target(), image)
    assert begun is None and there["id"] == first["id"] and there["lifecycle_state"] == "AVAILABLE"
    nothing_left(cloud, bucket, file)


def test_one_of_the_same_recipe_is_finished_whatever_its_bytes(target, cloud, bucket, file):
    """A build of the same recipe has other bytes each time (times in its file systems)."""
    recipe = secrets.token_hex(32)
    cloud.control.set(import_seconds=2)
    first, _begun = ensure(target(wait=False), image_of(file, recipe=recipe))
    file.write_bytes(file.read_bytes() + secrets.token_bytes(512))
    there, begun = ensure(target(), image_of(file, recipe=recipe))
    assert begun is None and there["id"] == first["id"] and there["lifecycle_state"] == "AVAILABLE"
    nothing_left(cloud, bucket, file)


def test_an_object_of_the_same_recipe_stays_while_the_cloud_may_read_it(target, cloud, bucket, file):
    """Killed before it heard of its image: that one is found by its recipe, and its object is not that of the new build."""
    recipe = secrets.token_hex(32)
    cloud.control.set(import_seconds=2)
    one, image = target(), image_of(file, recipe=recipe)
    begun = one.register(image, one.upload(image))
    one._entry.save(image=None, work_request=None)
    one.close()
    file.write_bytes(file.read_bytes() + secrets.token_bytes(512))
    there, again = ensure(target(), image_of(file, recipe=recipe))
    assert again is None and there["id"] == begun.image["id"] and there["lifecycle_state"] == "AVAILABLE"
    nothing_left(cloud, bucket, file)


# --- removed -----------------------------------------------------------------------------------------


def test_the_newest_stay(target, file, cloud):
    name, made = "n" + secrets.token_hex(4), []
    for _number in range(3):
        file.write_bytes(file.read_bytes() + secrets.token_bytes(512))
        made.append(ensure(target(name=name), image_of(file))[0]["id"])
    one = target(name=name)
    assert [image["id"] for image in one.unwanted(keep=2)] == made[:1]
    assert [image["id"] for image in one.unwanted(tags={"ocne/architecture": "arm64"})] == []
    assert sorted(image["id"] for image in one.unwanted()) == sorted(made)
    for image in one.unwanted(keep=2):
        one.remove(image)
    assert one.unwanted(keep=2) == [] and len(one.unwanted()) == 2
    assert [image["id"] for image in one.unwanted(identity=made[2])] == [made[2]]
    one.remove({"id": made[2]})
    assert one.unwanted(identity=made[2]) == []


def test_what_nobody_of_ours_made_stays(target, cloud, bucket, disk):
    import oci
    with open(disk, "rb") as data:
        cloud.storage.put_object(cloud.namespace, bucket, "golden", data)
    name = "n" + secrets.token_hex(4)
    source = oci.core.models.ImageSourceViaObjectStorageTupleDetails(
        namespace_name=cloud.namespace, bucket_name=bucket, object_name="golden", source_image_type="QCOW2")
    cloud.compute.create_image(oci.core.models.CreateImageDetails(compartment_id=cloud.compartment, display_name=name, image_source_details=source))
    assert target(name=name).unwanted() == []
