# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Buckets, objects, unfinished uploads and pre-authenticated requests, against the lab's endpoint. The sending of files: test_upload.py."""

from __future__ import annotations

import base64
import hashlib
import importlib
import secrets
import time

import pytest

from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle.faults import CloudFault
from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle.object_storage import Storage
from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle.session import Session
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.clouds.conftest import options_for

pytest.importorskip("oci.core")   # the bare name could be the lab's own folder
oci = importlib.import_module("oci")


def md5(data):
    return base64.b64encode(hashlib.md5(data).digest()).decode()


def new_name():
    return "n" + secrets.token_hex(6)


@pytest.fixture
def storage(session):
    return Storage(session)


def operations(cloud):
    return cloud.control.counters()["operations"]


class Regions(Session):
    """The lab's regions, each with an address of its own, as a session has them where no endpoints are given."""

    def __init__(self, cloud):
        self.cloud = cloud
        super().__init__(options_for(cloud))

    def endpoint(self, service):
        return None

    def object_storage(self, region=None):
        return Session(options_for(self.cloud, region)).object_storage() if region else super().object_storage()


# --- buckets -----------------------------------------------------------------------------------------


def test_the_namespace_is_asked_for_once(cloud, storage):
    assert storage.namespace == storage.namespace == cloud.namespace
    assert operations(cloud) == {"get_namespace": 1}


def test_another_namespace(cloud, session):
    assert Storage(session, namespace="other").bucket(cloud.bucket()) is None
    assert "get_namespace" not in operations(cloud)


def test_a_bucket_is_found_or_made(cloud, storage):
    name = new_name()
    assert storage.bucket(name) is None
    made, new = storage.need_bucket(name, cloud.compartment)
    assert (made.name, made.compartment_id, made.public_access_type, new) == (name, cloud.compartment, "NoPublicAccess", True)
    again, new = storage.need_bucket(name, cloud.compartment)
    assert (again.name, new) == (name, False) and storage.need_bucket(name)[0].name == name


def test_a_bucket_whose_making_was_not_heard_of(cloud, storage):
    cloud.control.faults({"kind": "lost_answer", "times": 1, "operations": ["create_bucket"]})
    assert storage.need_bucket(new_name(), cloud.compartment)[1] is True
    assert operations(cloud)["create_bucket"] == 1


def test_a_bucket_that_somebody_else_makes_meanwhile(cloud, storage, monkeypatch):
    name, real = cloud.bucket(), storage.bucket
    answers = [None]
    monkeypatch.setattr(storage, "bucket", lambda asked: answers.pop() if answers else real(asked))
    assert (storage.need_bucket(name, cloud.compartment)[0].name, answers) == (name, [])


def test_a_bucket_that_is_not_there(storage):
    with pytest.raises(ImageError, match="^none: there is no such bucket in the region us-ashburn-1, or .*; check bucket and region, set create"):
        storage.need_bucket("none")


def test_a_bucket_in_another_region(cloud):
    name, storage = cloud.bucket(region="eu-frankfurt-1"), Storage(Regions(cloud))
    with pytest.raises(ImageError, match=f"^{name}: the bucket is in the region eu-frankfurt-1, not in us-ashburn-1; name one in the region of"):
        storage.need_bucket(name)
    with pytest.raises(ImageError, match="there is no such bucket in the region us-ashburn-1"):
        storage.need_bucket("none")


def test_a_limit_of_buckets(cloud, storage):
    cloud.control.set(bucket_limit=0)
    with pytest.raises(CloudFault, match="making the bucket failed: a limit of the service is reached .* ask for a higher limit"):
        storage.need_bucket(new_name(), cloud.compartment)


def test_a_bucket_in_a_compartment_that_is_not_there(storage):
    with pytest.raises(CloudFault, match="making the bucket failed: it is not there, or this user may not see it"):
        storage.need_bucket(new_name(), "ocid1.compartment.oc1..none")


# --- objects -----------------------------------------------------------------------------------------


def test_objects(cloud, storage):
    bucket, client = cloud.bucket(), cloud.storage
    for name in [f"p/{number}" for number in range(7)] + ["q"]:
        client.put_object(cloud.namespace, bucket, name, name.encode(), opc_meta={"digest": "abc"})
    cloud.control.set(page_size=3)
    cloud.control.faults({"kind": "503", "times": 1, "operations": ["list_objects"]})
    found = list(storage.objects(bucket, "p/"))
    assert [(one.name, one.size, one.md5, one.multipart_md5) for one in found] == [
        (f"p/{number}", 3, md5(f"p/{number}".encode()), None) for number in range(7)]
    assert found[0].created and len(list(storage.objects(bucket))) == 8
    there = storage.head(bucket, "p/3")
    assert (there.name, there.size, there.md5, there.etag, there.metadata) == ("p/3", 3, md5(b"p/3"), found[3].etag, {"digest": "abc"})
    assert storage.head(bucket, "p/9") is None
    assert storage.delete(bucket, "p/3") is True and storage.head(bucket, "p/3") is None and storage.delete(bucket, "p/3") is False


def test_a_removal_whose_answer_was_lost_is_one(cloud, storage):
    bucket = cloud.bucket()
    cloud.storage.put_object(cloud.namespace, bucket, "x", b"1")
    cloud.control.faults({"kind": "lost_answer", "times": 1, "operations": ["delete_object"]})
    assert storage.delete(bucket, "x") is True
    assert operations(cloud)["delete_object"] == 2


def test_objects_of_a_bucket_that_is_not_there(storage):
    with pytest.raises(CloudFault, match="^none: listing objects failed: Either the bucket named 'none' does not exist .*; check its name"):
        list(storage.objects("none"))


# --- unfinished uploads ------------------------------------------------------------------------------


def test_uploads(cloud, storage):
    bucket = cloud.bucket()
    ids = {name: storage.begin(bucket, name, {"digest": "abc"}) for name in ("a/1", "a/2", "a/3", "b")}
    cloud.control.set(page_size=2)
    assert {one.object: one.upload_id for one in storage.uploads(bucket, "a/")} == {name: ids[name] for name in ("a/1", "a/2", "a/3")}
    assert len(storage.uploads(bucket)) == 4 and storage.uploads(bucket)[0].time_created
    for number in range(1, 6):
        cloud.storage.upload_part(cloud.namespace, bucket, "b", ids["b"], number, b"%d" % number)
    parts = storage.parts(bucket, "b", ids["b"])
    assert [(number, part.size, part.md5) for number, part in sorted(parts.items())] == [(number, 1, md5(b"%d" % number)) for number in range(1, 6)]
    assert storage.abort(bucket, "b", ids["b"]) is True and storage.abort(bucket, "b", ids["b"]) is False
    with pytest.raises(CloudFault) as caught:
        storage.parts(bucket, "b", ids["b"])
    assert caught.value.missing


def test_an_upload_whose_beginning_was_not_heard_of(cloud, storage):
    bucket = cloud.bucket()
    storage.begin(bucket, "xy")
    cloud.control.faults({"kind": "lost_answer", "times": 1, "operations": ["create_multipart_upload"]})
    begun = storage.begin(bucket, "x")
    assert [one.upload_id for one in storage.uploads(bucket) if one.object == "x"] == [begun]
    cloud.control.faults({"kind": "reset", "times": 1, "operations": ["create_multipart_upload"]})
    storage.begin(bucket, "z")
    assert sorted(one.object for one in storage.uploads(bucket)) == ["x", "xy", "z"]


# --- pre-authenticated requests ----------------------------------------------------------------------


def get(cloud, url, method="GET", data=None):
    return oci._vendor.requests.request(method, url, data=data, verify=cloud.about["ca"], timeout=20)


def test_a_share_for_reading(cloud, storage):
    bucket, label = cloud.bucket(), new_name()
    cloud.storage.put_object(cloud.namespace, bucket, "folder/a b", b"data")
    share = storage.share(bucket, "folder/a b", "ObjectRead", 600, label)
    assert get(cloud, share.url).content == b"data"
    assert get(cloud, share.url, "PUT", b"other").status_code == 404
    assert 590 < share.expires.timestamp() - time.time() <= 600
    assert share.url in storage.session.secrets and share.url not in repr(share)
    told = [(one.identity, one.label, one.name, one.url) for one in storage.shares(bucket, "folder/")]
    assert told == [(share.identity, label, "folder/a b", None)] and storage.shares(bucket, "other") == []
    assert storage.unshare(bucket, share.identity) is True and get(cloud, share.url).status_code == 401
    assert storage.unshare(bucket, share.identity) is False


def test_a_share_expires(cloud, storage):
    bucket = cloud.bucket()
    cloud.storage.put_object(cloud.namespace, bucket, "x", b"data")
    share = storage.share(bucket, "x", "ObjectRead", 2, new_name())
    time.sleep(2.1)
    assert get(cloud, share.url).status_code == 401


@pytest.mark.parametrize("kind", ["lost_answer", "reset", "503"])
def test_no_share_is_left_that_nobody_knows(cloud, storage, kind):
    bucket = cloud.bucket()
    other = storage.share(bucket, "x", "ObjectRead", 600, new_name())
    cloud.control.faults({"kind": kind, "times": 2, "operations": ["create_preauthenticated_request"]})
    share = storage.share(bucket, "x", "ObjectRead", 600, new_name())
    assert {one.identity for one in storage.shares(bucket)} == {share.identity, other.identity}


@pytest.mark.parametrize("kind", [None, "lost_answer", "429"])
def test_an_upload_through_a_share(cloud, storage, kind):
    bucket = cloud.bucket()
    share = storage.share(bucket, "big", "ObjectWrite", 600, new_name())
    if kind:
        cloud.control.faults({"kind": kind, "times": 1, "operations": ["par_put_object"]})
    upload_id, url = storage.begin_shared(bucket, share)
    assert [one.upload_id for one in storage.uploads(bucket)] == [upload_id] and url in storage.session.secrets
    for number in (1, 2):
        assert get(cloud, f"{url}{number}", "PUT", b"%d" % number * 10).status_code == 200
    parts = storage.parts(bucket, "big", upload_id)
    headers = storage.commit(bucket, "big", upload_id, {number: part.etag for number, part in parts.items()}, (), lambda: None)
    assert headers["opc-multipart-md5"] == storage.head(bucket, "big").multipart_md5
    assert get(cloud, f"{url}3", "PUT", b"3").status_code >= 400


def test_no_address_of_a_share_is_in_an_error(cloud):
    bucket, storage = cloud.bucket(), Storage(Session(options_for(cloud, read_timeout=1)), retry_seconds=0)
    share = storage.share(bucket, "big", "ObjectWrite", 600, new_name())
    for kind in ("lost_answer", "503", "stall"):
        cloud.control.faults({"kind": kind, "times": 1, "operations": ["par_put_object"], **({"seconds": 3} if kind == "stall" else {})})
        with pytest.raises(CloudFault) as caught:
            storage.begin_shared(bucket, share)
        token = share.url.split("/p/")[1].split("/")[0]
        assert token not in str(caught.value) and token not in str(caught.value.as_dict())
        assert caught.value.__cause__ is None and caught.value.__suppress_context__
    storage.unshare(bucket, share.identity)
    with pytest.raises(CloudFault, match="beginning the upload failed: the cloud does not accept the credentials"):
        storage.begin_shared(bucket, share)
