# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How an appliance is started, tried again and ended. The library is one that only remembers what it was told."""

from __future__ import annotations

import os
import platform
import signal
import sys
import threading

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common import process
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError, Interrupted
from ansible_collections.ocne.images.plugins.module_utils.common.lifeline import Lifeline
from ansible_collections.ocne.images.plugins.module_utils.common.progress import silent
from ansible_collections.ocne.images.plugins.module_utils.work.guest import appliance as module
from ansible_collections.ocne.images.plugins.module_utils.work.guest.appliance import Disk, appliance
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.work.guest.guests import Library


@pytest.fixture
def library(monkeypatch):
    """A library on a machine without KVM."""
    for name in ("LIBGUESTFS_BACKEND", "LIBGUESTFS_BACKEND_SETTINGS", "LIBGUESTFS_PATH", "LIBGUESTFS_APPEND"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "guestfs", Library())
    offer_kvm(monkeypatch, False)
    return sys.modules["guestfs"]


def offer_kvm(monkeypatch, offered):
    monkeypatch.setattr(os, "access", lambda path, mode, real=os.access: offered if path == "/dev/kvm" else real(path, mode))
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")   # nothing else is asked there


def run(tmp_path, work=lambda handle: None, readonly=False):
    (tmp_path / "disks").mkdir(exist_ok=True)
    with appliance([Disk(str(tmp_path / "disks/a"), "qcow2", readonly), Disk(str(tmp_path / "disks/b"), "raw")], str(tmp_path), silent()) as handle:
        work(handle)
    return handle


def refused(tmp_path, work=lambda handle: None):
    with pytest.raises(ImageError) as caught:
        run(tmp_path, work)
    return caught.value


def test_disks_have_their_stated_formats_and_write_errors_are_asked_for(library, tmp_path):
    handle = run(tmp_path, readonly=True)
    assert handle.disks == [(f"{tmp_path}/disks/a", "qcow2", True), (f"{tmp_path}/disks/b", "raw", False)]
    assert handle.settings == {"backend": "direct", "backend_settings": ["force_tcg"], "tmpdir": str(tmp_path), "autosync": True}
    assert handle.calls == ["launch", "umount_all", "shutdown", "close"] and library.handles == [handle]


def test_a_backend_that_the_user_chose_stays(library, tmp_path, monkeypatch):
    monkeypatch.setenv("LIBGUESTFS_BACKEND", "libvirt")
    assert "backend" not in run(tmp_path).settings


def test_the_options_of_a_fixed_appliance(library, tmp_path, monkeypatch):
    monkeypatch.setenv("LIBGUESTFS_PATH", str(tmp_path / "fixed"))
    assert "append" not in run(tmp_path).settings
    (tmp_path / "fixed").mkdir()
    (tmp_path / "fixed/append").write_text("quick=1\nmore\n")
    assert run(tmp_path).settings["append"] == "quick=1"
    monkeypatch.setenv("LIBGUESTFS_APPEND", "mine")
    assert "append" not in run(tmp_path).settings


def test_a_launch_with_kvm_that_fails_is_tried_without(library, tmp_path, monkeypatch):
    def launch(handle):
        if "backend_settings" not in handle.settings:
            raise RuntimeError("guestfs_launch failed")
    offer_kvm(monkeypatch, True)
    library.launch = launch
    run(tmp_path)
    assert [handle.calls for handle in library.handles] == [["launch", "close"], ["launch", "umount_all", "shutdown", "close"]]
    assert "backend_settings" not in library.handles[0].settings and library.handles[1].settings["backend_settings"] == ["force_tcg"]


def test_kvm_is_not_tried_where_the_user_said_so(library, tmp_path, monkeypatch):
    offer_kvm(monkeypatch, True)
    monkeypatch.setenv("LIBGUESTFS_BACKEND_SETTINGS", "force_tcg")
    assert run(tmp_path).settings["backend_settings"] == ["force_tcg"]


def test_a_launch_with_kvm_has_an_end(library, tmp_path, monkeypatch):
    timers = []

    class Timer:
        def __init__(self, seconds, function):
            self.calls = [seconds, function]
            timers.append(self)

        def start(self):
            self.calls.append("start")

        def cancel(self):
            self.calls.append("cancel")

    monkeypatch.setattr(threading, "Timer", Timer)
    run(tmp_path)
    assert timers == []
    offer_kvm(monkeypatch, True)
    run(tmp_path)
    assert [timer.calls for timer in timers] == [[60, process.kill_descendants, "start", "cancel"]]


def test_an_appliance_that_does_not_start(library, tmp_path):
    def launch(handle):
        handle.log("some words\nqemu-system: Cannot allocate memory\n")
        handle.log("last words\n")
        raise RuntimeError("guestfs_launch failed")
    library.launch = launch
    fault = refused(tmp_path)
    assert str(fault) == ("the libguestfs appliance did not start: qemu-system: Cannot allocate memory; "
                          "run libguestfs-test-tool as the user of this task to see why.")
    assert fault.details["log"].endswith("last words\n")
    assert [handle.calls for handle in library.handles] == [["launch", "close"]]


def test_a_missing_binding_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "guestfs", None)
    assert "binding of libguestfs is missing" in str(refused(tmp_path)) and "python3-guestfs" in refused(tmp_path).todo


def test_a_write_error_shows_at_the_end(library, tmp_path):
    def shutdown(handle):
        raise RuntimeError("guestfs_shutdown: No space left on device")
    library.shutdown = shutdown
    fault = refused(tmp_path)
    assert "image work in the libguestfs appliance failed: guestfs_shutdown: No space left on device; the file system inside the image" in str(fault)
    assert library.handles[0].calls[-2:] == ["shutdown", "close"]


def test_a_fault_of_the_work_comes_as_it_is(library, tmp_path):
    own = ImageError("the work's own")

    def work(handle):
        raise own
    assert refused(tmp_path, work) is own
    assert library.handles[0].calls == ["launch", "close"]


def test_a_full_disk_ends_the_appliance(library, tmp_path, monkeypatch):
    """QEMU would stop the guest for ever, and whoever waits for it."""
    killed, full = threading.Event(), str(tmp_path / "disks")

    def work(handle):
        assert killed.wait(30)
        raise RuntimeError("guestfs_write: appliance closed the connection unexpectedly")
    monkeypatch.setattr(module, "free_space", lambda folder, reserved: 1 << 10 if folder == full else 1 << 40)
    monkeypatch.setattr(module, "kill_descendants", killed.set)
    fault = refused(tmp_path, work)
    assert "editing the image failed: no space left on device" in str(fault) and fault.details == {"errno": "ENOSPC"}
    assert library.handles[0].calls == ["launch", "close"]


def test_a_stop_during_a_launch_launches_nothing_more(library, tmp_path, monkeypatch):
    def launch(_handle):
        # as with the real one: its QEMU was ended, which the binding tells once the signal has come
        os.kill(os.getpid(), signal.SIGTERM)
        raise RuntimeError("guestfs_launch failed")
    offer_kvm(monkeypatch, True)
    library.launch = launch
    with pytest.raises(Interrupted), Lifeline():
        run(tmp_path)
    assert len(library.handles) == 1


def test_a_stop_is_not_told_as_a_full_disk(library, tmp_path, monkeypatch):
    killed = threading.Event()

    def work(_handle):
        assert killed.wait(30)
        raise Interrupted("received SIGTERM")
    monkeypatch.setattr(module, "free_space", lambda folder, reserved: 0)
    monkeypatch.setattr(module, "kill_descendants", killed.set)
    with pytest.raises(Interrupted):
        run(tmp_path, work)
