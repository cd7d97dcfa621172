# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Jobs of an agent: started once, followed, ended; asked over loopback."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import threading

import pytest

from ansible_collections.ocne.images.plugins.module_utils.builders.remote import package
from ansible_collections.ocne.images.plugins.module_utils.builders.remote.client import ImageError
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.agent.asking import follow, refused, sha256, start
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.builders.remote.agents import Agent, program, until


def test_a_job_gets_its_line_and_its_own_folder(agent, client):
    told = start(client, "line", "print(sys.stdin.readline(), os.environ['TMPDIR'], os.getcwd(), end='')\nsys.stdin.read()", options={"a": 1})
    output, last = follow(client, "line")
    line, rest = output.decode().split("\n")
    assert json.loads(line)["job"] == {"kind": "test", "options": {"a": 1}, "staging": f"{agent.workspace}/jobs/line/staging"}
    assert told["staging"] == f"{agent.workspace}/jobs/line/staging" and rest == f" {agent.workspace}/jobs/line/tmp /"
    assert last.headers["X-State"] == "done" and last.headers["X-Exit"] == "0"
    assert client.json("GET", "/v1/status")["jobs"]["line"] == {**told, "state": "done", "exit": 0}


def test_output_comes_as_it_is_written(client):
    start(client, "slow", "for i in range(3):\n    print(i, flush=True)\n    time.sleep(0.2)")
    first = client.request("GET", "/v1/jobs/slow/output?offset=0&wait=10")
    assert first.body == b"0\n" and first.headers["X-State"] == "running" and first.headers["X-Exit"] is None
    # nothing new within the time: a heartbeat
    assert client.request("GET", "/v1/jobs/slow/output?offset=2&wait=0").body == b""
    assert follow(client, "slow")[0] == b"0\n1\n2\n"
    late = client.request("GET", "/v1/jobs/slow/output?offset=4")
    assert late.body == b"2\n" and late.headers["X-State"] == "done"


def test_a_long_output_is_told_to_its_end(client):
    start(client, "long", "sys.stdout.write('x' * 3000000)")
    until(lambda: client.json("GET", "/v1/status")["jobs"]["long"]["state"] == "done")
    first = client.request("GET", "/v1/jobs/long/output?offset=0")
    assert first.headers["X-State"] == "running" and len(first.body) == 1 << 20
    assert len(follow(client, "long")[0]) == 3_000_000


@pytest.mark.parametrize("name, source, status", [("exits", "print('last words', file=sys.stderr)\nos._exit(3)", "3"),
                                                  ("killed", "print('last words', file=sys.stderr, flush=True)\nos.kill(os.getpid(), 9)", "-9"),
                                                  ("raises", "raise ValueError('last words')", "1")])
def test_a_job_that_fails(client, name, source, status):
    start(client, name, source)
    assert follow(client, name)[1].headers["X-Exit"] == status
    assert b"last words" in client.request("GET", f"/v1/jobs/{name}/errors").body


def test_the_same_request_starts_nothing_twice(agent, client):
    source = "open(json.loads(sys.stdin.readline())['job']['mark'], 'a').write('once')\ntime.sleep(0.3)"
    mark = str(agent.folder / "mark")
    answers = []

    def ask():
        mine = agent.client()
        answers.append(start(mine, "same", source, mark=mark))
        mine.close_all()

    threads = [threading.Thread(target=ask) for _number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 4
    follow(client, "same")
    assert start(client, "same", source, mark=mark)["state"] == "done"
    assert pathlib.Path(mark).read_text() == "once"
    refused(409, start, client, "same", source, mark=mark, more=1)
    client.request("DELETE", "/v1/jobs/same")
    client.request("DELETE", "/v1/jobs/same")
    assert not (agent.workspace / "jobs/same").exists()
    # a request that was under way for long must not start it anew
    refused(410, start, client, "same", source, mark=mark)


def test_a_job_without_its_program(client):
    refused(424, client.json, "PUT", "/v1/jobs/early", {"program": "0" * 64, "interpreter": None, "job": {}})
    refused(422, client.request, "PUT", "/v1/programs/" + "0" * 64, b"zip")
    refused(400, client.request, "PUT", "/v1/programs/..", b"zip")


def test_an_interpreter_that_is_not_there(agent, client):
    data = program("pass")
    client.request("PUT", f"/v1/programs/{sha256(data)}", data)
    with pytest.raises(ImageError, match="/nonexistent/python3: the work program could not be started"):
        client.json("PUT", "/v1/jobs/none", {"program": sha256(data), "interpreter": "/nonexistent/python3", "job": {}})
    assert not (agent.workspace / "jobs/none").exists()


def test_a_secret_of_a_job_is_on_no_disk(agent, client):
    start(client, "secret", "sys.stdin.readline()\nprint('read', flush=True)\ntime.sleep(60)", password="hunter2hunter2")
    assert client.request("GET", "/v1/jobs/secret/output?wait=10").body == b"read\n"
    seen = subprocess.run(["grep", "-r", "-l", "--devices=skip", "hunter2hunter2", str(agent.folder)], stdout=subprocess.PIPE, check=False)
    assert seen.stdout == b""
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if int(entry.name) != os.getpid():
                assert b"hunter2hunter2" not in (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue
    client.request("DELETE", "/v1/jobs/secret")
    assert "job secret started: test" in agent.log.read_text() and "job secret ended: killed by SIGTERM" in agent.log.read_text()


def test_what_a_job_leaves_behind_ends_with_it(agent, client):
    start(client, "parent", "print(subprocess.Popen(['sleep', '1000']).pid)")
    child = int(follow(client, "parent")[0])
    until(lambda: not os.path.exists(f"/proc/{child}"))


def test_orphans_are_buried(agent, client):
    # two generations, and a session of its own: nobody but the first process can wait for it
    start(client, "orphan", "print(subprocess.run(['setsid', '-f', 'sh', '-c', 'echo $$; sleep 0.2'], stdout=subprocess.PIPE).stdout.decode())")
    orphan = int(follow(client, "orphan")[0])
    until(lambda: not os.path.exists(f"/proc/{orphan}"))


def test_the_real_program(client):
    data, digest = package.program()
    client.request("PUT", f"/v1/programs/{digest}", data)
    job = {"kind": "convert", "options": {"no_such_option": 1}, "staging": "", "check": False, "protocol": 1}
    for number, interpreter in enumerate((sys.executable, None)):
        client.json("PUT", f"/v1/jobs/real{number}", {"program": digest, "interpreter": interpreter, "job": job})
        output, last = follow(client, f"real{number}")
        assert "no_such_option" in json.loads(output)["error"]["what"] and last.headers["X-Exit"] == "1"


def test_a_home_that_cannot_be_written_to(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.delenv("LIBGUESTFS_CACHEDIR", raising=False)
    with Agent(tmp_path) as other:
        client = other.client()
        start(client, "home", "print(os.environ['HOME'], os.environ['LIBGUESTFS_CACHEDIR'])")
        assert follow(client, "home")[0].decode().split() == [f"{tmp_path}/workspace/home"] * 2
