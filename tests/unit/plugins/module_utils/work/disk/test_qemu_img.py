# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The door to qemu-img: what it is asked, and what it says."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.common.progress import Progress, silent
from ansible_collections.ocne.images.plugins.module_utils.work.disk import headers
from ansible_collections.ocne.images.plugins.module_utils.work.disk.qemu_img import check, compare, convert, info, measure
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.work.disk.disks import SIZE

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="qemu-img is not installed")


def test_names_that_look_like_protocols_and_options(make, tmp_path):
    path = make("qcow2", name="nbd:a,b=c json:{} %d")
    assert headers.read_header(str(path), "qcow2").virtual_size == SIZE
    assert info(str(path), "qcow2")["virtual-size"] == SIZE
    assert measure(str(path), "qcow2", "raw")[1] == SIZE


def test_corrupt_tables_are_found(make):
    path = make("qcow2")
    with open(path, "r+b") as file:
        file.seek(0x20000)   # the refcount block
        file.write(b"\0" * 65536)
    with pytest.raises(ImageError, match="corrupt"):
        check(str(path), "qcow2")


def test_a_difference_is_found(make, tmp_path):
    path = make("qcow2")
    with open(tmp_path / "content.raw", "r+b") as file:
        file.seek(50_000)
        file.write(b"other")
    with pytest.raises(ImageError, match="differs"):
        compare(str(path), "qcow2", str(tmp_path / "content.raw"), "raw")


@pytest.fixture
def program(tmp_path, monkeypatch):
    """program(lines) puts a qemu-img in the way that is a shell script of these lines."""
    def write(lines):
        (tmp_path / "qemu-img").write_text(f"#!/bin/sh\n{lines}\n")
        (tmp_path / "qemu-img").chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return write


def converted(path, events):
    progress = Progress(events.append, interval=0)
    progress.phase("write", 100, "percent")
    convert(f"{path}/a", "raw", f"{path}/b", "qcow2", SIZE, progress)


def test_percent_is_told(program, tmp_path):
    events = []
    program(r"printf '    (0.00/100%%)\r    (12.50/100%%)\r'; printf '    (100.00/100%%)\n'")
    converted(tmp_path, events)
    assert events[-1]["done"] == 100.0 and events[-1]["unit"] == "percent"


def test_percent_and_a_fault(program, tmp_path):
    program("echo '(5.00/100%)'; echo 'qemu-img: it broke' >&2; exit 1")
    with pytest.raises(ImageError, match="failed: qemu-img: it broke"):
        converted(tmp_path, [])


@pytest.mark.parametrize("status, report, words", [
    (0, "{}", None), (3, '{"leaks": 5}', None), (63, "", None), (2, '{"corruptions": 7}', "the image is corrupt .7 errors"), (1, "", "exit status 1"),
    (-9, "", "killed by SIGKILL"),
])
def test_what_a_check_says(program, tmp_path, status, report, words):
    program(f"echo '{report}'; " + (f"kill {status} $$" if status < 0 else f"exit {status}"))
    if words:
        with pytest.raises(ImageError, match=words):
            check(f"{tmp_path}/a", "qcow2")
    else:
        assert check(f"{tmp_path}/a", "qcow2") == (json.loads(report) if report else None)


@pytest.mark.parametrize("call", [
    lambda path: info(path, "raw"), lambda path: measure(path, "raw", "qcow2"), lambda path: check(path, "raw"), lambda path: compare(path, "raw", "/a", "raw"),
    lambda path: compare("/a", "raw", path, "raw"), lambda path: convert(path, "raw", "/b", "raw", SIZE, silent()),
])
@pytest.mark.parametrize("path", ["nbd:localhost:10809", "json:{}", "disk"])
def test_only_an_absolute_path_is_a_file(program, tmp_path, call, path):
    program(f"touch {tmp_path}/called")
    with pytest.raises(ImageError, match="absolute"):
        call(path)
    assert not (tmp_path / "called").exists()
