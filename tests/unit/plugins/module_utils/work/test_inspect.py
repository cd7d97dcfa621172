# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is told of an image without an appliance, and how small texts of an image are read."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import struct
import subprocess
from types import SimpleNamespace

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError, Interrupted
from ansible_collections.ocne.images.plugins.module_utils.common.progress import silent
from ansible_collections.ocne.images.plugins.module_utils.work import inspect
from ansible_collections.ocne.images.plugins.module_utils.work.disk import headers, qemu_img
from ansible_collections.ocne.images.plugins.module_utils.work.guest import bls, loader, partitions
from ansible_collections.ocne.images.plugins.module_utils.work.job import Job

needs_qemu = pytest.mark.skipif(not shutil.which("qemu-img"), reason="qemu-img is not installed")


def create(path, *arguments):
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *arguments, path, "1M"], check=True, cwd=path.parent)
    return path


def run(path, tmp_path, **options):
    job = Job("inspect", dict({"src": str(path), "src_format": "qcow2", "contents": False}, **options), str(tmp_path))
    return inspect.run(job, silent()).values


@needs_qemu
def test_the_format_needs_no_appliance(tmp_path):
    path = create(tmp_path / "a.qcow2", "-o", "compression_type=zstd")
    before = os.stat(path)
    values = run(path, tmp_path, check=True)
    assert (values["virtual_size"], values["compression_type"], values["cluster_size"]) == (1 << 20, "zstd", 65536)
    assert values["integrity"]["state"] == "clean"
    assert not values["in_use"] and "partitions" not in values
    assert os.stat(path).st_mtime_ns == before.st_mtime_ns


@needs_qemu
def test_a_backing_file_is_told_and_its_contents_refused(tmp_path):
    create(tmp_path / "base.qcow2")
    path = create(tmp_path / "overlay.qcow2", "-b", "base.qcow2", "-F", "qcow2")
    assert run(path, tmp_path)["backing_file"] == "base.qcow2"
    with pytest.raises(ImageError, match="backing file"):
        run(path, tmp_path, contents=True)


@needs_qemu
def test_corruption_is_told(tmp_path):
    path = create(tmp_path / "a.qcow2")
    with open(path, "r+b") as file:
        file.seek(2 << 16)
        file.write(b"\0" * 65536)
    integrity = run(path, tmp_path, check=True)["integrity"]
    assert integrity["state"] == "corrupt" and integrity["corruptions"] > 0


@needs_qemu
@pytest.mark.parametrize("byte, used", [(101, True), (103, True), (100, False), (201, False)])
def test_a_writer_is_seen_and_not_disturbed(tmp_path, byte, used):
    path = create(tmp_path / "a.qcow2")
    with open(path, "r+b") as file:
        lock = struct.pack("@hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, byte, 1, 0)
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, lock)
        values = run(path, tmp_path, check=True)
        assert values["in_use"] == used
        assert values["integrity"]["state"] == ("unknown" if used else "clean")
    assert not run(path, tmp_path)["in_use"]


@needs_qemu
@pytest.mark.parametrize("kind, options", [("qcow2", ""), ("raw", ""), ("vdi", ""), ("vhdx", ""), ("vpc", "force_size=on"),
                                           ("vmdk", "subformat=monolithicSparse"), ("vmdk", "subformat=twoGbMaxExtentFlat"),
                                           ("vmdk", "subformat=twoGbMaxExtentSparse")])
def test_the_overlay_shows_the_image_and_takes_no_lock(tmp_path, kind, options):
    content = tmp_path / "content.raw"
    content.write_bytes(os.urandom(100_000))
    os.truncate(content, 3 << 20)
    name = "a b,c" if kind == "vmdk" else 'a "b",c'   # a descriptor has no way to write a quote
    path = tmp_path / f"{name}.{kind}"
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", kind, *(["-o", options] if options else []), content, path], check=True)
    facts = headers.read_header(str(path), kind)
    files = [path] + [tmp_path / name for name in facts.extents]
    overlay = inspect._overlay(facts, str(tmp_path))
    held = [open(file, "r+b") for file in files]
    try:
        for file in held:
            # what a virtual machine holds: it writes, and lets nobody else write
            for byte in (101, 103, 201, 203):
                fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack("@hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, byte, 1, 0))
        qemu_img.compare(overlay, "qcow2", str(content), "raw")
    finally:
        for file in held:
            file.close()


def test_fstab():
    rows = inspect._fstab("# a comment\n\nUUID=1 / xfs rw,noatime 0 1\n/dev/sda1 /with\\040space vfat\nbroken\n")
    assert rows == [
        {"device": "UUID=1", "mountpoint": "/", "type": "xfs", "options": ["rw", "noatime"], "dump": 0, "pass": 1},
        {"device": "/dev/sda1", "mountpoint": "/with space", "type": "vfat", "options": ["defaults"], "dump": 0, "pass": 0}]
    assert inspect._fstab(None) is None


@pytest.mark.parametrize("text, state", [(None, "missing"), ("", "empty"), ("\n", "empty"), ("uninitialized\n", "uninitialized"),
                                         ("0123456789abcdef0123456789abcdef\n", "present")])
def test_machine_id(text, state):
    assert inspect._machine_id(text) == state


def test_fields_of_a_boot_entry():
    entry = bls.Entry("title A  b\ninitrd /one\ninitrd /two\noptions rw quiet\n")
    assert inspect._fields(entry) == {"title": "A  b", "initrd": ["/one", "/two"]}


def test_bytes_that_are_not_text_do_not_break_the_result():
    raw = b"caf\xe9".decode("utf-8", "surrogateescape")
    clean = inspect._printable({raw: [raw, 1, None, {"a": raw}]})
    json.dumps(clean, ensure_ascii=False).encode("utf-8")


# --- a stop ------------------------------------------------------------------------------------------


def stop(*_arguments, **_options):
    raise Interrupted("received SIGTERM")


def put(monkeypatch, name, function):
    """In place of one function of partitions or loader, wherever inspect has it from."""
    room = inspect.partitions if hasattr(inspect.partitions, name) else inspect.loader
    monkeypatch.setattr(inspect if hasattr(inspect, name) else room, name, function)


@pytest.fixture
def booting(monkeypatch):
    """An image as far as its partitions and loader tell it, which boots."""
    parts = partitions.Roles(boot="boot", root="root")
    entry = bls.Entry("options ignition.platform.id=qemu\n")
    for name, value in {"read_partitions": [], "roles_of": parts, "make_mountpoints": None, "mount": None, "loader_folder": "/boot/loader",
                        "deployment_of": None, "boot_entries": [loader.BootEntry("a.conf", "/boot/loader/entries/a.conf", entry)],
                        "all_deployments": []}.items():
        put(monkeypatch, name, lambda *_arguments, value=value, **_options: value)


@pytest.mark.parametrize("place", ["roles_of", "mount", "deployment_of"])
def test_a_stop_is_no_warning(booting, monkeypatch, place):
    put(monkeypatch, place, stop)
    warnings = []
    with pytest.raises(Interrupted):
        inspect._contents(None, inspect.Options("disk", "raw"), warnings)
    assert not warnings


@pytest.mark.parametrize("ask", [
    lambda view: inspect._described(None, view, "/etc/fstab"), lambda view: inspect._read(None, view, "/etc/fstab", 10),
])
def test_a_stop_is_no_fault_of_a_path(ask):
    with pytest.raises(Interrupted):
        ask(SimpleNamespace(resolve=stop))
