# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The work program as a real child process."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from ansible_collections.ocne.images.plugins.module_utils.builders import local
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError, Interrupted
from ansible_collections.ocne.images.plugins.module_utils.common.process import descendants
from ansible_collections.ocne.images.plugins.module_utils.work.job import Job
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.builders.remote.agents import until


def test_an_error_of_the_program_comes_back_as_an_error(tmp_path):
    with pytest.raises(ImageError, match="no_such_option"):
        local.run(Job("convert", {"no_such_option": 1}, str(tmp_path)), lambda event: None)


def test_an_unknown_kind_of_work_is_an_error(tmp_path):
    with pytest.raises(ImageError, match="no such kind of work: dance"):
        local.run(Job("dance", {}, str(tmp_path)), lambda event: None)


@pytest.mark.parametrize("number, kind, words", [
    (signal.SIGKILL, ImageError, "without a result .killed by SIGKILL"), (signal.SIGTERM, Interrupted, "stopped: received SIGTERM; nothing half done"),
])
def test_a_killed_program_is_told_as_such(tmp_path, number, kind, words):
    # a named pipe with nobody at its other end: the program waits in open()
    os.mkfifo(tmp_path / "source")

    def kill():
        until(lambda: any(takes_signals(pid) for pid in descendants()))
        for pid in descendants():
            os.kill(pid, number)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with pytest.raises(kind, match=words):
            local.run(Job("boot_image", {"source": f"oci-archive:{tmp_path}/source", "architecture": "amd64", "path": "disk/boot.qcow2", "format": "qcow2",
                                         "registry": {}, "retries": 0}, str(tmp_path)), lambda event: None)
    finally:
        killer.join()


def takes_signals(pid):
    """Whether a process has a handler for SIGTERM by now: the work program has then begun."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            caught = next(line for line in file if line.startswith("SigCgt:"))
    except (OSError, StopIteration):
        return False
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def test_without_the_binding_the_package_is_named(monkeypatch):
    monkeypatch.setattr(local.interpreter, "SYSTEM_PYTHONS", ("/nonexistent/python3",))
    monkeypatch.setattr(local.interpreter.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImageError, match="python3-guestfs.*python3-libguestfs"):
        local._interpreter(Job("customize", {}, "/"))
    assert local._interpreter(Job("convert", {}, "/"))


def test_nothing_of_the_job_is_in_argv(tmp_path):
    seen = []
    os.mkfifo(tmp_path / "source")

    def look():
        deadline = time.monotonic() + 10
        while not seen and time.monotonic() < deadline:
            for pid in descendants():
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    line = file.read()
                if b"program" in line:
                    seen.append(line)
            time.sleep(0.01)
        for pid in descendants():
            os.kill(pid, signal.SIGKILL)

    looker = threading.Thread(target=look)
    looker.start()
    try:
        with pytest.raises(ImageError):
            local.run(Job("boot_image", {"source": f"oci-archive:{tmp_path}/source", "architecture": "amd64", "path": "disk/boot.qcow2", "format": "qcow2",
                                         "registry": {"username": "u", "password": "hunter2"}, "retries": 0}, str(tmp_path)), lambda event: None)
    finally:
        looker.join()
    assert seen and all(b"hunter2" not in line and str(tmp_path).encode() not in line for line in seen)
