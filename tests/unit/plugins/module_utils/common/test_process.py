# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Child processes: their limits, their faults in words, their end."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common import process
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.builders.remote.agents import environment, until


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """tool(name, lines) puts a shell script on PATH."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    def write(lines, name="qemu-img"):
        (tmp_path / name).write_text(f"#!/bin/sh\n{lines}\n")
        (tmp_path / name).chmod(0o755)
        return name
    return write


def refused(tool, lines):
    with pytest.raises(ImageError) as caught:
        process.run([tool(lines)], "/disk", "reading the image")
    return caught.value


def test_a_tool_s_output_and_its_surroundings(tool):
    output = process.run([tool('echo "$1 $LC_ALL"; cat; ulimit -v; ulimit -t; ulimit -c'), "word"], "/disk", "reading", memory=1 << 30, seconds=77)
    assert output.decode().split() == ["word", "C.UTF-8", str(1 << 20), "77", "0"]


@pytest.mark.parametrize("lines, words, todo", [
    ("echo first >&2; echo 'qemu-img: Could not open it' >&2; exit 1", "reading the image failed: qemu-img: Could not open it", None),
    ("exit 3", "reading the image failed: qemu-img: exit status 3", None),
    ("kill -9 $$", "reading the image failed: qemu-img: killed by SIGKILL", None),
    ("echo 'qemu-img: No space left on device' >&2; exit 1", "No space left", "free some space there"),
    ("echo 'qemu-img: Permission denied' >&2; exit 1", "Permission denied", "become"),
    ("echo 'Failed to get \"write\" lock' >&2; exit 1", "lock", "in use by another process"),
])
def test_a_tool_that_fails(tool, lines, words, todo):
    error = refused(tool, lines)
    assert words in error.what and error.where == "/disk" and error.details["tool"] == "qemu-img"
    assert (todo or "") in (error.todo or "") and (error.todo is None) == (todo is None)


def test_only_the_end_of_many_words_is_kept(tool):
    assert len(refused(tool, "yes word | head -c 100000 >&2; exit 1").details["stderr"]) == 4000


def test_a_missing_tool_names_its_package(monkeypatch):
    monkeypatch.setattr(process.shutil, "which", lambda tool, path: None)
    with pytest.raises(ImageError, match=r"the program qemu-img is not installed .*install the package qemu-utils \(Debian\) or qemu-img"):
        process.require("qemu-img")


def test_tools_beside_a_short_path_are_found(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    assert process.require("sh").endswith("/bin/sh")


def test_a_child_dies_with_its_parent(tmp_path):
    """Killed with -9, too: nobody is left to end it then."""
    source = f"""
import os, signal, subprocess
from {process.__name__} import start
child = start(["sleep", "1000"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
print(child.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", source], env=environment(), stdout=subprocess.PIPE, check=False)
    assert ended.returncode == -9
    until(lambda: not alive(int(ended.stdout)))


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_all_below_a_process_are_ended(tmp_path):
    """Children of children, and one that does not listen."""
    source = f"""
import subprocess, sys
from {process.__name__} import descendants, kill_descendants
deaf = subprocess.Popen(["sh", "-c", "trap '' TERM; echo; while read -r line; do :; done; sleep 1000"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
deep = subprocess.Popen(["sh", "-c", "sleep 1000 & echo $!; wait"], stdout=subprocess.PIPE)
deaf.stdout.readline()
grandchild = int(deep.stdout.readline())
assert {{deaf.pid, deep.pid, grandchild}} <= set(descendants()), descendants()
kill_descendants()
print(deaf.wait(), deep.wait(), grandchild)
"""
    deaf, deep, grandchild = subprocess.run([sys.executable, "-c", source], env=environment(), stdout=subprocess.PIPE, check=True).stdout.split()
    assert (deaf, deep) == (b"-9", b"-15")
    until(lambda: not alive(int(grandchild)))
