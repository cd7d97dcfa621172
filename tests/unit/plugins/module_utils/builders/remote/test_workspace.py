# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files of a workspace, of a real agent on loopback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from types import SimpleNamespace

import pytest

from ansible_collections.ocne.images.plugins.module_utils.artifact.record import Record, write_record
from ansible_collections.ocne.images.plugins.module_utils.builders.remote.workspace import Workspace, name_of, workspace_name
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.common.progress import silent
from ansible_collections.ocne.images.plugins.module_utils.files import digests
from ansible_collections.ocne.images.plugins.module_utils.work.job import Artifact, Input
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.builders.remote.agents import AgentSession


@pytest.fixture
def session(agent, client):
    for path in (agent.workspace / "files").iterdir():
        client.request("DELETE", f"/v1/files/{path.name}")
    return AgentSession(client)


@pytest.fixture
def workspace(session):
    return Workspace(session, silent())


def files(agent):
    return sorted(path.name for path in (agent.workspace / "files").iterdir())


def write(path, data):
    path.write_bytes(data)
    return digests.sha256_file(str(path))[0]


# --- names -----------------------------------------------------------------------------------------------


def test_names_in_a_workspace():
    assert workspace_name("workspace:disk-1_a.qcow2") == "disk-1_a.qcow2"
    assert workspace_name("/srv/workspace:disk") is None and workspace_name("disk") is None


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "-x", "a b", "x" * 152, "0" * 64, "sparse-sha256-" + "0" * 64, "disk.record.json"])
def test_what_is_no_name(name):
    with pytest.raises(ImageError, match="it is not a name in a workspace"):
        workspace_name(f"workspace:{name}")


# --- there -----------------------------------------------------------------------------------------------


def test_a_file_goes_there_under_its_digest_and_once(agent, session, workspace, tmp_path):
    digest, options = write(tmp_path / "file", os.urandom(100_000)), {"src": str(tmp_path / "file")}
    bases = workspace.bring([Input(options, "src")], None)
    assert options == {"src": f"{agent.workspace}/files/{digest}"} and bases == {str(tmp_path / "file"): (str(tmp_path / "file"), digest)}
    assert (agent.workspace / "files" / digest).read_bytes() == (tmp_path / "file").read_bytes()
    before = os.stat(agent.workspace / "files" / digest).st_ino
    workspace.bring([Input({"src": str(tmp_path / "file")}, "src")], None)
    assert os.stat(agent.workspace / "files" / digest).st_ino == before


def test_an_image_is_named_as_the_user_did_and_may_be_pulled_there(agent, workspace, tmp_path):
    write(tmp_path / "disk.raw", os.urandom(100_000))
    name, asked, options = name_of(digests.sparse_digest(str(tmp_path / "disk.raw"))), [], {"src": str(tmp_path / "disk.raw")}

    def pull(*what):
        asked.append(what)
        return True
    workspace.bring([Input(options, "src", "raw")], pull)
    assert options == {"src": str(tmp_path / "disk.raw"), "read_path": f"{agent.workspace}/files/{name}"}
    assert asked == [(str(tmp_path / "disk.raw"), digests.sparse_digest(str(tmp_path / "disk.raw")), name)]
    assert files(agent) == []   # the pull would have made it
    workspace.bring([Input({"src": str(tmp_path / "disk.raw")}, "src", "raw")], lambda *_what: False)
    assert files(agent) == [name] and name.startswith("sparse-sha256-")


def test_what_is_no_image_may_be_named_as_the_user_did_too(agent, workspace, tmp_path):
    digest, options = write(tmp_path / "held", b"what the user named, and holds open"), {"src": str(tmp_path / "file"), "read_path": str(tmp_path / "held")}
    write(tmp_path / "file", b"another one that has taken its name")
    workspace.bring([Input(options, "src", named=True)], None)
    assert options == {"src": str(tmp_path / "file"), "read_path": f"{agent.workspace}/files/{digest}"} and files(agent) == [digest]
    options = {"src": "workspace:image.oci"}
    workspace.bring([Input(options, "src", named=True)], None)
    assert options == {"src": "workspace:image.oci", "read_path": f"{agent.workspace}/files/image.oci"}


def test_what_is_there_by_name_is_not_sent(agent, workspace):
    options = {"src": "workspace:base.qcow2", "read_path": None}
    assert workspace.bring([Input(options, "src", "qcow2")], None) == {}
    assert options["read_path"] == f"{agent.workspace}/files/base.qcow2"


def test_a_file_that_is_not_there(agent, workspace, tmp_path):
    with pytest.raises(ImageError, match=f"{tmp_path}/none: reading .* failed: no such file"):
        workspace.bring([Input({"src": str(tmp_path / "none")}, "src")], None)
    assert files(agent) == []


@pytest.mark.skipif(not shutil.which("qemu-img"), reason="qemu-img is not installed")
def test_an_image_of_several_files_stays_here(agent, workspace, tmp_path):
    subprocess.run(["qemu-img", "create", "-q", "-f", "vmdk", "-o", "subformat=monolithicFlat", tmp_path / "disk.vmdk", "1M"], check=True)
    with pytest.raises(ImageError, match="an image of several files cannot be sent"):
        workspace.bring([Input({"src": str(tmp_path / "disk.vmdk")}, "src", "vmdk")], None)
    assert files(agent) == []


def test_room_is_made_by_what_is_kept_under_a_digest(agent, session, workspace, tmp_path):
    source = Input({"src": str(tmp_path / "source")}, "src")
    write(tmp_path / "source", os.urandom(1 << 20))
    for name, size in (("0" * 64, 2 << 20), ("sparse-sha256-" + "1" * 64, 2 << 20), ("mine.qcow2", 2 << 20)):
        (agent.workspace / "files" / name).write_bytes(os.urandom(size))
    workspace.make_room([source])
    assert len(files(agent)) == 3
    session.limit = 6 << 20
    workspace.make_room([source])
    assert len(files(agent)) == 2 and "mine.qcow2" in files(agent)
    session.limit = 3 << 20
    with pytest.raises(ImageError, match="pod b1: the workspace of the builder has 3145728 bytes, and this work needs about 4194304; make the builder"):
        workspace.make_room([source])
    assert files(agent) == ["mine.qcow2"]


def test_a_source_that_is_there_already_stays_and_counts_once(agent, session, workspace, tmp_path):
    digest = write(tmp_path / "source", os.urandom(1 << 20))
    write_record(str(tmp_path / "source"), Record("ocne_boot_image", {}, {}, digest, "qcow2", 1, {}, digests.stat_of(str(tmp_path / "source"))))
    for name in (digest, "0" * 64, "f" * 64):
        (agent.workspace / "files" / name).write_bytes(os.urandom(1 << 20))
    session.limit = 3 << 20
    workspace.make_room([Input({"src": str(tmp_path / "source")}, "src")])
    assert digest in files(agent) and len(files(agent)) == 2
    # its record is none of it any more
    os.utime(tmp_path / "source", ns=(0, 0))
    workspace.make_room([Input({"src": str(tmp_path / "source")}, "src")])
    assert len(files(agent)) == 1


def test_holes_need_no_room(agent, session, workspace, tmp_path):
    with open(agent.workspace / "files/mine.raw", "wb") as file:
        file.truncate(15 << 30)
    workspace.make_room([])


# --- back, and what stays --------------------------------------------------------------------------------


@pytest.fixture
def done(agent):
    """A job that has ended, with a disk and its extent."""
    staging = agent.workspace / "jobs/j1/staging"
    staging.mkdir(parents=True)
    item = Artifact("disk.vmdk", str(staging / "out.vmdk"), "vmdk", 5, write(staging / "out.vmdk", b"small"), 1 << 20, ["out-flat.vmdk"],
                    {"extents": [{"sha256": write(staging / "out-flat.vmdk", os.urandom(200_000))}]})
    yield SimpleNamespace(item=item, staging=staging, file=lambda path: f"jobs/j1/{os.path.relpath(path, staging)}")
    shutil.rmtree(agent.workspace / "jobs/j1")


def test_an_artifact_comes_back_with_all_its_files(workspace, done, tmp_path):
    assert workspace.fetch(done, done.item, str(tmp_path), None) == "jobs/j1/out.vmdk"
    assert done.item.path == str(tmp_path / "out.vmdk") and sorted(os.listdir(tmp_path)) == ["out-flat.vmdk", "out.vmdk"]
    assert (tmp_path / "out-flat.vmdk").read_bytes() == (done.staging / "out-flat.vmdk").read_bytes()


def test_an_artifact_that_is_not_what_its_digest_says(workspace, done, tmp_path):
    done.item.sha256 = "0" * 64
    with pytest.raises(ImageError):
        workspace.fetch(done, done.item, str(tmp_path), None)
    assert os.listdir(tmp_path) == []


def test_an_artifact_stays_under_its_name(agent, session, workspace, done):
    with pytest.raises(ImageError, match="workspace:kept: an image of several files cannot be kept"):
        workspace.leave(done, done.item, "kept")
    done.item.extents = []
    workspace.leave(done, done.item, "kept")
    assert done.item.path == "workspace:kept" and files(agent) == ["kept"] and session.has("kept", done.item.sha256)


def record(digest):
    return Record("ocne_boot_image", {"digest": "1"}, {"a": 1}, digest, "qcow2", 1 << 30, {})


def test_a_record_beside_it(agent, session, workspace, tmp_path):
    assert workspace.record("kept") is None
    digest = write(tmp_path / "disk", b"content")
    workspace.put(Artifact("disk", str(tmp_path / "disk"), "qcow2", 7, digest, 7), "kept")
    assert workspace.record("kept") is None
    workspace.write_record("kept", record(digest))
    assert workspace.record("kept") == record(digest)
    (agent.workspace / "files/kept").write_bytes(b"CONTENT")
    assert workspace.record("kept") is None


@pytest.mark.parametrize("text", ["", "{}", "words", json.dumps(dict(record("0" * 64).dump(), kind="forged"))])
def test_a_record_that_is_none(agent, workspace, text):
    (agent.workspace / "files/kept.record.json").write_text(text)
    assert workspace.record("kept") is None


def test_a_record_of_a_builder_that_is_not_there(session, workspace):
    session.there = False
    assert workspace.record("kept") is None
    session.params = {"name": None}
    with pytest.raises(ImageError, match="workspace:kept: a workspace is that of a named builder pod; set builder.name"):
        workspace.record("kept")
