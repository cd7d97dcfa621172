# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The object that an image is imported from: made, gone on with, taken over from others, removed."""

from __future__ import annotations

import base64
import hashlib
import secrets
import ssl
import time
import urllib.request

import pytest

from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle.object_storage import Storage
from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle.session import Session
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.targets.journal import Journal
from ansible_collections.ocne.images.plugins.module_utils.targets.oracle_object import PREFIX, ImageObject, Terms, clear
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.clouds.conftest import options_for

pytest.importorskip("oci.core")   # the bare name could be the lab's own folder


@pytest.fixture
def storage(session):
    return Storage(session, retry_seconds=30)


@pytest.fixture
def bucket(cloud):
    made = cloud.bucket()
    cloud.control.forget()
    return made


@pytest.fixture
def terms(bucket):
    return Terms(bucket, part_size=256 << 10, parallel=3)


@pytest.fixture
def begun(journal, storage, terms, image):
    """A new entry, and its object: begun(**fields of Terms)."""
    def made(entry=None, **fields):
        for name, value in fields.items():
            setattr(terms, name, value)
        entry = entry or journal.new(content=image.content, bucket=terms.bucket)
        return entry, ImageObject(storage, terms, entry, image)
    return made


def left(cloud, bucket):
    """(objects, uploads, shares) of a bucket."""
    told = cloud.control.left()
    shares = cloud.storage.list_preauthenticated_requests(cloud.namespace, bucket).data
    return *(len([one for one in told[kind] if one.startswith(bucket + "/")]) for kind in ("objects", "uploads")), len(shares)


def puts(cloud):
    return cloud.control.counters()["operations"].get("upload_part", 0)


def test_sent_and_removed(begun, cloud, image, bucket, file):
    entry, one = begun()
    sent = one.bring()
    assert (sent.sent, sent.kept) == (image.size, 0)
    assert sent.name == f"{PREFIX}{image.content}/{entry.nonce}.qcow2"
    assert cloud.storage.get_object(cloud.namespace, bucket, sent.name).data.content == file.read_bytes()
    assert entry["complete"] and entry["upload"] and left(cloud, bucket) == (1, 0, 0)
    one.clear()
    assert left(cloud, bucket) == (0, 0, 0) and not list(file.parent.glob(".*"))


def test_a_bucket_is_made_only_where_that_is_wanted(begun, cloud, storage):
    name = "b" + secrets.token_hex(6)
    with pytest.raises(ImageError, match="create_bucket"):
        begun(bucket=name)[1].bring()
    assert storage.bucket(name) is None
    begun(compartment=cloud.compartment)[1].bring()
    assert storage.bucket(name).compartment_id == cloud.compartment


def test_gone_on_with(begun, cloud, image, storage, file):
    entry, one = begun()
    cloud.control.faults({"kind": "401", "times": 1, "skip": 2, "operations": ["upload_part"]})
    with pytest.raises(ImageError):
        one.bring()
    there = storage.parts(entry["bucket"], entry["object"], entry["upload"])
    assert 1 <= len(there) < 1 + image.size // (256 << 10)
    cloud.control.faults()
    cloud.control.forget()
    entry.release()
    again, = Journal(str(file)).left()
    sent = begun(again)[1].bring()
    assert sent.kept == sum(part.size for part in there.values()) and sent.sent == image.size - sent.kept
    assert puts(cloud) == -(-image.size // (256 << 10)) - len(there)


def test_killed_between_the_begin_and_writing_it_down(begun, cloud, storage, bucket):
    entry, one = begun()
    name = "ocne-images/lost"
    upload_id = storage.begin(bucket, name)
    entry.save(object=name, owned=True)
    one.bring()
    assert entry["upload"] == upload_id and left(cloud, bucket) == (1, 0, 0)


def test_whole_already(begun, cloud, image):
    entry, one = begun()
    one.bring()
    cloud.control.forget()
    sent = begun(entry)[1].bring()
    assert (sent.sent, sent.kept) == (0, image.size) and puts(cloud) == 0


def test_whole_once_and_removed_since(begun, cloud, image, storage, bucket):
    entry, one = begun()
    first = one.bring()
    storage.delete(bucket, first.name)
    sent = begun(entry)[1].bring()
    assert sent.sent == image.size and storage.head(bucket, sent.name)


def test_one_that_is_to_stay_is_used_and_not_removed(begun, cloud, image, bucket):
    kept = begun(keep=True)
    first = kept[1].bring()
    kept[1].clear()
    assert left(cloud, bucket) == (1, 0, 0)
    cloud.control.forget()
    entry, one = begun(keep=False)
    sent = one.bring()
    assert (sent.name, sent.sent, puts(cloud)) == (first.name, 0, 0)
    one.clear()
    assert left(cloud, bucket) == (1, 0, 0)


def test_another_run_s_is_not_touched_while_it_is_young(begun, cloud, image, bucket):
    theirs = begun()[1].bring()
    mine = begun()[1].bring()
    assert mine.name != theirs.name and mine.sent == image.size and left(cloud, bucket) == (2, 0, 0)


def test_what_another_run_left_behind_is_taken_or_removed(begun, cloud, image, bucket):
    names = {begun()[1].bring().name for _number in range(2)}
    cloud.control.forget()
    entry, one = begun(adopt_after=-1)
    sent = one.bring()
    assert sent.name in names and sent.sent == 0 and puts(cloud) == 0 and left(cloud, bucket) == (1, 0, 0)
    one.clear()
    assert left(cloud, bucket) == (0, 0, 0)


def test_an_unfinished_upload_that_was_left_behind_is_gone_on_with(begun, cloud, image, bucket):
    cloud.control.faults({"kind": "401", "times": 1, "skip": 2, "operations": ["upload_part"]})
    theirs, one = begun()
    with pytest.raises(ImageError):
        one.bring()
    cloud.control.faults()
    second = begun()[0]
    second.save(object=f"{PREFIX}{image.content}/other.qcow2")
    young = begun()[1].bring()
    assert young.name != theirs["object"] and left(cloud, bucket) == (1, 1, 0)
    entry, again = begun(adopt_after=-1)
    # the whole one is preferred, and the other one goes
    assert again.bring().name == young.name and left(cloud, bucket) == (1, 0, 0)


def test_one_with_other_bytes_under_that_name_is_not_taken(begun, cloud, image, storage, bucket):
    name = f"{PREFIX}{image.content}/foreign.qcow2"
    cloud.storage.put_object(cloud.namespace, bucket, name, b"\0" * image.size)
    sent = begun(adopt_after=-1)[1].bring()
    assert sent.name != name and sent.sent == image.size
    assert storage.head(bucket, name) is None


def test_an_address_for_reading_goes_with_it(begun, cloud, bucket, storage):
    entry, one = begun()
    one.bring()
    url = one.share_for_reading()
    assert "/p/" in url and left(cloud, bucket) == (1, 0, 1)
    assert url not in str(entry.values) and url.split("/p/")[1].split("/")[0] not in str(entry.values)
    clear(storage, bucket, entry)
    assert left(cloud, bucket) == (0, 0, 0)


def test_an_unfinished_upload_is_given_up_with_it(begun, cloud, bucket, storage):
    cloud.control.faults({"kind": "401", "times": 1, "operations": ["upload_part"]})
    entry, one = begun()
    with pytest.raises(ImageError):
        one.bring()
    assert left(cloud, bucket) == (0, 1, 0)
    clear(storage, bucket, entry)
    assert left(cloud, bucket) == (0, 0, 0)


# --- requests that were given up, and reach the cloud after all ----------------------------------------


@pytest.fixture
def hasty(cloud):
    """A storage that does not wait for answers as long as the cloud takes for one of this operation."""
    def made(operation):
        cloud.control.faults({"kind": "stall", "times": 1, "seconds": 2.5, "operations": [operation]})
        return Storage(Session(options_for(cloud, read_timeout=1)), retry_seconds=30)
    return made


def until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_upload_that_began_late_goes_with_the_object(hasty, cloud, bucket, journal, terms, image):
    entry = journal.new(content=image.content, bucket=bucket)
    one = ImageObject(hasty("create_multipart_upload"), terms, entry, image)
    one.bring()
    until(lambda: left(cloud, bucket) == (1, 1, 0))
    one.clear()
    assert left(cloud, bucket) == (0, 0, 0)


@pytest.mark.parametrize("operation, late", [("create_preauthenticated_request", (0, 1, 2)), ("par_put_object", (0, 2, 1))])
def test_what_came_late_of_a_share_for_writing_goes_with_the_object(hasty, cloud, bucket, journal, terms, image, file, operation, late):
    def send(url, part_size, _there):
        until(lambda: left(cloud, bucket) == late)
        data, trust = file.read_bytes(), ssl.create_default_context(cafile=cloud.about["ca"])
        parts = {number: data[at:at + part_size] for number, at in enumerate(range(0, len(data), part_size), 1)}
        for number, part in parts.items():
            with urllib.request.urlopen(urllib.request.Request(f"{url}{number}", part, method="PUT"), context=trust, timeout=20) as answer:
                assert answer.status == 200
        return {number: base64.b64encode(hashlib.md5(part).digest()).decode() for number, part in parts.items()}

    entry = journal.new(content=image.content, bucket=bucket)
    one = ImageObject(hasty(operation), terms, entry, image, send=send)
    assert one.bring().sent == image.size
    one.clear()
    assert left(cloud, bucket) == (0, 0, 0)
