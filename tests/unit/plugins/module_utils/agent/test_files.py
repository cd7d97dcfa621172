# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The files of a builder: in by chunks, out by ranges; asked over loopback."""

from __future__ import annotations

import json
import os

import pytest

from ansible_collections.ocne.images.plugins.module_utils.agent import content_coding
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.agent.asking import follow, refused, send, sha256, start

BLOCK = 64 << 10


def test_a_file_by_chunks(agent, client):
    data = os.urandom(200_000)
    for begin, end in ((BLOCK, len(data)), (0, BLOCK)):
        send(client, "a.img", data[begin:end], sha256(data), len(data), f"{begin}:{end - begin}")
    assert client.json("GET", f"/v1/files/a.img/received?digest={sha256(data)}")["ranges"] == [[0, len(data)]]
    assert "a.img" not in client.json("GET", "/v1/status")["files"]
    client.json("POST", "/v1/files/a.img", {"size": len(data), "digest": sha256(data)})
    assert (agent.workspace / "files/a.img").read_bytes() == data
    assert client.json("GET", "/v1/status")["files"]["a.img"] == len(data)
    assert client.json("GET", f"/v1/files/a.img/received?digest={sha256(data)}")["done"]
    page = client.json("GET", "/v1/files/a.img/chunks")
    assert page["data"] == [[0, len(data)]] and page["size"] == len(data) and page["next"] is None and page["digest"] == sha256(data)
    part = client.request("GET", "/v1/files/a.img/part?ranges=100:50,7:3")
    assert part.body == data[100:150] + data[7:10] and part.headers["X-Crc32"] == content_coding.checksum(part.body)
    client.request("DELETE", "/v1/files/a.img")
    client.request("DELETE", "/v1/files/a.img")
    assert not (agent.workspace / "files/a.img").exists()


def test_a_file_that_is_not_what_its_digest_says(agent, client):
    data = os.urandom(1000)
    send(client, "wrong", data, sha256(b"other"))
    assert "not what its digest says" in refused(409, client.json, "POST", "/v1/files/wrong", {"size": 1000, "digest": sha256(b"other")})
    assert not [entry.name for entry in os.scandir(agent.workspace / "files") if "wrong" in entry.name]
    assert client.json("GET", f"/v1/files/wrong/received?digest={sha256(b'other')}")["ranges"] == []


def test_a_file_that_was_touched_is_not_there(agent, client):
    data = os.urandom(1000)
    send(client, "touched", data)
    client.json("POST", "/v1/files/touched", {"size": 1000, "digest": sha256(data)})
    (agent.workspace / "files/touched").write_bytes(data[::-1])
    assert not client.json("GET", f"/v1/files/touched/received?digest={sha256(data)}")["done"]


def test_what_came_once_is_not_written_again(agent, client):
    data = os.urandom(3 * BLOCK)
    send(client, "twice", data[:BLOCK], sha256(data), len(data), f"0:{BLOCK}")
    # a late request of a controller that died: its first block is known, its others are new
    send(client, "twice", bytes(BLOCK) + data[BLOCK:], sha256(data), len(data), f"0:{len(data)}")
    client.json("POST", "/v1/files/twice", {"size": len(data), "digest": sha256(data)})
    assert (agent.workspace / "files/twice").read_bytes() == data


@pytest.mark.parametrize("query, status", [
    ("digest=D&size=100&ranges=98:5", 400), ("digest=D&size=100&ranges=0:0", 400), ("digest=D&size=100&ranges=-1:5", 400),
    ("digest=D&size=-1&ranges=0:5", 400), ("digest=D&size=100&ranges=", 400), ("digest=D&size=100", 400), ("digest=D&ranges=0:5", 400),
    ("digest=x&size=100&ranges=0:5", 400), ("size=100&ranges=0:5", 400), (f"digest=D&size={1 << 40}&ranges=0:{(16 << 20) + 1}", 413)])
def test_a_chunk_that_cannot_be(client, query, status):
    refused(status, client.request, "PUT", "/v1/files/x/chunk?" + query.replace("D", "0" * 64), b"12345", {"X-Crc32": content_coding.checksum(b"12345")})


def test_where_the_space_does_not_suffice(client):
    text = refused(507, client.json, "GET", f"/v1/files/x/received?digest={'0' * 64}&needed={1 << 60}")
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


def test_only_what_differs_from_a_base(agent, client):
    old = os.urandom(5 * BLOCK + 100)
    new = old[:BLOCK] + os.urandom(BLOCK) + bytes(BLOCK) + old[3 * BLOCK:] + b"more"
    (agent.workspace / "files/old").write_bytes(old)
    (agent.workspace / "files/new").write_bytes(new)
    page = client.json("GET", "/v1/files/new/chunks?base=old")
    assert page["data"] == [[BLOCK, BLOCK], [5 * BLOCK, 104]] and page["zeros"] == [[2 * BLOCK, BLOCK]]
    assert client.json("GET", f"/v1/files/new/chunks?base=old&start={2 * BLOCK}")["data"] == [[5 * BLOCK, 104]]
    refused(404, client.json, "GET", "/v1/files/new/chunks?base=none")
    refused(400, client.json, "GET", "/v1/files/new/chunks?start=1")


def test_a_file_of_a_job(agent, client):
    start(client, "maker", "folder = json.loads(sys.stdin.readline())['job']['staging']\nos.mkdir(folder + '/0')\n"
                           "open(folder + '/0/a b.img', 'w').write('made')")
    follow(client, "maker")
    assert client.request("GET", "/v1/files/jobs/maker/0/a%20b.img/part?ranges=0:4").body == b"made"
    client.json("POST", "/v1/files/kept", {"source": "jobs/maker/0/a b.img", "digest": sha256(b"made")})
    assert (agent.workspace / "files/kept").read_text() == "made"
    assert client.json("GET", f"/v1/files/kept/received?digest={sha256(b'made')}")["done"]
    refused(404, client.json, "POST", "/v1/files/kept", {"source": "jobs/maker/0/a b.img"})
