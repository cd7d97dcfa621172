# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A local file becomes an object of the lab's endpoint: whole, resumed, through faults, interrupted, in little memory."""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
import os
import secrets
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from ansible_collections.ocne.images.plugins.module_utils.builders import local
from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle import upload as upload_file
from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle.faults import CloudFault
from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle.object_storage import Storage
from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle.session import Session
from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle.upload import PART_SIZE, complete, part_size_of, upload, whole_md5
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError, Interrupted
from ansible_collections.ocne.images.plugins.module_utils.common.process import descendants
from ansible_collections.ocne.images.plugins.module_utils.common.progress import Progress
from ansible_collections.ocne.images.plugins.module_utils.work import send
from ansible_collections.ocne.images.plugins.module_utils.work.job import Job, dump
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.clouds.conftest import options_for
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.work.shared_uploads import settled

pytest.importorskip("oci.core")   # the bare name could be the lab's own folder
oci = importlib.import_module("oci")

MIB = 1 << 20


def multipart_md5(data, part_size):
    digests = [hashlib.md5(data[at:at + part_size]).digest() for at in range(0, len(data), part_size)]
    return f"{base64.b64encode(hashlib.md5(b''.join(digests)).digest()).decode()}-{len(digests)}"


@pytest.fixture
def storage(session):
    return Storage(session, retry_seconds=60)


@pytest.fixture
def bucket(cloud):
    made = cloud.bucket()
    cloud.control.forget()
    return made


@pytest.fixture
def image(tmp_path):
    """(path, bytes) of a file of 12 parts of 256 KiB, the last one shorter."""
    data = os.urandom(12 * MIB // 4 - 1000)
    (tmp_path / "image").write_bytes(data)
    return str(tmp_path / "image"), data


SMALL = {"part_size": MIB // 4, "parallel": 3}


def content(cloud, bucket, name):
    return cloud.storage.get_object(cloud.namespace, bucket, name).data.content


def nothing_left(cloud, bucket):
    """Whether no upload of this bucket is left."""
    return not [one for one in cloud.control.left()["uploads"] if one.startswith(bucket + "/")]


# --- sizes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size, wanted, part", [
    (1, None, PART_SIZE), (4 << 30, None, PART_SIZE), (PART_SIZE * 10_000, None, PART_SIZE), (PART_SIZE * 10_000 + 1, None, 17 * MIB),
    (400 * 10 ** 9, None, 39 * MIB), (10 << 40, None, 1049 * MIB), (1, MIB, MIB), (MIB * 10_000 + 1, MIB, 2 * MIB), (1, 1000, 1000),
])
def test_ten_thousand_parts_suffice(size, wanted, part):
    assert part_size_of(size, wanted) == part and -(-size // part) <= 10_000


# --- round trips -------------------------------------------------------------------------------------


def test_a_file_becomes_an_object(cloud, storage, bucket, image):
    path, data = image
    told, begun = [], []
    done = upload(storage, bucket, "folder/ä b", path, progress=Progress(told.append, interval=0), metadata={"digest": "abc"},
                  content_type="application/x-x", on_begin=lambda *args: begun.append(args), **SMALL)
    assert done == {"size": len(data), "etag": done["etag"], "multipart_md5": multipart_md5(data, MIB // 4), "upload_id": begun[0][0],
                    "sent": len(data), "kept": 0}
    assert content(cloud, bucket, "folder/ä b") == data and begun == [(done["upload_id"], MIB // 4)]
    there = storage.head(bucket, "folder/ä b")
    assert (there.etag, there.size, there.multipart_md5, there.metadata) == (done["etag"], len(data), done["multipart_md5"], {"digest": "abc"})
    assert (told[0]["phase"], told[0]["total"], told[-1]["done"]) == ("uploading", len(data), len(data))
    assert cloud.control.counters()["parts"] == {done["upload_id"]: {str(number): 1 for number in range(1, 13)}}
    assert nothing_left(cloud, bucket)


@pytest.mark.parametrize("size", [1, MIB // 4, MIB // 2, MIB // 2 + 1])
def test_files_of_other_sizes(cloud, storage, bucket, tmp_path, size):
    data = os.urandom(size)
    (tmp_path / "image").write_bytes(data)
    assert upload(storage, bucket, "x", str(tmp_path / "image"), **SMALL)["multipart_md5"] == multipart_md5(data, MIB // 4)
    assert content(cloud, bucket, "x") == data


def test_default_parts(cloud, storage, bucket, tmp_path):
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(PART_SIZE + 5)
    assert upload(storage, bucket, "x", str(tmp_path / "sparse"))["multipart_md5"].endswith("-2")


def test_files_that_cannot_be(storage, bucket, tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(1 << 43)
    for name, words in (("none", "reading the file to upload failed: no such file"), ("empty", "the file is empty"), ("", "is a directory")):
        with pytest.raises(ImageError, match=words):
            upload(storage, bucket, "x", str(tmp_path / name))
    if os.stat(tmp_path / "huge").st_size == 1 << 43:
        assert part_size_of(1 << 43) * 10_000 >= 1 << 43


def test_a_bucket_that_is_not_there(cloud, storage, image):
    with pytest.raises(CloudFault, match="^none/x: beginning the upload failed: Either the bucket named 'none' does not exist"):
        upload(storage, "none", "x", image[0], **SMALL)


# --- going on ----------------------------------------------------------------------------------------


def test_only_what_is_missing_is_sent(cloud, storage, bucket, image):
    path, data = image
    begun = storage.begin(bucket, "x")
    part = MIB // 4
    there = {1: data[:part], 3: data[2 * part:3 * part], 4: b"of another file", 5: os.urandom(part), 12: data[11 * part:], 15: b"over"}
    for number, sent in there.items():
        cloud.storage.upload_part(cloud.namespace, bucket, "x", begun, number, sent)
    done = upload(storage, bucket, "x", path, upload_id=begun, **SMALL)
    assert done["upload_id"] == begun and done["kept"] == 2 * part + len(data) - 11 * part and done["sent"] + done["kept"] == len(data)
    assert content(cloud, bucket, "x") == data
    assert cloud.control.counters()["parts"][begun] == {**{str(number): 1 for number in (1, 2, 3, 6, 7, 8, 9, 10, 11, 12, 15)}, "4": 2, "5": 2}


def test_the_size_of_the_parts_is_that_of_who_began(cloud, storage, bucket, image):
    path, data = image
    begun, told = storage.begin(bucket, "x"), []
    for number in (2, 3):
        cloud.storage.upload_part(cloud.namespace, bucket, "x", begun, number, data[(number - 1) * 300_000:number * 300_000])
    done = upload(storage, bucket, "x", path, upload_id=begun, on_begin=lambda *args: told.append(args), **SMALL)
    assert told == [(begun, 300_000)] and done["kept"] == 600_000 and content(cloud, bucket, "x") == data


def test_an_upload_that_is_gone_is_begun_anew(cloud, storage, bucket, image):
    begun = storage.begin(bucket, "x")
    storage.abort(bucket, "x", begun)
    done = upload(storage, bucket, "x", image[0], upload_id=begun, **SMALL)
    assert done["upload_id"] != begun and done["kept"] == 0 and content(cloud, bucket, "x") == image[1]


def test_an_upload_that_is_complete_already(cloud, storage, bucket, image):
    first = upload(storage, bucket, "x", image[0], **SMALL)
    cloud.control.forget()
    again = upload(storage, bucket, "x", image[0], upload_id=first["upload_id"], **SMALL)
    assert again == dict(first, sent=0, kept=len(image[1]))
    assert "upload_part" not in cloud.control.counters()["operations"]


def test_an_object_of_other_bytes_is_not_taken_for_ours(cloud, storage, bucket, image, tmp_path):
    first = upload(storage, bucket, "x", image[0], **SMALL)
    (tmp_path / "other").write_bytes(image[1][::-1])
    again = upload(storage, bucket, "x", str(tmp_path / "other"), upload_id=first["upload_id"], **SMALL)
    assert again["kept"] == 0 and content(cloud, bucket, "x") == image[1][::-1]


CHILD = textwrap.dedent("""
    import json, resource, sys
    from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle.object_storage import Storage
    from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle.session import Session
    from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle.upload import upload
    given = json.loads(sys.argv[1])
    storage = Storage(Session(given["options"]))
    storage.namespace
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    done = upload(storage, given["bucket"], "x", given["path"], on_begin=lambda *args: print(json.dumps(args), flush=True), **given["more"])
    print(json.dumps(dict(done, grown=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)))
""")


def child(cloud, bucket, path, **more):
    given = {"options": options_for(cloud), "bucket": bucket, "path": path, "more": more}
    return subprocess.Popen([sys.executable, "-c", CHILD, json.dumps(given)], stdout=subprocess.PIPE, text=True)


def wait(for_what, seconds=30):
    deadline = time.monotonic() + seconds
    while not for_what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_killed_process_is_gone_on_with(cloud, storage, bucket, tmp_path):
    data, part = os.urandom(8 * MIB - 100), MIB // 2
    (tmp_path / "image").write_bytes(data)
    cloud.control.set(rate=MIB // 2)
    running = child(cloud, bucket, str(tmp_path / "image"), part_size=part, parallel=3)
    upload_id, told = json.loads(running.stdout.readline())
    wait(lambda: len(cloud.control.counters()["parts"].get(upload_id, {})) >= 4)
    running.kill()
    running.wait()
    running.stdout.close()
    settled(cloud)
    cloud.control.set(rate=0)
    there = cloud.control.counters()["parts"][upload_id]
    assert 4 <= len(there) < 16 and told == part and set(there.values()) == {1}
    done = upload(storage, bucket, "x", str(tmp_path / "image"), upload_id=upload_id, part_size=part)
    assert cloud.control.counters()["parts"] == {upload_id: {str(number): 1 for number in range(1, 17)}}
    assert len(data) - done["sent"] == done["kept"] >= 4 * part - 100
    assert content(cloud, bucket, "x") == data and nothing_left(cloud, bucket)


# --- faults ------------------------------------------------------------------------------------------


def test_a_third_of_all_requests_fail(cloud, bucket, image):
    storage = Storage(Session(options_for(cloud, read_timeout=1)))
    cloud.control.set(retry_after=1)
    kinds = ("429", "500", "503", "reset", "lost_answer", "damage", "wrong_md5", "stall")
    # one rule after the other is asked: each of them gets a thirtieth or so of all requests
    cloud.control.faults(*({"kind": kind, "share": 0.044, **({"seconds": 1.5} if kind == "stall" else {})} for kind in kinds), seed=2)
    done = upload(storage, bucket, "x", image[0], part_size=MIB // 8, parallel=6)
    faults = cloud.control.counters()["faults"]
    cloud.control.faults()
    assert sum(faults.values()) >= 4 and done["multipart_md5"] == multipart_md5(image[1], MIB // 8)
    assert content(cloud, bucket, "x") == image[1] and nothing_left(cloud, bucket)


@pytest.mark.parametrize("kind", ["lost_answer", "wrong_md5", "reset", "503"])
def test_a_commit_that_fails_or_whose_answer_does(cloud, storage, bucket, image, kind):
    cloud.control.faults({"kind": kind, "times": 1, "operations": ["commit_multipart_upload"]})
    done = upload(storage, bucket, "x", image[0], **SMALL)
    there = storage.head(bucket, "x")
    assert (done["etag"], done["multipart_md5"]) == (there.etag, there.multipart_md5) == (there.etag, multipart_md5(image[1], MIB // 4))
    assert cloud.control.counters()["operations"]["commit_multipart_upload"] == (1 if kind in ("lost_answer", "wrong_md5") else 2)


def test_a_lost_answer_that_is_looked_for_in_vain_at_first(cloud, storage, bucket, image, monkeypatch):
    """The object appears only after the second attempt has been told that there is no such upload."""
    real, answers = storage.head, [None]
    monkeypatch.setattr(storage, "head", lambda *args: answers.pop() if answers else real(*args))
    cloud.control.faults({"kind": "lost_answer", "times": 1, "operations": ["commit_multipart_upload"]})
    assert upload(storage, bucket, "x", image[0], **SMALL)["multipart_md5"] == multipart_md5(image[1], MIB // 4)
    assert cloud.control.counters()["operations"]["commit_multipart_upload"] == 2


def test_a_part_that_another_one_came_in_the_place_of(cloud, storage, bucket, image, monkeypatch):
    """A request that was given up reaches the cloud late: the part's ETag is another one than was told."""
    real = storage.commit

    def late(*args):
        monkeypatch.setattr(storage, "commit", real)
        cloud.storage.upload_part(cloud.namespace, bucket, "x", args[2], 2, image[1][MIB // 4:MIB // 2])
        return real(*args)
    monkeypatch.setattr(storage, "commit", late)
    assert upload(storage, bucket, "x", image[0], **SMALL)["multipart_md5"] == multipart_md5(image[1], MIB // 4)


def test_another_part_in_its_place_is_noticed(cloud, storage, bucket, image, monkeypatch):
    real = storage.commit

    def wrong(*args):
        monkeypatch.setattr(storage, "commit", real)
        cloud.storage.upload_part(cloud.namespace, bucket, "x", args[2], 2, b"of somebody else")
        return real(*args)
    monkeypatch.setattr(storage, "commit", wrong)
    with pytest.raises(ImageError, match=f"^{bucket}/x: part 2 in the cloud is not what was sent; run the task again"):
        upload(storage, bucket, "x", image[0], **SMALL)


def test_an_object_that_stays_wrong_is_noticed(cloud, storage, bucket, image, monkeypatch):
    monkeypatch.setattr(upload_file, "_LOOKS", 2)
    cloud.control.faults({"kind": "wrong_md5", "times": 9, "operations": ["commit_multipart_upload", "head_object"]})
    with pytest.raises(ImageError, match=f"^{bucket}/x: the object is not what was sent: its MD5 is .*-12, not .*-12; run the task again"):
        upload(storage, bucket, "x", image[0], **SMALL)


def test_a_beginning_that_nobody_heard_of(cloud, storage, bucket, image):
    cloud.control.faults({"kind": "lost_answer", "times": 1, "operations": ["create_multipart_upload"]})
    upload(storage, bucket, "x", image[0], **SMALL)
    assert cloud.control.counters()["operations"]["create_multipart_upload"] == 1 and nothing_left(cloud, bucket)


def test_a_fault_that_does_not_pass_ends_all_threads_and_leaves_the_parts(cloud, bucket, image):
    storage, begun = Storage(Session(options_for(cloud)), retry_seconds=0.5), []
    cloud.control.faults({"kind": "503", "share": 1.0, "skip": 5, "operations": ["upload_part"]})
    with pytest.raises(CloudFault, match=rf"^{bucket}/x: sending part \d+ of 12 failed: the cloud itself is in trouble"):
        upload(storage, bucket, "x", image[0], on_begin=lambda *args: begun.append(args[0]), **SMALL)
    cloud.control.faults()
    assert len(storage.parts(bucket, "x", begun[0])) == 5 and no_threads()
    assert upload(storage, bucket, "x", image[0], upload_id=begun[0], **SMALL)["kept"] == 5 * MIB // 4


def no_threads():
    return not [thread for thread in threading.enumerate() if thread.name.startswith("upload-")]


def test_credentials_that_expire_meanwhile(cloud, storage, bucket, image):
    with pytest.raises(CloudFault, match="does not accept the credentials"):
        upload(storage, bucket, "x", image[0], on_begin=lambda *args: cloud.control.set(credentials_expired=True), **SMALL)
    assert cloud.control.counters()["operations"]["upload_part"] <= 3
    cloud.control.set(credentials_expired=False)


# --- parts that somebody else sent -------------------------------------------------------------------


def md5(data):
    return base64.b64encode(hashlib.md5(data).digest()).decode()


def shared(cloud, storage, bucket, *parts):
    """The id of an upload whose parts came through a pre-authenticated request."""
    share = storage.share(bucket, "x", "ObjectWrite", 600, secrets.token_hex(4))
    upload_id, url = storage.begin_shared(bucket, share)
    for number, part in enumerate(parts, 1):
        assert oci._vendor.requests.put(f"{url}{number}", data=part, verify=cloud.about["ca"], timeout=20).status_code == 200
    return upload_id


@pytest.mark.parametrize("kind", [None, "lost_answer", "wrong_md5", "500"])
def test_parts_that_came_through_a_share(cloud, storage, bucket, kind):
    upload_id = shared(cloud, storage, bucket, b"one", b"two", b"too much")
    if kind:
        cloud.control.faults({"kind": kind, "times": 1, "operations": ["commit_multipart_upload"]})
    md5s = {1: md5(b"one"), 2: md5(b"two")}
    done = complete(storage, bucket, "x", upload_id, 6, md5s)
    assert (done["size"], done["multipart_md5"]) == (6, whole_md5(md5s)) and content(cloud, bucket, "x") == b"onetwo"
    # a run that did not hear of it
    assert complete(storage, bucket, "x", upload_id, 6, md5s) == done
    with pytest.raises(CloudFault, match="The upload ID .* was not found"):
        complete(storage, bucket, "x", upload_id, 6, {1: md5(b"two")})


def job(cloud, url, path, **more):
    """A Job for whoever has the file."""
    return Job("send", {"src": path, "url": url, "part_size": MIB // 4, "size": os.path.getsize(path), "ca_cert": cloud.about["ca"], **more}, "")


@pytest.mark.parametrize("faulty", [False, True])
def test_the_whole_way_of_a_file_that_somebody_else_sends(cloud, storage, bucket, image, faulty):
    path, data = image
    share = storage.share(bucket, "folder/ä b", "ObjectWrite", 600, secrets.token_hex(4))
    upload_id, url = storage.begin_shared(bucket, share)
    if faulty:
        cloud.control.faults(*({"kind": kind, "share": 0.06} for kind in ("429", "500", "503", "reset", "lost_answer", "damage", "wrong_md5")), seed=3)
    result = local.run(job(cloud, url, path), lambda event: None)
    done = complete(storage, bucket, "folder/ä b", upload_id, len(data), send.numbered(result.values["md5s"]))
    storage.unshare(bucket, share.identity)
    cloud.control.faults()
    assert done["multipart_md5"] == multipart_md5(data, MIB // 4) and content(cloud, bucket, "folder/ä b") == data
    assert nothing_left(cloud, bucket) and share.label not in cloud.control.left()["pars"]


def test_a_sender_that_is_killed_is_gone_on_with(cloud, storage, bucket, image):
    path, data = image
    upload_id, url = storage.begin_shared(bucket, storage.share(bucket, "x", "ObjectWrite", 600, secrets.token_hex(4)))

    def kill(event):
        if event["done"] >= event["total"] // 2:
            os.kill(next(pid for pid in descendants() if b"sys.path.insert" in command_of(pid)), signal.SIGKILL)
    cloud.control.set(rate=MIB // 4)
    with pytest.raises(ImageError, match="the work program ended without a result"):
        local.run(job(cloud, url, path, parallel=3), kill)
    settled(cloud)
    cloud.control.set(rate=0)
    there = storage.parts(bucket, "x", upload_id)
    assert 3 <= len(there) < 12
    result = local.run(job(cloud, url, path, there=send.described(there)), lambda event: None)
    assert result.values["kept"] == sum(part.size for part in there.values())
    assert set(cloud.control.counters()["parts"][upload_id].values()) == {1}
    complete(storage, bucket, "x", upload_id, len(data), send.numbered(result.values["md5s"]))
    assert content(cloud, bucket, "x") == data


def command_of(pid):
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read()


def test_the_memory_of_a_sender(cloud, storage, bucket, tmp_path):
    """A GiB in parts of 64 MiB: the highest resident size of the whole work program."""
    with open(tmp_path / "image", "wb") as file:
        file.truncate(1 << 30)
    upload_id, url = storage.begin_shared(bucket, storage.share(bucket, "x", "ObjectWrite", 600, secrets.token_hex(4)))
    measure = ("import resource, subprocess, sys; status = subprocess.run(sys.argv[1:], stdout=2, check=False).returncode; "
               "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(status)")
    running = subprocess.run([sys.executable, "-c", measure, sys.executable, "-I", "-c", local._START.format(program=local.program.__name__), local._payload()],
                             input=dump("job", job(cloud, url, str(tmp_path / "image"), part_size=64 * MIB)), capture_output=True, timeout=300, check=True)
    md5s = send.numbered(json.loads(running.stderr.splitlines()[-1])["result"]["values"]["md5s"])
    complete(storage, bucket, "x", upload_id, 1 << 30, md5s)
    assert len(md5s) == 16 and int(running.stdout) < 100 * 1024   # KiB
    storage.delete(bucket, "x")


def test_parts_that_are_not_what_was_sent(cloud, storage, bucket):
    upload_id = shared(cloud, storage, bucket, b"one", b"two")
    for md5s in ({1: md5(b"one"), 2: md5(b"other")}, {1: md5(b"one"), 2: md5(b"two"), 3: md5(b"three")}):
        with pytest.raises(ImageError, match=rf"part {len(md5s)} in the cloud is not what was sent"):
            complete(storage, bucket, "x", upload_id, 6, md5s)
    assert not nothing_left(cloud, bucket) and storage.head(bucket, "x") is None


# --- a file that changes -----------------------------------------------------------------------------


def test_a_file_that_becomes_shorter(cloud, storage, bucket, image):
    with pytest.raises(ImageError, match="^.*image: the file became shorter while it was sent; run the task again when nothing writes to it"):
        upload(storage, bucket, "x", image[0], on_begin=lambda *args: os.truncate(image[0], 100_000), **SMALL)


def test_a_file_that_changes(cloud, storage, bucket, image):
    def change(*args):
        with open(image[0], "r+b") as file:
            file.write(b"other")
    with pytest.raises(ImageError, match="^.*image: the file changed while it was sent"):
        upload(storage, bucket, "x", image[0], on_begin=change, **SMALL)
    assert storage.head(bucket, "x") is None


def test_a_part_that_changes_between_its_digest_and_its_sending(cloud, storage, bucket, image, monkeypatch):
    real = upload_file._Upload._send

    def send(self, client, number, md5):
        if number == 2:
            with open(image[0], "r+b") as file:
                file.seek(MIB // 4)
                file.write(secrets.token_bytes(16))
        return real(self, client, number, md5)
    monkeypatch.setattr(upload_file._Upload, "_send", send)
    with pytest.raises(ImageError, match="^.*image: the file changed while it was sent"):
        upload(storage, bucket, "x", image[0], **SMALL)


# --- a stop ------------------------------------------------------------------------------------------


def test_a_stop_comes_soon_and_leaves_what_can_be_gone_on_with(cloud, storage, bucket, tmp_path):
    data, begun, stopped = os.urandom(8 * MIB), [], []
    (tmp_path / "image").write_bytes(data)
    cloud.control.set(rate=MIB // 2)

    def handle(_number, _frame):
        stopped.append(time.monotonic())
        raise Interrupted("received SIGALRM")
    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 2.5)
    try:
        with pytest.raises(Interrupted):
            upload(storage, bucket, "x", str(tmp_path / "image"), part_size=MIB // 2, parallel=3, on_begin=lambda *args: begun.append(args[0]))
        assert time.monotonic() - stopped[0] < 4
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    settled(cloud)
    assert no_threads()
    cloud.control.set(rate=0)
    there = storage.parts(bucket, "x", begun[0])
    assert there
    done = upload(storage, bucket, "x", str(tmp_path / "image"), upload_id=begun[0], part_size=MIB // 2)
    assert done["kept"] == len(there) * MIB // 2 and content(cloud, bucket, "x") == data
    assert set(cloud.control.counters()["parts"][begun[0]].values()) == {1}


# --- memory ------------------------------------------------------------------------------------------


def test_memory_does_not_depend_on_the_size_of_the_parts(cloud, bucket, tmp_path):
    with open(tmp_path / "image", "wb") as file:
        file.truncate(160 * MIB)
    running = child(cloud, bucket, str(tmp_path / "image"), part_size=40 * MIB, parallel=4)
    out, _err = running.communicate(timeout=120)
    done = json.loads(out.splitlines()[-1])
    assert done["sent"] == 160 * MIB and done["grown"] < 40 * 1024   # KiB: with its clients and threads, less than one part


# --- compared ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("part_size", [MIB // 4, MIB, None])
def test_an_object_is_compared_with_a_file(cloud, storage, bucket, image, part_size, tmp_path):
    path, data = image
    upload(storage, bucket, "one", path, part_size=part_size, parallel=3)
    there = storage.head(bucket, "one")
    assert upload_file.same(there, path, part_size)
    (tmp_path / "other").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert not upload_file.same(there, str(tmp_path / "other"), part_size)
    (tmp_path / "other").write_bytes(data[:-1])
    assert not upload_file.same(there, str(tmp_path / "other"), part_size)


def test_an_object_that_came_in_one_piece_is_compared(cloud, storage, bucket, image):
    path, data = image
    cloud.storage.put_object(cloud.namespace, bucket, "one", data)
    assert upload_file.same(storage.head(bucket, "one"), path)
    cloud.storage.put_object(cloud.namespace, bucket, "one", data[::-1])
    assert not upload_file.same(storage.head(bucket, "one"), path)
