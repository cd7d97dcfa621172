# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How qemu-img is called: under limits of memory and processor time, its percent passed on, and through one door. It only pretends here."""

from __future__ import annotations

import pathlib
import re

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.common.progress import Progress, silent
from ansible_collections.ocne.images.plugins.module_utils.work.disk import qemu_img

PLUGINS = pathlib.Path(qemu_img.__file__).parents[3]
GIB = 1 << 30


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """tool(script): the qemu-img that is found from now on."""
    def write(script):
        program = tmp_path / "qemu-img"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return write


@pytest.fixture
def told(tmp_path, tool):
    """told(): the limits that the program last saw: (KiB of address space, seconds)."""
    tool(f"ulimit -v >{tmp_path}/told\nulimit -t >>{tmp_path}/told\n" 'echo \'{"required": 1, "fully-allocated": 2}\'')
    return lambda: [int(word) for word in (tmp_path / "told").read_text().split()]


@pytest.mark.parametrize("call, seconds", [
    (lambda path: qemu_img.info(path, "qcow2"), 300),
    (lambda path: qemu_img.measure(path, "qcow2", "raw"), 300),
    (lambda path: qemu_img.check(path, "qcow2"), 3000),
    (lambda path: qemu_img.overlay(f"{path}.new", path, "qcow2"), 300),
    (lambda path: qemu_img.compare(path, "qcow2", path, "qcow2", silent(), 15 * GIB), 2 * (300 + 16 * 300)),
    (lambda path: qemu_img.convert(path, "qcow2", f"{path}.new", "raw", 15 * GIB, silent()), 300 + 16 * 300),
], ids=["info", "measure", "check", "overlay", "compare", "convert"])
def test_each_call_is_limited(tmp_path, told, call, seconds):
    call(str(tmp_path / "image"))
    assert told() == [4 * GIB >> 10, seconds]


def test_percent(tmp_path, tool):
    events = []
    progress = Progress(events.append, interval=0)
    progress.phase("write", 100, "percent")
    tool(r"printf '    (0.00/100%%)\r    (12.50/100%%)\r'; printf '    (100.00/100%%)\n'")
    qemu_img.convert(str(tmp_path / "a"), "raw", str(tmp_path / "b"), "qcow2", GIB, progress)
    assert [event["done"] for event in events][-1] == 100.0


def test_percent_and_a_fault(tmp_path, tool):
    tool("echo '(5.00/100%)'; echo 'qemu-img: it broke' >&2; exit 1")
    with pytest.raises(ImageError, match="/disk: writing failed: qemu-img: it broke"):
        qemu_img.convert(str(tmp_path / "a"), "raw", str(tmp_path / "b"), "qcow2", GIB, silent(), where="/disk", doing="writing")


def test_nothing_else_starts_it():
    starts = {str(path.relative_to(PLUGINS)) for path in PLUGINS.rglob("*.py") if re.search(r'\["qemu-img"', path.read_text())}
    assert starts == {"module_utils/work/disk/qemu_img.py"}


def test_many_warnings_do_not_stop_it(tmp_path, tool):
    tool("yes warning | head -c 1000000 >&2; echo 'qemu-img: it broke' >&2; exit 1")
    with pytest.raises(ImageError, match="it broke") as caught:
        qemu_img.convert(str(tmp_path / "a"), "raw", str(tmp_path / "b"), "qcow2", GIB, silent())
    assert len(caught.value.details["stderr"]) <= 4000
