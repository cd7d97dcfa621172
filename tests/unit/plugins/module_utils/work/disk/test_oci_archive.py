# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Archives that tar and gzip read, and what is refused of those that others made."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import tracemalloc

import pytest

from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle import launch_metadata
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.common.progress import Progress, silent
from ansible_collections.ocne.images.plugins.module_utils.files.digests import sha256_file
from ansible_collections.ocne.images.plugins.module_utils.work.disk import headers, oci_archive
from ansible_collections.ocne.images.plugins.module_utils.work.disk.oci_archive import DISK_MEMBER, METADATA_MEMBER
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.work.disk.disks import SIZE, bend, qemu_img

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="qemu-img is not installed")
ABOUT = {"version": 2, "operatingSystem": "Oracle Linux"}
METADATA = launch_metadata.encoded(ABOUT)


def write(path, image, metadata=METADATA, progress=None):
    return oci_archive.write(str(path), metadata, headers.read_header(str(image), "qcow2"), progress)


@pytest.fixture
def image(make):
    return make("qcow2")


@pytest.fixture
def archive(tmp_path, image):
    write(tmp_path / "image.oci", image)
    return tmp_path / "image.oci"


# --- writing ---------------------------------------------------------------------------------------------


def test_the_names_are_those_of_the_cloud():
    assert (METADATA_MEMBER, DISK_MEMBER) == (launch_metadata.METADATA_MEMBER, launch_metadata.DISK_MEMBER)


@pytest.mark.parametrize("options", ["", "cluster_size=512", "cluster_size=2M", "compat=0.10"])
def test_tar_and_gzip_read_it(tmp_path, make, options):
    image, path = make("qcow2", options), tmp_path / "image.oci"
    digest, size = write(path, image)
    assert (digest, size) == sha256_file(path)
    subprocess.run(["gzip", "-t", "-S", ".oci", path], check=True)
    listed = subprocess.run(["tar", "-tvzf", path, "--numeric-owner"], check=True, capture_output=True, text=True, env=dict(os.environ, TZ="UTC")).stdout
    assert [line.split() for line in listed.splitlines()] == [
        ["-rw-r--r--", "0/0", str(len(METADATA)), "1970-01-01", "00:00", METADATA_MEMBER],
        ["-rw-r--r--", "0/0", str(image.stat().st_size), "1970-01-01", "00:00", DISK_MEMBER]]
    subprocess.run(["tar", "-xzf", path, "-C", tmp_path], check=True)
    assert (tmp_path / METADATA_MEMBER).read_bytes() == METADATA
    assert (tmp_path / DISK_MEMBER).read_bytes() == image.read_bytes()
    qemu_img("check", "-q", "-f", "qcow2", tmp_path / DISK_MEMBER)
    with tarfile.open(path, "r:gz") as opened:
        assert [(info.name, info.uid, info.uname, info.mode, info.mtime, info.isreg()) for info in opened] == [
            (name, 0, "", 0o644, 0, True) for name in (METADATA_MEMBER, DISK_MEMBER)]


def test_the_same_image_makes_the_same_archive(tmp_path, image):
    found = set()
    for name in ("a.oci", "b.oci"):
        found.add(write(tmp_path / name, image))
        os.utime(image, (1, 1))
        image = image.rename(tmp_path / f"{name}.qcow2")
    assert len(found) == 1 and (tmp_path / "a.oci").read_bytes() == (tmp_path / "b.oci").read_bytes()
    assert write(tmp_path / "c.oci", image, launch_metadata.encoded(dict(ABOUT, version=3))) not in found


def test_progress_is_of_the_image_in_bytes(tmp_path, image):
    events = []
    progress = Progress(events.append, interval=0)
    progress.phase("pack", image.stat().st_size)
    write(tmp_path / "image.oci", image, progress=progress)
    assert events[-1]["done"] == image.stat().st_size


def test_memory_does_not_grow_with_the_image(tmp_path, make):
    image = make("qcow2")
    os.truncate(image, 600 << 20)   # all of a file goes into it, also what no table names
    tracemalloc.start()
    write(tmp_path / "image.oci", image)
    found = oci_archive.read(str(tmp_path / "image.oci"), to_the_end=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.size == 600 << 20 and peak < 100 << 20


def test_a_size_that_a_tar_header_has_no_digits_for(tmp_path, make):
    image = make("qcow2")
    os.truncate(image, 9 << 30)
    header = headers.read_header(str(image), "qcow2")
    block = oci_archive._member(DISK_MEMBER, header.file_size)
    assert len(block) == tarfile.BLOCKSIZE and tarfile.TarInfo.frombuf(block, "utf-8", "strict").size == 9 << 30
    (tmp_path / "start.tar").write_bytes(block)
    listed = subprocess.run(["tar", "-tvf", tmp_path / "start.tar"], capture_output=True, text=True, check=False).stdout
    assert str(9 << 30) in listed


def test_an_image_that_becomes_shorter(tmp_path, image):
    header = headers.read_header(str(image), "qcow2")
    os.truncate(image, 70_000)
    with pytest.raises(ImageError, match="was changed while it was read; run the task again when nothing writes to it"):
        oci_archive.write(str(tmp_path / "image.oci"), METADATA, header)


def test_faults_of_writing(tmp_path, image):
    with pytest.raises(ImageError, match="name fewer shapes"):
        write(tmp_path / "image.oci", image, bytes(2 << 20))
    with pytest.raises(ImageError, match="writing the archive failed: no such file"):
        write(tmp_path / "none" / "image.oci", image)
    with pytest.raises(OSError, match="No space left"), open("/dev/full", "wb") as file:
        oci_archive._pack(oci_archive._Output(file), METADATA, headers.read_header(str(image), "qcow2"), silent())


# --- reading ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to_the_end", [False, True])
def test_what_is_written_is_read(archive, image, to_the_end):
    found = oci_archive.read(str(archive), to_the_end=to_the_end)
    assert (found.metadata, found.size) == (ABOUT, image.stat().st_size)
    assert (found.header.virtual_size, found.header.compression_type, found.header.version) == (SIZE, "zlib", 3)
    assert found.sha256 == (hashlib.sha256(image.read_bytes()).hexdigest() if to_the_end else None)


def member(name, data=b"", **fields):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def tarred(path, *members, mode="w:gz", format=tarfile.PAX_FORMAT):
    with tarfile.open(path, mode, format=format) as opened:
        for info, data in members:
            opened.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("mode", ["w:gz", "w"])
def test_archives_of_others_in_either_order(tmp_path, image, mode, format):
    about, disk = member(METADATA_MEMBER, METADATA, mtime=1700000000, uid=1000, uname="user"), member(DISK_MEMBER, image.read_bytes(), mode=0o600)
    for number, members in enumerate([(about, disk), (disk, about)]):
        path = tarred(tmp_path / f"{number}.oci", *members, mode=mode, format=format)
        for to_the_end in (False, True):
            found = oci_archive.read(str(path), to_the_end=to_the_end)
            assert (found.metadata, found.header.virtual_size) == (ABOUT, SIZE)


@pytest.mark.parametrize("arguments", [["-czf"], ["-cf"], ["--format=pax", "-czf"], ["--format=v7", "-cf"]])
def test_archives_that_tar_makes(tmp_path, image, arguments):
    image.rename(tmp_path / DISK_MEMBER)
    (tmp_path / METADATA_MEMBER).write_bytes(METADATA)
    subprocess.run(["tar", *arguments, "x.oci", DISK_MEMBER, METADATA_MEMBER], check=True, cwd=tmp_path)
    assert oci_archive.read(str(tmp_path / "x.oci"), to_the_end=True).metadata == ABOUT


def refused(path, to_the_end=False):
    with pytest.raises(ImageError) as caught:
        oci_archive.read(str(path), "the archive", to_the_end)
    assert str(caught.value).startswith("the archive") and caught.value.todo
    return str(caught.value)


def test_both_members_of_one_name_as_ocne_makes_them(tmp_path, image):
    about, disk = member(METADATA_MEMBER, METADATA), member(METADATA_MEMBER, image.read_bytes())
    says = "ocne image upload makes such ones of files whose name does not end in .oci; make it anew"
    for members in ((about, disk), (disk, about)):
        assert says in refused(tarred(tmp_path / "x.oci", *members))
    assert "two members that are named output.QCOW2" in refused(tarred(tmp_path / "x.oci", *[member(DISK_MEMBER, image.read_bytes())] * 2))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE,
                                  tarfile.CONTTYPE, b"Z"])
@pytest.mark.parametrize("name", [METADATA_MEMBER, DISK_MEMBER])
def test_members_that_are_no_plain_files(tmp_path, kind, name):
    assert f"its member {name} is not a plain file" in refused(tarred(tmp_path / "x.oci", member(name, type=kind, linkname="/etc/shadow")))


@pytest.mark.parametrize("headers_", [{"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}, {"GNU.sparse.map": "0,1"}])
def test_sparse_members(tmp_path, image, headers_):
    assert "is not a plain file" in refused(tarred(tmp_path / "x.oci", member(DISK_MEMBER, image.read_bytes(), pax_headers=headers_)))


def test_a_sparse_member_of_gnu_tar(tmp_path, image):
    os.truncate(image, 8 << 20)
    image.rename(tmp_path / DISK_MEMBER)
    subprocess.run(["tar", "--sparse", "--format=gnu", "-cf", "x.oci", DISK_MEMBER], check=True, cwd=tmp_path)
    assert "is not a plain file" in refused(tmp_path / "x.oci")


@pytest.mark.parametrize("name", ["/output.QCOW2", "./output.QCOW2", "../output.QCOW2", "output.qcow2", "a/image_metadata.json", "/etc/passwd", "", "x" * 300])
def test_names_that_do_not_belong_there(tmp_path, name):
    text = refused(tarred(tmp_path / "x.oci", member(METADATA_MEMBER, METADATA), member(name, b"x")))
    assert "does not belong there" in text and len(text) < 500


def test_a_third_member(tmp_path, image):
    members = [member(METADATA_MEMBER, METADATA), member(DISK_MEMBER, image.read_bytes()), member("more", b"x")]
    assert "does not belong there: 'more'" in refused(tarred(tmp_path / "x.oci", *members), to_the_end=True)


@pytest.mark.parametrize("members, says", [
    ([], "it lacks image_metadata.json and output.QCOW2"),
    ([member(METADATA_MEMBER, METADATA)], "it lacks output.QCOW2"),
    ([member(DISK_MEMBER)], "its output.QCOW2 is empty"),
    ([member(DISK_MEMBER, b"<html>")], "output.QCOW2: it is not a qcow2 image"),
    ([member(METADATA_MEMBER, b"")], "is no JSON object"),
    ([member(METADATA_MEMBER, b"[]")], "is no JSON object"),
    ([member(METADATA_MEMBER, b'{"a": 1')], "is no JSON object"),
    ([member(METADATA_MEMBER, b"\xff\xfe{}")], "is no JSON object"),
    ([member(METADATA_MEMBER, b"[" * 900_000)], "is no JSON object"),
    ([member(METADATA_MEMBER, json.dumps({"a": "b" * (1 << 20)}).encode())], "is absurdly large"),
])
def test_members_that_are_not_what_they_should_be(tmp_path, members, says):
    for mode in ("w:gz", "w"):
        assert says in refused(tarred(tmp_path / "x.oci", *members, mode=mode), to_the_end=True)


def test_only_a_disk(tmp_path, image):
    assert "it lacks image_metadata.json" in refused(tarred(tmp_path / "x.oci", member(DISK_MEMBER, image.read_bytes())))


def test_an_absurd_size(tmp_path):
    for size in (1 << 40, 1 << 62):
        info = tarfile.TarInfo(DISK_MEMBER)
        info.size = size
        for pack in (gzip.compress, bytes):
            (tmp_path / "x.oci").write_bytes(pack(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024)))
            assert "has an absurd size" in refused(tmp_path / "x.oci")


def qcow2_with(image, offset, layout, *values):
    bend(image, offset, layout, *values)
    return image.read_bytes()


@pytest.mark.parametrize("offset, layout, values, says", [
    (8, ">QI", (1000, 4), "it has a backing file"),
    (32, ">I", (2,), "it is encrypted"),
    (72, ">Q", (4,), "external data file"),
    (72, ">Q", (2,), "it is marked as corrupt"),
    (24, ">Q", (1 << 60,), "is absurd"),
    (4, ">I", (9,), "its qcow2 version 9 is unknown"),
])
def test_disks_that_are_refused(tmp_path, image, offset, layout, values, says):
    disk = qcow2_with(image, offset, layout, *values)
    assert says in refused(tarred(tmp_path / "x.oci", member(METADATA_MEMBER, METADATA), member(DISK_MEMBER, disk)))


def test_zstd_is_refused_with_what_mends_it(tmp_path, make):
    path = tarred(tmp_path / "x.oci", member(METADATA_MEMBER, METADATA), member(DISK_MEMBER, make("qcow2", "compression_type=zstd").read_bytes()))
    assert "compressed with zstd" in refused(path) and "(format: qcow2, compression: none or zlib)" in refused(path)


def test_a_bare_image_of_that_name(image):
    assert "it is a bare qcow2 image, not an archive that holds one; make one of the image with ocne_image_convert" in refused(image)


@pytest.mark.parametrize("data", [b"", b"x", b"\x1f\x8b", b"\x1f\x8b\x08\0", b"<html>" * 1000, os.urandom(5000), gzip.compress(b"text" * 1000), bytes(10240)])
def test_what_is_no_archive(tmp_path, data):
    (tmp_path / "x.oci").write_bytes(data)
    assert refused(tmp_path / "x.oci")


def test_it_is_a_regular_file(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    assert "it is not a regular file" in refused(tmp_path / "fifo")
    with pytest.raises(ImageError, match="no such file"):
        oci_archive.read(str(tmp_path / "none"))


def test_the_end_tells_whether_it_is_sound(archive, image):
    with open(image, "ab") as file:
        file.write(os.urandom(4 << 20))
    archive.unlink()
    write(archive, image)
    data = archive.read_bytes()
    for bent in (data[:-8] + bytes(4) + data[-4:], data[:-1], data + b"x"):
        archive.write_bytes(bent)
        assert oci_archive.read(str(archive)).metadata == ABOUT
        assert "its gzip is broken" in refused(archive, to_the_end=True)


@pytest.mark.parametrize("packed", [True, False])
def test_cut_anywhere_it_is_refused(tmp_path, archive, packed):
    data = archive.read_bytes() if packed else gzip.decompress(archive.read_bytes()).rstrip(b"\0")
    for length in [*range(1, 5000, 311), len(data) // 2, len(data) - 100]:
        (tmp_path / "x.oci").write_bytes(data[:length])
        assert refused(tmp_path / "x.oci", to_the_end=True)
