# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The agent as a real process, asked over loopback."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from ansible_collections.ocne.images.plugins.module_utils.agent import content_coding
from ansible_collections.ocne.images.plugins.module_utils.agent.protocol import TOKEN_HEADER, Refusal
from ansible_collections.ocne.images.plugins.module_utils.builders.remote import package
from ansible_collections.ocne.images.plugins.module_utils.builders.remote.client import Channel, ImageError
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.builders.remote.agents import TOKEN, Agent, program, until

BLOCK = 64 << 10


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    with Agent(tmp_path_factory.mktemp("agent")) as running:
        yield running


@pytest.fixture
def channel(agent):
    opened = agent.channel()
    yield opened
    opened.close_all()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def refused(status, function, *arguments, **options):
    with pytest.raises(Refusal) as caught:
        function(*arguments, **options)
    assert caught.value.status == status
    return str(caught.value)


def send(channel, name, data, digest=None, size=None, ranges=None, check=None):
    digest, size = digest or sha256(data), len(data) if size is None else size
    ranges = ranges or f"0:{len(data)}"
    return channel.request("PUT", f"/v1/files/{name}/chunk?digest={digest}&size={size}&ranges={ranges}", data,
                           {"X-Crc32": check or content_coding.checksum(data)})


def start(channel, name, source, **job):
    data = program(source)
    channel.request("PUT", f"/v1/programs/{sha256(data)}", data)
    return channel.json("PUT", f"/v1/jobs/{name}", {"program": sha256(data), "interpreter": sys.executable, "job": {"kind": "test", **job}})


def follow(channel, name):
    """(all of its output, last answer)"""
    output, state = b"", "running"
    while state == "running":
        answer = channel.request("GET", f"/v1/jobs/{name}/output?offset={len(output)}&wait=10")
        output, state = output + answer.body, answer.headers["X-State"]
        assert int(answer.headers["X-Offset"]) == len(output)
    return output, answer


# --- who may ask -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], TOKEN + "x", "\u00e4"])
def test_a_wrong_token_is_refused(agent, token):
    stranger = agent.channel(token=token)
    assert "token" in refused(403, stranger.request, "GET", "/v1/status")
    # also where much is sent before the answer can be read
    refused(403, stranger.request, "PUT", "/v1/files/a/chunk?digest=0", bytes(8 << 20))
    stranger.close_all()


def test_status(agent, channel):
    status = channel.json("GET", "/v1/status")
    assert status["protocol"] == 1 and status["workspace"] == str(agent.workspace) and status["idle_timeout"] == 60
    assert 0 < status["free_bytes"] < status["total_bytes"] and set(status["tools"]) == {"qemu-img", "skopeo", "ostree"}
    assert status["python"] == sys.version.split()[0] and "deflate" in status["encodings"]


@pytest.mark.parametrize("method, path", [
    ("GET", "/"), ("GET", "/v1"), ("GET", "/v1/status/x"), ("PUT", "/v1/status"), ("GET", "/v2/status"), ("GET", "/v1/__init__"), ("GET", "/v1/files"),
    ("GET", "/v1/jobs/x"), ("POST", "/v1/programs/" + "0" * 64), ("GET", "/v1/jobs/none/output"), ("GET", "/v1/files/none/chunks")])
def test_what_is_not_there(channel, method, path):
    assert "no such" in refused(404, channel.request, method, path, b"" if method != "GET" else None)


# --- files -----------------------------------------------------------------------------------------------


def test_a_file_by_chunks(agent, channel):
    data = os.urandom(200_000)
    for begin, end in ((BLOCK, len(data)), (0, BLOCK)):
        send(channel, "a.img", data[begin:end], sha256(data), len(data), f"{begin}:{end - begin}")
    assert channel.json("GET", f"/v1/files/a.img/received?digest={sha256(data)}")["ranges"] == [[0, len(data)]]
    assert "a.img" not in channel.json("GET", "/v1/status")["files"]
    channel.json("POST", "/v1/files/a.img", {"size": len(data), "digest": sha256(data)})
    assert (agent.workspace / "files/a.img").read_bytes() == data
    assert channel.json("GET", "/v1/status")["files"]["a.img"] == len(data)
    assert channel.json("GET", f"/v1/files/a.img/received?digest={sha256(data)}")["done"]
    page = channel.json("GET", "/v1/files/a.img/chunks")
    assert page["data"] == [[0, len(data)]] and page["size"] == len(data) and page["next"] is None and page["digest"] == sha256(data)
    part = channel.request("GET", "/v1/files/a.img/part?ranges=100:50,7:3")
    assert part.body == data[100:150] + data[7:10] and part.headers["X-Crc32"] == content_coding.checksum(part.body)
    channel.request("DELETE", "/v1/files/a.img")
    channel.request("DELETE", "/v1/files/a.img")
    assert not (agent.workspace / "files/a.img").exists()


def test_a_file_that_is_not_what_its_digest_says(agent, channel):
    data = os.urandom(1000)
    send(channel, "wrong", data, sha256(b"other"))
    assert "not what its digest says" in refused(409, channel.json, "POST", "/v1/files/wrong", {"size": 1000, "digest": sha256(b"other")})
    assert not [entry.name for entry in os.scandir(agent.workspace / "files") if "wrong" in entry.name]
    assert channel.json("GET", f"/v1/files/wrong/received?digest={sha256(b'other')}")["ranges"] == []


def test_a_file_that_was_touched_is_not_there(agent, channel):
    data = os.urandom(1000)
    send(channel, "touched", data)
    channel.json("POST", "/v1/files/touched", {"size": 1000, "digest": sha256(data)})
    (agent.workspace / "files/touched").write_bytes(data[::-1])
    assert not channel.json("GET", f"/v1/files/touched/received?digest={sha256(data)}")["done"]


def test_a_chunk_that_changed_on_its_way_does_not_count(channel):
    data = os.urandom(1000)
    refused(422, send, channel, "spoilt", data, check="00000000")
    refused(422, send, channel, "spoilt", data[:-1], size=1000, ranges="0:1000")
    assert channel.json("GET", f"/v1/files/spoilt/received?digest={sha256(data)}")["ranges"] == []


def test_what_came_once_is_not_written_again(agent, channel):
    data = os.urandom(3 * BLOCK)
    send(channel, "twice", data[:BLOCK], sha256(data), len(data), f"0:{BLOCK}")
    # a late request of a controller that died: its first block is known, its others are new
    send(channel, "twice", bytes(BLOCK) + data[BLOCK:], sha256(data), len(data), f"0:{len(data)}")
    channel.json("POST", "/v1/files/twice", {"size": len(data), "digest": sha256(data)})
    assert (agent.workspace / "files/twice").read_bytes() == data


@pytest.mark.parametrize("query, status", [
    ("digest=D&size=100&ranges=98:5", 400), ("digest=D&size=100&ranges=0:0", 400), ("digest=D&size=100&ranges=-1:5", 400),
    ("digest=D&size=-1&ranges=0:5", 400), ("digest=D&size=100&ranges=", 400), ("digest=D&size=100", 400), ("digest=D&ranges=0:5", 400),
    ("digest=x&size=100&ranges=0:5", 400), ("size=100&ranges=0:5", 400), (f"digest=D&size={1 << 40}&ranges=0:{(16 << 20) + 1}", 413)])
def test_a_chunk_that_cannot_be(channel, query, status):
    refused(status, channel.request, "PUT", "/v1/files/x/chunk?" + query.replace("D", "0" * 64), b"12345", {"X-Crc32": content_coding.checksum(b"12345")})


def test_a_body_that_is_too_large(channel):
    refused(413, channel.request, "PUT", f"/v1/files/x/chunk?digest={'0' * 64}&size=100&ranges=0:5", bytes((16 << 20) + 1))
    # the connection is still of use
    assert channel.json("GET", "/v1/status")


def test_where_the_space_does_not_suffice(channel):
    text = refused(507, channel.json, "GET", f"/v1/files/x/received?digest={'0' * 64}&needed={1 << 60}")
    assert "needs" in text and "are free" in text


@pytest.mark.parametrize("name", [
    "..", "%2e%2e", "..%2f..%2fsecret", "%2e%2e%2f%2e%2e%2fsecret", "/etc/passwd", "%2fetc%2fpasswd", ".hidden", "a%00b", "a%20b", "x" * 201, "", "link",
    "a%ff", "../secret", "../../secret", "%2e%2e/%2e%2e/secret", "jobs/j/../../../../secret", "jobs/j/%2e%2e/%2e%2e/%2e%2e/%2e%2e/secret", "jobs/../x",
    "jobs/j", "jobs/j/", "jobs/%2e%2e/a", "jobs/j//etc/passwd", "jobs/j/link", "jobs/j/linked/secret", "jobs/j/pipe", "jobs/j/folder", "other/j/a"])
def test_no_name_leads_out(agent, name):
    (agent.folder / "secret").write_text("secret")
    files, staging = agent.workspace / "files", agent.workspace / "jobs/j/staging"
    staging.mkdir(parents=True, exist_ok=True)
    for link, target in ((files / "link", "secret"), (staging / "link", "secret"), (staging / "linked", ".")):
        if not link.is_symlink():
            link.symlink_to(agent.folder / target)
    (staging / "folder").mkdir(exist_ok=True)
    if not (staging / "pipe").exists():
        os.mkfifo(staging / "pipe")
    for method, rest in (("GET", "/part?ranges=0:6"), ("GET", "/chunks"), ("GET", "/chunks?base=../secret"), ("POST", ""), ("DELETE", ""),
                         ("PUT", f"/chunk?digest={sha256(b'secreT')}&size=6&ranges=0:6")):
        body = json.dumps({"size": 6, "digest": sha256(b"secreT")}).encode() if method == "POST" else b"secreT" if method == "PUT" else b""
        status, answer = agent.raw(method, f"/v1/files/{name}{rest}", body, X_Crc32=content_coding.checksum(b"secreT"))
        if name == "link" and method in ("DELETE", "PUT", "POST"):
            # that is the link itself, which is removed or gives way to a file
            assert status in (200, 409)
        else:
            assert status in (400, 404), (method, rest, answer)
    assert (agent.folder / "secret").read_text() == "secret"


def test_only_what_differs_from_a_base(agent, channel):
    old = os.urandom(5 * BLOCK + 100)
    new = old[:BLOCK] + os.urandom(BLOCK) + bytes(BLOCK) + old[3 * BLOCK:] + b"more"
    (agent.workspace / "files/old").write_bytes(old)
    (agent.workspace / "files/new").write_bytes(new)
    page = channel.json("GET", "/v1/files/new/chunks?base=old")
    assert page["data"] == [[BLOCK, BLOCK], [5 * BLOCK, 104]] and page["zeros"] == [[2 * BLOCK, BLOCK]]
    assert channel.json("GET", f"/v1/files/new/chunks?base=old&start={2 * BLOCK}")["data"] == [[5 * BLOCK, 104]]
    refused(404, channel.json, "GET", "/v1/files/new/chunks?base=none")
    refused(400, channel.json, "GET", "/v1/files/new/chunks?start=1")


# --- jobs ------------------------------------------------------------------------------------------------


def test_a_job_gets_its_line_and_its_own_folder(agent, channel):
    told = start(channel, "line", "print(sys.stdin.readline(), os.environ['TMPDIR'], os.getcwd(), end='')\nsys.stdin.read()", options={"a": 1})
    output, last = follow(channel, "line")
    line, rest = output.decode().split("\n")
    assert json.loads(line)["job"] == {"kind": "test", "options": {"a": 1}, "staging": f"{agent.workspace}/jobs/line/staging"}
    assert told["staging"] == f"{agent.workspace}/jobs/line/staging" and rest == f" {agent.workspace}/jobs/line/tmp /"
    assert last.headers["X-State"] == "done" and last.headers["X-Exit"] == "0"
    assert channel.json("GET", "/v1/status")["jobs"]["line"] == {**told, "state": "done", "exit": 0}


def test_output_comes_as_it_is_written(channel):
    start(channel, "slow", "for i in range(3):\n    print(i, flush=True)\n    time.sleep(0.2)")
    first = channel.request("GET", "/v1/jobs/slow/output?offset=0&wait=10")
    assert first.body == b"0\n" and first.headers["X-State"] == "running" and first.headers["X-Exit"] is None
    # nothing new within the time: a heartbeat
    assert channel.request("GET", "/v1/jobs/slow/output?offset=2&wait=0").body == b""
    assert follow(channel, "slow")[0] == b"0\n1\n2\n"
    late = channel.request("GET", "/v1/jobs/slow/output?offset=4")
    assert late.body == b"2\n" and late.headers["X-State"] == "done"


def test_a_long_output_is_told_to_its_end(channel):
    start(channel, "long", "sys.stdout.write('x' * 3000000)")
    until(lambda: channel.json("GET", "/v1/status")["jobs"]["long"]["state"] == "done")
    first = channel.request("GET", "/v1/jobs/long/output?offset=0")
    assert first.headers["X-State"] == "running" and len(first.body) == 1 << 20
    assert len(follow(channel, "long")[0]) == 3_000_000


@pytest.mark.parametrize("name, source, status", [("exits", "print('last words', file=sys.stderr)\nos._exit(3)", "3"),
                                                  ("killed", "print('last words', file=sys.stderr, flush=True)\nos.kill(os.getpid(), 9)", "-9"),
                                                  ("raises", "raise ValueError('last words')", "1")])
def test_a_job_that_fails(channel, name, source, status):
    start(channel, name, source)
    assert follow(channel, name)[1].headers["X-Exit"] == status
    assert b"last words" in channel.request("GET", f"/v1/jobs/{name}/errors").body


def test_the_same_request_starts_nothing_twice(agent, channel):
    source = "open(json.loads(sys.stdin.readline())['job']['mark'], 'a').write('once')\ntime.sleep(0.3)"
    mark = str(agent.folder / "mark")
    answers = []

    def ask():
        mine = agent.channel()
        answers.append(start(mine, "same", source, mark=mark))
        mine.close_all()

    threads = [threading.Thread(target=ask) for _number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 4
    follow(channel, "same")
    assert start(channel, "same", source, mark=mark)["state"] == "done"
    assert pathlib.Path(mark).read_text() == "once"
    refused(409, start, channel, "same", source, mark=mark, more=1)
    channel.request("DELETE", "/v1/jobs/same")
    channel.request("DELETE", "/v1/jobs/same")
    assert not (agent.workspace / "jobs/same").exists()
    # a request that was under way for long must not start it anew
    refused(410, start, channel, "same", source, mark=mark)


def test_a_job_without_its_program(channel):
    refused(424, channel.json, "PUT", "/v1/jobs/early", {"program": "0" * 64, "interpreter": None, "job": {}})
    refused(422, channel.request, "PUT", "/v1/programs/" + "0" * 64, b"zip")
    refused(400, channel.request, "PUT", "/v1/programs/..", b"zip")


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"program": "x", "job": {}}', b'{"program": "x", "job": []}', b'{"job": {"password": "hunter2"',
                                  b'{"program": "%s", "interpreter": "python3", "job": {}}' % (b"0" * 64)])
def test_a_request_that_is_not_a_job(channel, body):
    assert "hunter2" not in refused(400, channel.request, "PUT", "/v1/jobs/odd", body)


def test_an_interpreter_that_is_not_there(agent, channel):
    data = program("pass")
    channel.request("PUT", f"/v1/programs/{sha256(data)}", data)
    with pytest.raises(ImageError, match="/nonexistent/python3: the work program could not be started"):
        channel.json("PUT", "/v1/jobs/none", {"program": sha256(data), "interpreter": "/nonexistent/python3", "job": {}})
    assert not (agent.workspace / "jobs/none").exists()


def test_a_secret_of_a_job_is_on_no_disk(agent, channel):
    start(channel, "secret", "sys.stdin.readline()\nprint('read', flush=True)\ntime.sleep(60)", password="hunter2hunter2")
    assert channel.request("GET", "/v1/jobs/secret/output?wait=10").body == b"read\n"
    seen = subprocess.run(["grep", "-r", "-l", "--devices=skip", "hunter2hunter2", str(agent.folder)], stdout=subprocess.PIPE, check=False)
    assert seen.stdout == b""
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if int(entry.name) != os.getpid():
                assert b"hunter2hunter2" not in (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue
    channel.request("DELETE", "/v1/jobs/secret")
    assert "job secret started: test" in agent.log.read_text() and "job secret ended: killed by SIGTERM" in agent.log.read_text()


def test_what_a_job_leaves_behind_ends_with_it(agent, channel):
    start(channel, "parent", "print(subprocess.Popen(['sleep', '1000']).pid)")
    child = int(follow(channel, "parent")[0])
    until(lambda: not os.path.exists(f"/proc/{child}"))


def test_orphans_are_buried(agent, channel):
    # two generations, and a session of its own: nobody but the first process can wait for it
    start(channel, "orphan", "print(subprocess.run(['setsid', '-f', 'sh', '-c', 'echo $$; sleep 0.2'], stdout=subprocess.PIPE).stdout.decode())")
    orphan = int(follow(channel, "orphan")[0])
    until(lambda: not os.path.exists(f"/proc/{orphan}"))


def test_a_file_of_a_job(agent, channel):
    start(channel, "maker", "folder = json.loads(sys.stdin.readline())['job']['staging']\nos.mkdir(folder + '/0')\n"
                            "open(folder + '/0/a b.img', 'w').write('made')")
    follow(channel, "maker")
    assert channel.request("GET", "/v1/files/jobs/maker/0/a%20b.img/part?ranges=0:4").body == b"made"
    channel.json("POST", "/v1/files/kept", {"source": "jobs/maker/0/a b.img", "digest": sha256(b"made")})
    assert (agent.workspace / "files/kept").read_text() == "made"
    assert channel.json("GET", f"/v1/files/kept/received?digest={sha256(b'made')}")["done"]
    refused(404, channel.json, "POST", "/v1/files/kept", {"source": "jobs/maker/0/a b.img"})


def test_the_real_program(channel):
    data, digest = package.program()
    channel.request("PUT", f"/v1/programs/{digest}", data)
    job = {"kind": "convert", "options": {"no_such_option": 1}, "staging": "", "check": False, "protocol": 1}
    for number, interpreter in enumerate((sys.executable, None)):
        channel.json("PUT", f"/v1/jobs/real{number}", {"program": digest, "interpreter": interpreter, "job": job})
        output, last = follow(channel, f"real{number}")
        assert "no_such_option" in json.loads(output)["error"]["what"] and last.headers["X-Exit"] == "1"


def test_a_home_that_cannot_be_written_to(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.delenv("LIBGUESTFS_CACHEDIR", raising=False)
    with Agent(tmp_path) as other:
        channel = other.channel()
        start(channel, "home", "print(os.environ['HOME'], os.environ['LIBGUESTFS_CACHEDIR'])")
        assert follow(channel, "home")[0].decode().split() == [f"{tmp_path}/workspace/home"] * 2


# --- its end ---------------------------------------------------------------------------------------------


def test_it_ends_when_nobody_speaks(tmp_path):
    with Agent(tmp_path, idle_timeout=0.5) as other:
        friend, stranger = other.channel(), other.channel(token="wrong")
        began = time.monotonic()
        while time.monotonic() - began < 0.8:
            friend.json("GET", "/v1/status")
            time.sleep(0.1)
        assert other.process.poll() is None
        silent = time.monotonic()
        while other.process.poll() is None and time.monotonic() - silent < 5:
            with pytest.raises(ImageError):
                stranger.request("GET", "/v1/status")
            time.sleep(0.05)
        assert other.process.wait(5) == 0 and 0.3 < time.monotonic() - silent < 3
        assert other.log.read_text().splitlines()[-1] == "builder ended: nobody has spoken to it for 0.5 seconds"


def test_who_waits_for_output_speaks(tmp_path):
    with Agent(tmp_path, idle_timeout=0.4) as other:
        channel = other.channel()
        start(channel, "quiet", "time.sleep(0.9)")
        assert channel.request("GET", "/v1/jobs/quiet/output?wait=10").headers["X-State"] == "done"


def test_sigterm_stops_the_jobs(tmp_path):
    with Agent(tmp_path, grace=0.5) as other:
        channel = other.channel()
        start(channel, "polite", "def end(*_):\n    print('cleaned')\n    sys.exit(0)\n"
                                 "signal.signal(signal.SIGTERM, end)\nprint('up', flush=True)\ntime.sleep(60)")
        start(channel, "deaf", "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint(os.getpid(), flush=True)\ntime.sleep(60)")
        outputs = [tmp_path / f"workspace/jobs/{name}/output" for name in ("polite", "deaf")]
        until(lambda: all(path.read_text().endswith("\n") for path in outputs))
        other.process.send_signal(signal.SIGTERM)
        assert other.process.wait(5) == 1
        assert outputs[0].read_text() == "up\ncleaned\n"
        assert not os.path.exists(f"/proc/{outputs[1].read_text().strip()}")
        log = other.log.read_text()
        assert "job deaf ended: killed by SIGKILL" in log and log.endswith("builder ended: received SIGTERM\n")


def test_an_empty_token_is_no_token(tmp_path):
    (tmp_path / "program.zip").write_bytes(package.program()[0])
    (tmp_path / "token").write_text("\n")
    ended = subprocess.run([sys.executable, "-I", "-c", package.START, str(tmp_path / "program.zip"), "--workspace", str(tmp_path / "w"), "--token-file",
                            str(tmp_path / "token"), "--port", "0", "--idle-timeout", "1"], stderr=subprocess.PIPE, timeout=10, check=False)
    assert ended.returncode == 1 and b"token file is empty" in ended.stderr


# --- the tunnel ------------------------------------------------------------------------------------------


class _Tunnelled(Channel):
    """Through the standard input and output of a process, as exec gives them."""

    def __init__(self, agent):
        super().__init__()
        self._agent, self.processes = agent, []

    def headers(self):
        return {TOKEN_HEADER: TOKEN}

    def connect(self):
        ours, theirs = socket.socketpair()
        with theirs:
            self.processes.append(subprocess.Popen([sys.executable, "-I", "-c", package.TUNNEL, str(self._agent.folder / "program.zip"), str(self._agent.port)],
                                                   stdin=theirs, stdout=theirs))
        connection = http.client.HTTPConnection("builder")
        connection.sock = ours
        return connection


def test_a_tunnel(agent):
    channel = _Tunnelled(agent)
    data = os.urandom(3 << 20)
    send(channel, "tunnelled", data)
    channel.json("POST", "/v1/files/tunnelled", {"size": len(data), "digest": sha256(data)})
    assert channel.request("GET", f"/v1/files/tunnelled/part?ranges=0:{len(data)}").body == data
    channel.close_all()
    assert len(channel.processes) == 1 and channel.processes[0].wait(10) == 0
