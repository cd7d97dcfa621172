# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A file that is sent in parts to the lab's endpoint, over TLS; the work program is a real process where that matters."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from ansible_collections.ocne.images.plugins.module_utils.artifact.source import HeldOpen
from ansible_collections.ocne.images.plugins.module_utils.builders import local
from ansible_collections.ocne.images.plugins.module_utils.builders.kubernetes.builder import PodBuilder
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError, Interrupted
from ansible_collections.ocne.images.plugins.module_utils.common.process import descendants
from ansible_collections.ocne.images.plugins.module_utils.common.progress import Progress, silent
from ansible_collections.ocne.images.plugins.module_utils.work import send
from ansible_collections.ocne.images.plugins.module_utils.work.job import Answer, Input, Job, dump
from ansible_collections.ocne.images.tests.unit.lab_oci import conftest as lab
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.builders.remote import agents
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.work.shared_uploads import Owner

no_bundle, endpoint, cloud = lab.no_bundle, lab.endpoint, lab.cloud

MIB = 1 << 20
PART = MIB // 4


def md5(data):
    return base64.b64encode(hashlib.md5(data).digest()).decode()


def whole_md5(data, part_size=PART):
    digests = [hashlib.md5(data[at:at + part_size]).digest() for at in range(0, len(data), part_size)]
    return f"{md5(b''.join(digests))}-{len(digests)}"


@pytest.fixture
def upload(cloud):
    """A new upload."""
    return Owner(cloud.about).upload()


@pytest.fixture
def image(tmp_path):
    """(path, bytes) of a file of 12 parts, the last one shorter."""
    data = os.urandom(12 * PART - 1000)
    (tmp_path / "image").write_bytes(data)
    return str(tmp_path / "image"), data


def job(cloud, upload, path, check=False, **more):
    return Job("send", {"src": path, "url": upload.url, "part_size": PART, "size": os.path.getsize(path), "parallel": 3, "ca_cert": cloud.about["ca"],
                        "read_timeout": 10, "retry_seconds": 60, **more}, "", check)


def sent(*args, progress=None, **more):
    return send.run(job(*args, **more), progress or silent()).values


def parts(cloud, upload):
    """{number: how often it came}"""
    return {int(number): count for number, count in cloud.control.counters()["parts"].get(upload.id, {}).items()}


ALL = dict.fromkeys(range(1, 13), 1)


# --- the contract ------------------------------------------------------------------------------------


def test_its_inputs():
    options = {"src": "/disk", "read_path": "/proc/1/fd/3", "src_format": "qcow2", "ca_cert": "/ca.pem"}
    assert send.inputs(options) == [Input(options, "src", "qcow2", named=True), Input(options, "ca_cert")]
    # what is no disk image is named as the user did, too
    options = {"src": "/disk.oci", "read_path": "/proc/1/fd/3", "ca_cert": "-----BEGIN CERTIFICATE-----\n"}
    source, = send.inputs(options)
    source.moved("/workspace/files/0")
    assert source.image is None and (options["src"], options["read_path"]) == ("/disk.oci", "/workspace/files/0")
    assert not send.needs_guestfs(options) and send.base_of(options, "x") is None and not send.READS_ONLY


def test_secrets_are_not_in_the_words_of_its_options():
    options = send.Options("/disk", "https://h/p/TOKEN/", 1, 1, proxy="http://me:hunter2@proxy:1")
    assert "TOKEN" not in repr(options) and "hunter2" not in repr(options)


def test_a_file_is_sent(cloud, upload, image):
    path, data = image
    told = []
    values = sent(cloud, upload, path, progress=Progress(told.append, interval=0))
    assert values["md5s"] == {number: md5(data[(number - 1) * PART:number * PART]) for number in range(1, 13)}
    assert values["etags"] == {number: part.etag for number, part in upload.parts().items()}
    assert (values["sent"], values["kept"]) == (len(data), 0)
    assert (told[0]["phase"], told[0]["unit"], told[0]["total"], told[-1]["done"]) == ("uploading", "bytes", len(data), len(data))
    assert parts(cloud, upload) == ALL and upload.commit() == whole_md5(data) and upload.content() == data


def test_by_the_local_builder(cloud, upload, image):
    events = []
    result = local.run(job(cloud, upload, image[0]), events.append)
    assert result.artifacts == [] and send.numbered(result.values["md5s"]) == {number: part.md5 for number, part in upload.parts().items()}
    assert events[0]["phase"] == "uploading" and events[-1]["done"] == len(image[1])
    assert upload.commit() == whole_md5(image[1])


@pytest.mark.parametrize("size", [1, PART, 2 * PART, 2 * PART + 1])
def test_files_of_other_sizes(cloud, upload, tmp_path, size):
    data = os.urandom(size)
    (tmp_path / "image").write_bytes(data)
    assert sent(cloud, upload, str(tmp_path / "image"))["sent"] == size
    assert upload.commit() == whole_md5(data) and upload.content() == data


def test_only_what_is_missing_is_sent(cloud, upload, image, tmp_path):
    path, data = image
    other = bytearray(data)
    other[4 * PART] ^= 1
    (tmp_path / "other").write_bytes(other[:6 * PART])
    sent(cloud, upload, str(tmp_path / "other"))
    there = send.described(upload.parts())
    assert there[2] == [PART, md5(data[PART:2 * PART])]
    # as it comes through JSON; what is not of this file is no matter
    values = sent(cloud, upload, path, there=json.loads(json.dumps(dict(there, **{"77": [3, md5(b"abc")]}))))
    assert (values["kept"], values["sent"]) == (5 * PART, len(data) - 5 * PART)
    assert sorted(values["etags"]) == [5, *range(7, 13)] and sorted(values["md5s"]) == list(range(1, 13))
    assert parts(cloud, upload) == {**ALL, 5: 2} and upload.commit() == whole_md5(data)
    assert parts(cloud, upload) == {**ALL, 5: 2}


def test_check_mode_sends_nothing(cloud, upload, image):
    values = sent(cloud, upload, image[0], check=True, there={1: [PART, md5(image[1][:PART])]})
    assert (values["sent"], values["kept"], values["etags"], parts(cloud, upload)) == (len(image[1]) - PART, PART, {}, {})


# --- secrets -----------------------------------------------------------------------------------------


def test_nothing_secret_is_told(cloud, upload, image, tmp_path):
    """All that the program writes: a success, refusals, an unfit URL, an unknown option, a broken Job."""
    with Tunnel(login="me:hunter2") as tunnel:
        proxy = f"http://me:hunter2@127.0.0.1:{tunnel.port}"
        good = job(cloud, upload, image[0], proxy=proxy)
        jobs = [good, dump("job", good)[:-20] + b"\n",
                *(job(cloud, upload, image[0], **{"proxy": proxy, **more}) for more in (
                    {"url": upload.url.replace("/u/", "/x/")}, {"url": upload.url + "\n/"}, {"url": upload.url + "ä"}, {"url": "http" + upload.url[5:]},
                    {"url": upload.url.replace("https://", "https://h:x")}, {"url": upload.url.replace(upload.secret, upload.secret[::-1])},
                    {"dance": 1}, {"part_size": "many"}, {"there": {"x": 1}}, {"proxy": proxy.replace("hunter2", "hunter2-not")},
                    {"proxy": "http://me:hunter2@:1:"}, {"proxy": "https://me:hunter2@proxy:1"}, {"ca_cert": image[0]}, {"ca_cert": None}))]
        said = b""
        for each in jobs:
            done = run_program(each if isinstance(each, bytes) else dump("job", each))
            assert done.stderr == b"" and (b'"error"' in done.stdout) == (each is not good), done
            said += done.stdout
    assert len(said) > 4000
    for word in (upload.secret, upload.secret[::-1], "hunter2", base64.b64encode(b"me:hunter2").decode()):
        assert word.encode() not in said


def run_program(line, **options):
    command = [sys.executable, "-I", "-c", local._START.format(program=local.program.__name__), local._payload()]
    return subprocess.run(command, input=line, capture_output=True, timeout=120, check=False, **options)


def test_nothing_secret_is_in_argv_or_in_the_environment(cloud, upload, image):
    with working(cloud, upload, image[0]) as (process, _lines):
        for name in ("cmdline", "environ"):
            with open(f"/proc/{process.pid}/{name}", "rb") as file:
                assert upload.secret.encode() not in file.read()


@contextlib.contextmanager
def working(cloud, upload, path, rate=PART // 2, **more):
    """(process, lines of its output) of a work program that is sending, slowly."""
    cloud.control.set(rate=rate)
    command = [sys.executable, "-I", "-c", local._START.format(program=local.program.__name__), local._payload()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            process.stdin.write(dump("job", job(cloud, upload, path, **more)))
            process.stdin.flush()
            agents.until(lambda: cloud.control.counters()["bytes_in"] > PART, 30)
            yield process, process.stdout
        finally:
            process.kill()


# --- in a builder pod --------------------------------------------------------------------------------


@pytest.fixture
def builder(client):
    """A builder whose pod is a real agent on loopback."""
    made = PodBuilder({"source_transfer": "auto"}, lambda event: None)
    session = agents.AgentSession(client)
    made._session = made._sources._session = made._workspace._session = session
    return made


def nowhere(agent, upload):
    """Whether the secret is in no file of a builder pod, and not in its log."""
    found = [path for path in [agent.log, *agent.workspace.rglob("*")] if path.is_file() and upload.secret.encode() in path.read_bytes()]
    return found == []


def test_a_source_that_is_in_the_pod(cloud, upload, image, agent, builder):
    (agent.workspace / "files/image.oci").write_bytes(image[1])
    wanted, events = job(cloud, upload, image[0]), []
    wanted.options["src"] = "workspace:image.oci"
    result = builder.run(wanted, events.append)
    assert send.numbered(result.values["md5s"]) == {number: part.md5 for number, part in upload.parts().items()}
    assert upload.commit() == whole_md5(image[1]) and events[-1]["done"] == len(image[1])
    # the caller's own options are as they were
    assert wanted.options["src"] == "workspace:image.oci" and "read_path" not in wanted.options
    assert nowhere(agent, upload) and "job send" in agent.log.read_text()


def test_a_file_that_the_pod_has_does_not_go_there_again(cloud, upload, image, agent, builder):
    path, data = image
    digest = hashlib.sha256(data).hexdigest()
    builder._workspace.bring([Input({"src": path}, "src")], None)
    before = os.stat(agent.workspace / "files" / digest).st_ino
    held = HeldOpen(path)
    os.rename(path, path + ".old")
    with open(path, "wb") as other:
        other.write(b"another file took its name")
    wanted = job(cloud, upload, path, read_path=held.read_path, size=len(data))
    assert builder.run(wanted, lambda event: None).values["sent"] == len(data)
    assert os.stat(agent.workspace / "files" / digest).st_ino == before and upload.commit() == whole_md5(data)


def test_a_file_that_only_the_module_host_has_is_sent_there_first(cloud, upload, image, agent, builder):
    """And the authorities' certificates, whose path is one of the module host."""
    assert builder.run(job(cloud, upload, image[0]), lambda event: None).values["sent"] == len(image[1])
    names = {path.name for path in (agent.workspace / "files").iterdir()}
    assert {hashlib.sha256(data).hexdigest() for data in (image[1], pathlib.Path(cloud.about["ca"]).read_bytes())} <= names


def test_while_it_is_sending_the_secret_is_in_no_file(cloud, upload, image, agent, builder):
    seen = []

    def look(event):
        if event["done"] and not seen:
            seen.append(nowhere(agent, upload))
            for pid in descendants(agent.process.pid):
                for name in ("cmdline", "environ"):
                    seen.append(upload.secret.encode() not in pathlib.Path(f"/proc/{pid}/{name}").read_bytes())
    cloud.control.set(rate=PART)
    builder.run(job(cloud, upload, image[0]), look)
    assert len(seen) >= 3 and all(seen)


def test_a_stop_of_the_task_stops_it_there(cloud, upload, image, agent, builder):
    def stop(event):
        if event["done"]:
            raise Interrupted("the test said so")
    cloud.control.set(rate=PART // 2)
    with pytest.raises(Interrupted):
        builder.run(job(cloud, upload, image[0]), stop)
    settled(cloud)
    assert descendants(agent.process.pid) == [] and len(parts(cloud, upload)) < 12 and nowhere(agent, upload)


# --- interrupted -------------------------------------------------------------------------------------


def settled(cloud):
    """Wait until nothing of a dead client comes in any more."""
    seen = [None]

    def still():
        seen.append(cloud.control.counters()["bytes_in"])
        time.sleep(0.3)
        return seen[-1] == seen[-2]
    agents.until(still, 30)


def test_a_killed_program_is_gone_on_with(cloud, upload, image):
    path, data = image
    with working(cloud, upload, path) as (process, _lines):
        agents.until(lambda: len(parts(cloud, upload)) >= 4, 60)
        process.send_signal(signal.SIGKILL)
    settled(cloud)
    cloud.control.set(rate=0)
    there = upload.parts()
    assert 4 <= len(there) < 12
    values = sent(cloud, upload, path, there=send.described(there))
    assert values["kept"] == sum(part.size for part in there.values()) and parts(cloud, upload) == ALL
    assert upload.commit() == whole_md5(data) and upload.content() == data


@pytest.mark.parametrize("how", ["SIGTERM", "nobody reads"])
def test_a_stop_comes_at_once(cloud, upload, image, how):
    # the endpoint takes a piece every ten seconds: threads wait in the middle of a write
    with working(cloud, upload, image[0], PART // 10) as (process, lines):
        began, answer = time.monotonic(), Answer(lambda event: None)
        if how == "SIGTERM":
            process.send_signal(signal.SIGTERM)
            for line in lines:
                answer.read(line)
            with pytest.raises(Interrupted, match="received SIGTERM"):
                answer.result()
        else:
            lines.close()
        process.wait(5)
        assert time.monotonic() - began < 1.5
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("send-")]


# --- faults ------------------------------------------------------------------------------------------


def test_a_third_of_all_requests_fail(cloud, upload, image):
    cloud.control.set(retry_after=1)
    kinds = ("429", "500", "503", "reset", "lost_answer", "damage", "wrong_md5", "stall")
    # one rule after the other is asked: each of them gets a thirtieth or so of all requests
    cloud.control.faults(*({"kind": kind, "share": 0.044, **({"seconds": 1.5} if kind == "stall" else {})} for kind in kinds), seed=2)
    values = sent(cloud, upload, image[0], part_size=MIB // 16, parallel=6, read_timeout=1)
    faults = cloud.control.counters()["faults"]
    cloud.control.faults()
    assert sum(faults.values()) >= 8 and len(faults) >= 5 and values["sent"] == len(image[1])
    assert upload.commit() == whole_md5(image[1], MIB // 16) and upload.content() == image[1]


@pytest.mark.parametrize("kind", ["429", "500", "503", "reset", "lost_answer", "damage", "wrong_md5", "stall"])
def test_a_fault_that_passes(cloud, upload, image, kind):
    cloud.control.faults({"kind": kind, "times": 1, "seconds": 3})
    assert sent(cloud, upload, image[0], part_size=4 * MIB, read_timeout=1)["sent"] == len(image[1])
    agents.until(lambda: cloud.control.counters()["faults"] == {kind: 1})
    # one that stalled may come in later, after all
    assert parts(cloud, upload)[1] in {"lost_answer": [2], "wrong_md5": [2], "stall": [1, 2]}.get(kind, [1])
    assert upload.commit() == whole_md5(image[1], 4 * MIB)


@pytest.mark.parametrize("dates", [False, True])
def test_the_time_that_the_service_asks_for_is_kept(cloud, upload, image, dates):
    # its clock is another one
    cloud.control.set(retry_after=3, retry_after_dates=dates, clock_offset=250)
    cloud.control.faults({"kind": "429", "times": 1})
    began = time.monotonic()
    sent(cloud, upload, image[0], part_size=4 * MIB)
    assert 2 < time.monotonic() - began < 20


@pytest.mark.parametrize("kind, words", [
    ("503", r"the service itself is in trouble \(HTTP status 503, ServiceUnavailable, The service is currently unavailable\)"),
    ("429", r"the service gets too many requests"), ("reset", r"the connection to localhost:\d+ broke"), ("damage", "it was damaged on its way"),
    ("wrong_md5", "it did not arrive as it was sent"),
])
def test_there_is_an_end_to_it_and_the_parts_stay(cloud, upload, image, kind, words):
    cloud.control.set(retry_after=0.1)
    cloud.control.faults({"kind": kind, "share": 1.0, "skip": 5})
    with pytest.raises(ImageError, match=rf"^{image[0]}: sending part \d+ of 12 failed: {words}.*; .*run the task again") as caught:
        sent(cloud, upload, image[0], retry_seconds=0.5)
    assert caught.value.details["status"] == {"503": 503, "429": 429, "damage": 400}.get(kind)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("send-")]
    cloud.control.faults()
    assert len(upload.parts()) >= 5
    assert sent(cloud, upload, image[0], there=send.described(upload.parts()))["kept"] >= 5 * PART


def test_a_request_that_expires_meanwhile(cloud, upload, image):
    def expire(event):
        if event["done"]:
            cloud.control.set(clock_offset=1000)
    cloud.control.set(rate=PART)
    with pytest.raises(ImageError, match=r"failed: the pre-authenticated request is not good any more: it has expired or was removed "
                                         r"\(HTTP status 401, NotAuthenticated, PAR is expired\); run the task again\.$") as caught:
        sent(cloud, upload, image[0], progress=Progress(expire, interval=0))
    assert (caught.value.details["status"], caught.value.details["code"]) == (401, "NotAuthenticated") and caught.value.details["opc_request_id"]
    # at once: each connection was told so no more than once
    assert cloud.control.counters()["statuses"]["401"] <= 3


def test_a_request_that_was_removed(cloud, upload, image):
    upload.unshare()
    with pytest.raises(ImageError, match=r"it has expired or was removed \(HTTP status 401, NotAuthenticated, PAR does not exist\); run the task again"):
        sent(cloud, upload, image[0])


def test_an_upload_that_was_given_up(cloud, upload, image):
    upload.abort()
    with pytest.raises(ImageError, match=r"the upload is not there any more: it was completed or given up \(HTTP status 404, UploadNotFound") as caught:
        sent(cloud, upload, image[0])
    assert caught.value.details["status"] == 404 and cloud.control.counters()["statuses"]["404"] <= 3


def test_what_the_service_does_not_take(cloud, upload, image):
    with pytest.raises(ImageError, match=r"sending part 1 of 1 failed: the service does not take it \(HTTP status 400, InvalidUploadPartNumber"):
        sent(cloud, upload, image[0], part_size=4 * MIB, url=upload.url + "x")


def test_a_slow_link(cloud, upload, image):
    """The kernel takes the part in no time, and it goes for much longer than the time-out, which is one of silence."""
    cloud.control.set(rate=PART)
    began = time.monotonic()
    values = sent(cloud, upload, image[0], part_size=4 * MIB, read_timeout=4)
    assert time.monotonic() - began > 9 and values["sent"] == len(image[1])
    assert parts(cloud, upload) == {1: 1}


# --- the file ----------------------------------------------------------------------------------------


def test_it_is_named_as_the_user_did(cloud, upload, image, tmp_path):
    os.rename(image[0], tmp_path / "digest")
    with open(image[0], "wb") as file:
        file.truncate(len(image[1]))
    assert sent(cloud, upload, image[0], read_path=str(tmp_path / "digest"))["md5s"][1] == md5(image[1][:PART])
    os.unlink(tmp_path / "digest")
    with pytest.raises(ImageError, match=f"^{image[0]}: reading the file to upload failed: no such file"):
        sent(cloud, upload, image[0], read_path=str(tmp_path / "digest"))


@pytest.mark.parametrize("size", [12 * PART, 12 * PART - 1001])
def test_a_file_of_another_size(cloud, upload, image, size):
    with pytest.raises(ImageError, match=f"^{image[0]}: the file changed before it was sent: it has {12 * PART - 1000} bytes, not {size}"):
        sent(cloud, upload, image[0], size=size)
    assert parts(cloud, upload) == {}


def changed(path, how):
    """A Progress that writes to the file once something was sent."""
    done = []

    def change(event):
        if event["done"] and not done:
            done.append(True)
            how(path)
    return Progress(change, interval=0)


def test_a_file_that_changes(cloud, upload, image):
    def write(path):
        with open(path, "r+b") as file:
            file.write(b"other")
    cloud.control.set(rate=PART)
    with pytest.raises(ImageError, match=f"^{image[0]}: the file changed while it was sent; run the task again when nothing writes to it"):
        sent(cloud, upload, image[0], progress=changed(image[0], write))


def test_a_part_that_changes_between_its_digest_and_its_sending(cloud, upload, tmp_path):
    """The service tells that what came is not what its MD5 says, and it is the file's fault."""
    (tmp_path / "image").write_bytes(os.urandom(4 * MIB))

    def write(path):
        with open(path, "r+b") as file:
            file.seek(3 * MIB)
            file.write(os.urandom(MIB))
    cloud.control.set(rate=MIB)
    with pytest.raises(ImageError, match="the file changed while it was sent"):
        sent(cloud, upload, str(tmp_path / "image"), part_size=4 * MIB, progress=changed(str(tmp_path / "image"), write))
    assert cloud.control.counters()["operations"]["par_upload_part"] == cloud.control.counters()["statuses"]["400"] == 1


def test_a_file_that_becomes_shorter(cloud, upload, image):
    cloud.control.set(rate=PART)
    with pytest.raises(ImageError, match=f"^{image[0]}: the file (became shorter|changed) while it was sent"):
        sent(cloud, upload, image[0], progress=changed(image[0], lambda path: os.truncate(path, PART)))


# --- the way there -----------------------------------------------------------------------------------


def test_who_is_trusted(cloud, upload, image, tmp_path):
    with open(cloud.about["ca"], encoding="ascii") as file:
        authority = file.read()
    assert sent(cloud, upload, image[0], ca_cert=authority)["sent"] == len(image[1])
    with pytest.raises(ImageError, match=r"failed: the certificate of localhost:\d+ is not trusted \(.*\); name its authority's certificates"):
        sent(cloud, upload, image[0], ca_cert=None)
    with Tunnel(name="localhost") as tunnel, pytest.raises(ImageError, match=r"the certificate of other\.example:.* is not trusted .*other\.example"):
        sent(cloud, upload, image[0], url=upload.url.replace("localhost", "other.example"), proxy=f"127.0.0.1:{tunnel.port}")
    (tmp_path / "ca").write_text("nobody")
    for ca_cert, words in ((str(tmp_path / "none"), "none: reading the bundle of certificates failed: no such file"),
                           (str(tmp_path / "ca"), "ca: it has no certificates that can be used"),
                           ("-----BEGIN CERTIFICATE-----\nx\n", "it has no certificates that can be used")):
        with pytest.raises(ImageError, match=words):
            sent(cloud, upload, image[0], ca_cert=ca_cert)


def test_an_address_where_nobody_is(cloud, upload, image):
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()[1]
    port = upload.url.split(":")[2].split("/")[0]
    for where, words in ((f"localhost:{free}", "refuses connections; check region"), ("nowhere.invalid", "cannot be resolved"),
                         (cloud.about["control"].rpartition("/")[2], "does not speak TLS")):
        with pytest.raises(ImageError, match=f"{where}.* {words}"):
            sent(cloud, upload, image[0], url=upload.url.replace(f"localhost:{port}", where), retry_seconds=0)


class Tunnel:
    """A proxy that knows CONNECT alone. login: "user:password" that it wants; status: of every answer, where that is not to be 200.

    name: of the host that it really connects to.
    """

    def __init__(self, login=None, status=None, name=None):
        self._wanted = "Basic " + base64.b64encode(login.encode()).decode() if login else None
        self._status, self._name, self.asked, self.bytes = status, name, [], 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._sockets = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                self._sockets.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with contextlib.suppress(OSError):
            self._tunnel(client)

    def _tunnel(self, client):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            got = client.recv(1)
            if not got:
                return
            head += got
        first, *lines = head.decode().strip().split("\r\n")
        headers = {name.lower(): value for name, _colon, value in (line.partition(": ") for line in lines)}
        self.asked.append(first.rsplit(" ", 1)[0])
        status = self._status or (407 if self._wanted not in (None, headers.get("proxy-authorization")) else 200)
        client.sendall(f"HTTP/1.1 {status} {'Connection established' if status == 200 else 'No'}\r\n\r\n".encode())
        if status != 200:
            client.close()
            return
        host, _colon, port = first.split()[1].rpartition(":")
        with socket.create_connection((self._name or host, int(port))) as server:
            self._sockets.append(server)
            while True:
                for end in select.select([client, server], [], [])[0]:
                    data = end.recv(1 << 16)
                    if not data:
                        return
                    self.bytes += len(data)
                    (server if end is client else client).sendall(data)

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


def test_by_a_proxy(cloud, upload, image):
    where = upload.url.split("/")[2]
    with Tunnel(login="me:hunt@r 2") as tunnel:
        values = sent(cloud, upload, image[0], proxy=f"http://me:hunt%40r%202@127.0.0.1:{tunnel.port}")
        assert set(tunnel.asked) == {f"CONNECT {where}"} and len(tunnel.asked) == 3 and tunnel.bytes > len(image[1])
    assert values["sent"] == len(image[1]) and upload.commit() == whole_md5(image[1])


@pytest.mark.parametrize("status, words", [
    (407, r"the proxy does not let us through to localhost:\d+ \(.*407 No\); check proxy"), (403, "the proxy does not let us through .* 403"),
    (502, "the proxy does not let us through .* 502"), (0, "the proxy does not let us through .* Connection refused"),
])
def test_a_proxy_that_does_not_let_us_through(cloud, upload, image, status, words):
    with Tunnel(status=status) as tunnel:
        port = tunnel.port
        if not status:
            tunnel.__exit__()
        with pytest.raises(ImageError, match=words) as caught:
            sent(cloud, upload, image[0], proxy=f"http://me:hunter2@127.0.0.1:{port}", retry_seconds=0)
        assert "hunter2" not in str(caught.value.as_dict())


def test_the_proxy_of_the_environment(cloud, upload, image, monkeypatch):
    with Tunnel() as tunnel:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{tunnel.port}")
        # that of the lab's tests
        assert "localhost" in os.environ["NO_PROXY"]
        sent(cloud, upload, image[0])
        assert tunnel.asked == []
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name)
        sent(cloud, upload, image[0])
        assert len(tunnel.asked) == 3
