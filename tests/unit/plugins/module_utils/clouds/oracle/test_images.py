# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Custom images, before the lab's endpoint."""

from __future__ import annotations

import dataclasses
import secrets

import pytest

from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle import images, launch_metadata, schemas, shapes, work_requests
from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle.faults import CloudFault
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.common.progress import Progress
from ansible_collections.ocne.images.plugins.module_utils.work.disk import headers, oci_archive

pytest.importorskip("oci.core", reason="the SDK of Oracle's cloud (oci) is not installed")
READS = ("get_", "list_", "head_")


@pytest.fixture
def account(session):
    return images.Images(session)


@pytest.fixture
def wanted(cloud, place):
    """wanted() is an image of this test alone; its content tag is as unique."""
    digest = secrets.token_hex(32)

    def made(**more):
        fields = {"name": "ock", "source": images.object_source(*place), "source_image_type": "QCOW2", "operating_system": "Oracle Linux",
                  "operating_system_version": "8", "freeform": {images.ARCHITECTURE: "amd64", images.KUBERNETES: "1.33", images.CONTENT: digest}}
        return images.Wanted(cloud.compartment, **dict(fields, **more))
    return made


def same(wanted):
    return {images.CONTENT: wanted.freeform[images.CONTENT]}


def living(cloud, account, wanted):
    return account.find(cloud.compartment, tags=same(wanted))


def only_reads(cloud):
    return all(operation.startswith(READS) for operation in cloud.control.counters()["operations"])


# --- from an object to an image ------------------------------------------------------------------------


def test_an_import_over_time(cloud, account, wanted, patience):
    cloud.control.set(import_seconds=2)
    begun = account.create(wanted(defined={"operations": {"owner": "me"}}), images.new_token(), same(wanted()))
    assert (begun.created, begun.image["lifecycle_state"]) == (True, "PROVISIONING") and begun.work_request
    # the tags are there from the start
    assert begun.image["freeform_tags"] == wanted().freeform and begun.image["defined_tags"] == {"operations": {"owner": "me"}}
    image = account.wait(begun.image, patience(), work_request=begun.work_request)
    assert (image["id"], image["lifecycle_state"]) == (begun.image["id"], "AVAILABLE")
    assert (image["display_name"], image["launch_mode"]) == ("ock", "PARAVIRTUALIZED")
    assert (image["operating_system"], image["operating_system_version"]) == ("Oracle Linux", "8")


def test_an_import_by_uri(cloud, account, wanted, patience, place):
    uri = cloud.par(place[1], "ObjectRead", place[2]).full_path
    begun = account.create(wanted(source=images.uri_source(uri)), images.new_token())
    assert account.wait(begun.image, patience(), work_request=begun.work_request)["lifecycle_state"] == "AVAILABLE"
    wrong = uri.rpartition("/o/")[0] + "/o/other"
    with pytest.raises(CloudFault, match="starting the import of the image failed") as caught:
        account.create(wanted(source=images.uri_source(wrong)), images.new_token())
    assert uri.partition("/p/")[2].partition("/")[0] not in str(caught.value.as_dict())


def test_who_needs_a_uri(cloud, account, wanted):
    with pytest.raises(CloudFault) as caught:
        account.create(wanted(source=images.object_source(cloud.namespace, "none", "none")), images.new_token())
    assert images.needs_uri(caught.value)
    cloud.control.set(image_limit=0)
    with pytest.raises(CloudFault) as caught:
        account.create(wanted(), images.new_token())
    assert not images.needs_uri(caught.value)


@pytest.mark.parametrize("kind", [launch_metadata.OCI, launch_metadata.PCA])
def test_an_archive_says_itself_how_its_image_is_launched(cloud, session, account, wanted, patience, disk, tmp_path, kind):
    about, path = launch_metadata.launch_metadata(kind, "amd64", "OCK", "1.33", schema_version="f1b1b1d0-0003"), tmp_path / "image.oci"
    oci_archive.write(str(path), launch_metadata.encoded(about), headers.read_header(str(disk), "qcow2"))
    bucket = cloud.bucket()
    cloud.storage.put_object(cloud.namespace, bucket, "image.oci", path.read_bytes())
    begun = account.create(wanted(source=images.object_source(cloud.namespace, bucket, "image.oci"), source_image_type=None, operating_system=None,
                                  operating_system_version=None), images.new_token())
    image, options = account.wait(begun.image, patience(), work_request=begun.work_request), about["externalLaunchOptions"]
    assert (image["operating_system"], image["operating_system_version"]) == ("OCK", "1.33")
    launched = image["launch_options"]
    assert (launched["firmware"], launched["boot_volume_type"], launched["network_type"]) == (
        "UEFI_64", options["bootVolumeType"], options["networkType"])
    assert shapes.Shapes(session).of(image["id"]) == sorted(launch_metadata.SHAPES[kind, "amd64"])


@pytest.mark.parametrize("outcome", ["FAILED", "CANCELED"])
def test_an_import_that_does_not_succeed(cloud, account, wanted, patience, outcome):
    cloud.control.set(import_outcome=outcome)
    token = images.new_token()
    begun = account.create(wanted(), token, same(wanted()))
    with pytest.raises(work_requests.Ended) as caught:
        account.wait(begun.image, patience(), work_request=begun.work_request)
    assert caught.value.details["status"] == outcome and begun.image["id"] in str(caught.value)
    assert living(cloud, account, wanted()) == []
    # the next try makes another one, though a run that was killed left its token
    cloud.control.set(import_outcome="SUCCEEDED")
    again = account.create(wanted(), token, same(wanted()))
    assert again.created and account.wait(again.image, patience(), work_request=again.work_request)["lifecycle_state"] == "AVAILABLE"


def test_a_run_goes_on_waiting_for_the_image_of_another_one(cloud, account, wanted, patience):
    cloud.control.set(import_seconds=10)
    begun = account.create(wanted(), images.new_token(), same(wanted()))
    with pytest.raises(work_requests.NotYet) as caught:
        account.wait(begun.image, patience(0.5), work_request=begun.work_request)
    assert (caught.value.details["image"], caught.value.details["work_request"]) == (begun.image["id"], begun.work_request)
    cloud.control.forget()
    again = account.create(wanted(), images.new_token(), same(wanted()))
    assert (again.created, again.image["id"], again.work_request) == (False, begun.image["id"], None)
    cloud.control.set(import_seconds=0.1)
    assert account.wait(again.image, patience())["lifecycle_state"] == "AVAILABLE"
    assert only_reads(cloud) and "list_work_requests" in cloud.control.counters()["operations"]


def test_waiting_without_a_work_request(cloud, account, wanted, patience, monkeypatch):
    cloud.control.set(import_seconds=10)
    begun = account.create(wanted(), images.new_token())
    # the cloud has forgotten it
    monkeypatch.setattr(work_requests, "latest", lambda *_args: None)
    with pytest.raises(work_requests.NotYet) as caught:
        account.wait(begun.image, patience(0))
    assert caught.value.details["image"] == begun.image["id"]
    cloud.control.set(import_seconds=0.1)
    events = []
    progress = Progress(events.append, interval=0)
    assert account.wait(begun.image, patience(), progress, "ocid1.coreservicesworkrequest.oc1..gone")["lifecycle_state"] == "AVAILABLE"
    assert {event["phase"] for event in events} == {"importing the image"} and events[-1]["total"] is None and events[-1]["elapsed"] > 0
    cloud.control.set(import_outcome="FAILED")
    begun = account.create(wanted(name="two"), images.new_token())
    with pytest.raises(ImageError, match="the image is DELETED: its import has failed, or somebody"):
        account.wait(begun.image, patience())


def test_who_may_not_see_work_requests_waits_for_the_image(account, wanted, patience, monkeypatch):
    begun = account.create(wanted(), images.new_token())

    def refuse(*_args):
        raise CloudFault("it is not there", status=404)
    monkeypatch.setattr(work_requests, "latest", refuse)
    assert account.wait(begun.image, patience())["lifecycle_state"] == "AVAILABLE"


def test_why_an_image_is_gone_is_told_to_who_comes_later(cloud, account, wanted, patience):
    cloud.control.set(import_outcome="FAILED")
    begun = account.create(wanted(), images.new_token())
    with pytest.raises(work_requests.Ended):
        account.wait(begun.image, patience(), work_request=begun.work_request)
    with pytest.raises(work_requests.Ended, match="importing the image failed: Image import failed, as the test asked for"):
        account.wait(account.get(begun.image["id"]), patience())


def test_an_image_that_somebody_removes_at_once(cloud, account, wanted, patience):
    begun = account.create(wanted(), images.new_token())
    account.wait(begun.image, patience(), work_request=begun.work_request)
    account.delete(begun.image["id"], patience())
    with pytest.raises(ImageError, match="the image is DELETED: somebody has changed that since its import"):
        account.wait(begun.image, patience(), work_request=begun.work_request)


# --- never two of them -----------------------------------------------------------------------------------


def test_a_lost_answer_makes_no_second_image(cloud, account, wanted, patience):
    cloud.control.faults({"kind": "lost_answer", "times": 2, "operations": ["create_image"]})
    begun = account.create(wanted(), images.new_token(), same(wanted()))
    assert cloud.control.counters()["operations"]["create_image"] == 3
    assert [image["id"] for image in living(cloud, account, wanted())] == [begun.image["id"]]
    assert account.wait(begun.image, patience(), work_request=begun.work_request)["id"] == begun.image["id"]


def test_a_run_that_ended_before_it_got_its_answer(cloud, account, start, wanted, patience):
    cloud.control.faults({"kind": "lost_answer", "times": 1, "operations": ["create_image"]})
    with pytest.raises(OSError):
        start(freeform_tags=wanted().freeform)
    again = account.create(wanted(), images.new_token(), same(wanted()))
    assert not again.created and len(living(cloud, account, wanted())) == 1
    assert account.wait(again.image, patience())["lifecycle_state"] == "AVAILABLE"


def test_a_retry_token_that_is_used_up(cloud, account, wanted, patience):
    token = images.new_token()
    first = account.create(wanted(), token)
    account.wait(first.image, patience(), work_request=first.work_request)
    assert account.create(wanted(), token).image["id"] == first.image["id"]
    # another body, then one whose image has been removed
    second = account.create(wanted(name="other"), token)
    assert second.image["id"] != first.image["id"]
    account.delete(first.image["id"], patience())
    assert account.create(wanted(), token).image["id"] not in (first.image["id"], second.image["id"])


def test_a_full_service_limit_is_told_in_words(cloud, account, wanted):
    cloud.control.set(image_limit=0)
    with pytest.raises(CloudFault) as caught:
        account.create(wanted(), images.new_token())
    told = str(caught.value)
    assert caught.value.code == "LimitExceeded"
    assert "a limit of the service is reached" in told and "custom-image-count" in told and "ask for a higher limit" in told


# --- found -----------------------------------------------------------------------------------------------


def test_images_are_found_on_all_pages(cloud, account, imported, wanted):
    digest = same(wanted())
    made = [imported(f"page {number}", freeform_tags=digest if number % 2 else {}) for number in range(7)]
    cloud.control.set(page_size=5)
    cloud.control.forget()
    found = account.find(cloud.compartment, tags=digest)
    # newest first
    assert [image["id"] for image in found] == [made[number] for number in (5, 3, 1)]
    assert set(cloud.control.counters()["operations"]) == {"list_images"} and cloud.control.counters()["operations"]["list_images"] > 1
    assert [image["id"] for image in account.find(cloud.compartment, name="page 2") if image["id"] in made] == [made[2]]
    assert account.find(cloud.compartment, name="page 2", tags=digest) == []
    other = cloud.about["compartments"]["sandbox"]
    assert account.find(other, tags=digest) == []


def test_deleted_images_are_found_only_where_they_are_asked_for(cloud, account, imported, wanted, patience):
    digest = same(wanted())
    image = imported(freeform_tags=digest)
    assert account.delete(image, patience()) is True
    assert account.find(cloud.compartment, tags=digest) == []
    assert [one["id"] for one in account.find(cloud.compartment, tags=digest, state="DELETED")] == [image]
    assert account.get(image)["lifecycle_state"] == "DELETED" and account.get("ocid1.image.oc1..none") is None


def image(state, compartment="here", created="2026-01-01T00:00:00+00:00", **fields):
    return dict({"id": f"{state} {created}", "lifecycle_state": state, "compartment_id": compartment, "time_created": created, "freeform_tags": {},
                 "defined_tags": {}, "display_name": "ock"}, **fields)


def test_images_of_the_platform_are_in_every_list():
    listed = [image("AVAILABLE", None), image("AVAILABLE"), image("AVAILABLE", created="2026-01-01T00:00:00.001000+00:00")]
    assert images._selected(listed, "here", {}) == [listed[2], listed[1]]


def test_of_several_images_one_that_is_ready_is_taken():
    states = ["DISABLED", "IMPORTING", "EXPORTING", "AVAILABLE"]
    assert images.choose([image(state) for state in states])["lifecycle_state"] == "EXPORTING"
    assert images.choose([image(state) for state in states[:2]])["lifecycle_state"] == "IMPORTING"
    assert images.choose([image("DISABLED"), image("DELETED")]) is None and images.choose([]) is None


# --- changed in place ------------------------------------------------------------------------------------


def test_drift_is_corrected_in_place_and_then_there_is_none(cloud, account, imported):
    identity = imported("old", freeform_tags={"theirs": "1", images.ARCHITECTURE: "arm64"})
    names = {"name": "new", "freeform": {images.ARCHITECTURE: "amd64"}, "defined": {"operations": {"owner": "me"}}}
    changes = images.drift(account.get(identity), **names)
    assert changes == {"display_name": "new", "freeform_tags": {"theirs": "1", images.ARCHITECTURE: "amd64"},
                       "defined_tags": {"operations": {"owner": "me"}}}
    changed = account.update(identity, changes)
    assert {field: changed[field] for field in changes} == changes
    cloud.control.forget()
    assert images.drift(account.get(identity), **names) == {}
    assert only_reads(cloud)


def test_nothing_to_do_is_a_few_requests_that_only_read(cloud, session, account, wanted, patience):
    new = dataclasses.replace(wanted(), compartment=cloud.about["compartments"]["team/builds"])

    def run():
        """What a task does with an image that is imported."""
        kept, entries = schemas.Schemas(session), shapes.Shapes(session)
        found = account.create(new, images.new_token(), same(new))
        image = account.wait(found.image, patience(), work_request=found.work_request)
        changes = images.drift(image, new.name, new.freeform, new.defined)
        return [found.created, bool(changes), kept.ensure(image).changed, entries.ensure(image["id"], "arm64").changed]
    assert run() == [True, False, True, True]
    cloud.control.forget()
    assert run() == [False, False, False, False]
    assert only_reads(cloud) and len(cloud.control.counters()["requests"]) <= 5


def test_what_nobody_names_is_no_drift():
    there = image("AVAILABLE", freeform_tags={"a": "1"}, defined_tags={"Oracle-Tags": {"CreatedBy": "me"}, "Operations": {"Cost": "7"}})
    assert images.drift(there) == {}
    # names of defined tags are the same in capitals, and values are text
    assert images.drift(there, "ock", {"a": "1"}, {"operations": {"cost": 7}}) == {}
    changes = images.drift(there, defined={"operations": {"cost": 8}})
    assert changes == {"defined_tags": {"Oracle-Tags": {"CreatedBy": "me"}, "Operations": {"Cost": 8}}}
    assert images.drift(dict(there, freeform_tags=None, defined_tags=None), freeform={"b": ""}) == {"freeform_tags": {"b": ""}}
    there["operating_system"] = "Custom"
    assert images.drift(there, operating_system=None) == images.drift(there, operating_system="Custom") == {}
    assert images.drift(there, operating_system="Oracle Linux") == {"operating_system": "Oracle Linux"}


def test_a_tag_that_nobody_has_defined(account, imported):
    identity = imported()
    with pytest.raises(CloudFault, match="changing defined_tags of the image failed: TagNamespace or TagKey does not exist"):
        account.update(identity, {"defined_tags": {"none": {"a": "b"}}})


@pytest.mark.parametrize("fields, told", [
    ({"name": ""}, "1 to 255 characters"), ({"name": "x" * 256}, "and this one has 256"),
    ({"freeform": {str(number): "" for number in range(11)}}, "there are 11 freeform tags"),
    ({"freeform": {"ocne.images/recipe": ""}}, "cannot be 'ocne.images/recipe'"), ({"freeform": {"a b": ""}}, "no periods and spaces"),
    ({"freeform": {"x" * 101: ""}}, "at most 100 characters"), ({"freeform": {"é": ""}}, "of ASCII"),
    ({"freeform": {"a": "x" * 257}}, "tag a has 257 characters"), ({"defined": {"n": {"a": "x" * 257}}}, "tag a has 257 characters"),
    ({"defined": {"n": {str(number): "" for number in range(65)}}}, "64 defined tags"),
])
def test_names_and_tags_that_the_cloud_does_not_accept(fields, told):
    with pytest.raises(ImageError, match=told):
        images.check_names(**dict({"name": "ock", "freeform": {}, "defined": {}}, **fields))


def test_our_own_tags_are_accepted():
    keys = (images.ARCHITECTURE, images.KUBERNETES, images.RECIPE, images.CONTENT, images.SOURCE)
    images.check_names("ock", {key: "f" * 64 for key in keys}, {"operations": {"owner": "me"}})


# --- removed ---------------------------------------------------------------------------------------------


def test_an_image_is_removed_once(cloud, account, imported, patience):
    identity = imported()
    assert account.delete(identity, patience()) is True
    assert account.delete(identity, patience()) is False
    assert cloud.control.left()["images"][identity] == "DELETED"


def test_a_removal_whose_answer_is_lost(cloud, account, imported, patience):
    identity = imported()
    cloud.control.faults({"kind": "lost_answer", "times": 1, "operations": ["delete_image"]})
    assert account.delete(identity, patience()) is True


def test_an_image_under_import_is_not_removed(cloud, account, start, patience):
    cloud.control.set(import_seconds=10)
    identity, request = start()
    with pytest.raises(CloudFault, match="removing the image failed") as caught:
        account.delete(identity, patience())
    assert caught.value.code == "IncorrectState"
    cloud.control.set(import_seconds=0.1)
    account.wait(account.get(identity), patience(), work_request=request)


def test_a_removal_that_takes_too_long(account, imported, patience, monkeypatch):
    monkeypatch.setattr(account, "_gone", lambda _identity: False)
    with pytest.raises(work_requests.NotYet, match="not gone after 0 s"):
        account.delete(imported(), patience(0))
