# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Launches with a binding that only pretends; tests/integration has the real one."""

from __future__ import annotations

import os
import signal
import threading
from types import SimpleNamespace

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError, Interrupted
from ansible_collections.ocne.images.plugins.module_utils.common.lifeline import Lifeline
from ansible_collections.ocne.images.plugins.module_utils.common.progress import silent
from ansible_collections.ocne.images.plugins.module_utils.work.guest import appliance


@pytest.fixture
def launches(monkeypatch):
    """The launches that there were, each as its backend settings; `launches.does` is what happens in one."""
    class Launches(list):
        does = staticmethod(lambda: None)

    class GuestFS:
        def __init__(self, **_options):
            self.settings = []

        def set_backend_settings(self, settings):
            self.settings = settings

        def launch(self):
            made.append(self.settings)
            made.does()

        def __getattr__(self, _name):
            return lambda *arguments, **options: None

    made = Launches()
    monkeypatch.setattr(appliance, "_guestfs", lambda: SimpleNamespace(GuestFS=GuestFS, EVENT_LIBRARY=1, EVENT_WARNING=2))
    monkeypatch.setattr(appliance, "_kvm_usable", lambda: True)
    return made


def opened(folder):
    return appliance.appliance([appliance.Disk(str(folder / "disk"), "raw")], str(folder), silent())


def test_a_launch_that_fails_with_kvm_is_tried_without(launches, tmp_path):
    def fail():
        raise RuntimeError("guestfs_launch failed")

    launches.does = fail
    with pytest.raises(ImageError, match="did not start: guestfs_launch failed"), opened(tmp_path):
        pass
    assert launches == [[], ["force_tcg"]]


def test_a_stop_during_a_launch_launches_nothing_more(launches, tmp_path):
    def stop():
        # as with the real one: its QEMU was ended, which the binding tells once the signal has come
        os.kill(os.getpid(), signal.SIGTERM)
        raise RuntimeError("guestfs_launch failed")

    launches.does = stop
    with pytest.raises(Interrupted), Lifeline(), opened(tmp_path):
        pass
    assert launches == [[]]


def test_a_stop_is_not_told_as_a_full_disk(launches, tmp_path, monkeypatch):
    found = threading.Event()
    monkeypatch.setattr(appliance, "kill_descendants", found.set)
    monkeypatch.setattr(appliance, "free_space", lambda folder, reserved: 0)
    with pytest.raises(Interrupted), opened(tmp_path):
        assert found.wait(10)
        raise Interrupted("received SIGTERM")
