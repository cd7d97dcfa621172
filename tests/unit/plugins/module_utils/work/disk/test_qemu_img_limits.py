# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every qemu-img runs under limits of memory and processor time, and through one door."""

from __future__ import annotations

import pathlib
import re

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.progress import silent
from ansible_collections.ocne.images.plugins.module_utils.work.disk import qemu_img

PLUGINS = pathlib.Path(qemu_img.__file__).parents[3]
GIB = 1 << 30


@pytest.fixture
def told(tmp_path, monkeypatch):
    """told(): the limits that the program last saw: (KiB of address space, seconds)."""
    program = tmp_path / "qemu-img"
    program.write_text(f"#!/bin/sh\nulimit -v >{tmp_path}/told\nulimit -t >>{tmp_path}/told\n"
                       'echo \'{"required": 1, "fully-allocated": 2}\'\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
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


def test_nothing_else_starts_it():
    starts = {str(path.relative_to(PLUGINS)) for path in PLUGINS.rglob("*.py") if re.search(r'\["qemu-img"', path.read_text())}
    assert starts == {"module_utils/work/disk/qemu_img.py"}
