# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A full disk, during each kind of write: one clear sentence, and what was there stays."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time

import pytest
from plays import CORES, hidden

OLD = b"what was there"
# the writes are the same with every ansible-core
pytestmark = pytest.mark.parametrize("core", CORES[-1:], indirect=True)


@pytest.fixture
def small(tmp_path):
    """small(bytes): a file system of that size, with an older artifact on it."""
    mounts = []

    def make(size):
        folder = tmp_path / f"small{len(mounts)}"
        folder.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
        mounts.append(folder)
        (folder / "disk").write_bytes(OLD)
        return folder

    yield make
    for folder in mounts:
        subprocess.run(["umount", "-l", folder], check=True)


def task(module, options):
    lines = "".join(f"        {key}: {value}\n" for key, value in options.items())
    return f"- hosts: localhost\n  gather_facts: false\n  tasks:\n    - ocne.images.{module}:\n{lines}"


def refused(play, folder):
    text = play.text.replace("\\n", " ")
    assert "no space left on device" in text.lower() or "are free" in text, play.text
    assert "free some space" in text, play.text
    assert (folder / "disk").read_bytes() == OLD
    assert hidden(folder) == []
    assert sorted(os.listdir(folder)) in (["disk"], ["disk", "filler"])


class Filler(threading.Thread):
    """Fills the file system as soon as the task's staging folder is seen: the early check has passed by then, or sees it.

    The play is stopped meanwhile: else it may be ready before, as the memory of the file system takes its time.
    """

    def __init__(self, folder, leave, play):
        super().__init__(daemon=True)
        self.folder, self.leave, self.play = folder, leave, play

    def run(self):
        deadline = time.monotonic() + 300
        while not hidden(self.folder) and time.monotonic() < deadline:
            time.sleep(0.005)
        with self._stopped():
            self._fill()

    @contextlib.contextmanager
    def _stopped(self):
        pids = self.play.pids()
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            if number == signal.SIGSTOP:
                yield

    def _fill(self):
        with open(self.folder / "filler", "wb") as file:
            size = 0
            for _attempt in range(100):
                status = os.fstatvfs(file.fileno())
                more = status.f_bavail * status.f_frsize - self.leave
                if more <= 0:
                    return
                with contextlib.suppress(OSError):   # the task was faster with the last of it
                    os.posix_fallocate(file.fileno(), size, more)
                    size += more


CASES = {
    "pull": ("ocne_boot_image", {"source": '"{{ source }}"', "registry": "{verify: false}", "architecture": "amd64"}),
    "customize": ("ocne_image_customize", {"src": '"{{ src }}"', "platform": "oci"}),
    "customize compressed": ("ocne_image_customize", {"src": '"{{ src }}"', "platform": "oci", "compression": "zlib"}),
    "convert": ("ocne_image_convert", {"src": '"{{ src }}"', "format": "vmdk"}),
    "convert raw": ("ocne_image_convert", {"src": '"{{ src }}"', "format": "raw"}),
    "pack": ("ocne_image_convert", {"src": '"{{ src }}"', "format": "pca_archive", "architecture": "amd64"}),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("when", ["before", "during"])
def test_full(start, small, registry, tiny, real, case, when):
    module, options = CASES[case]
    folder = small("1m" if when == "before" else "1500m")
    # an appliance gives the filler time enough; the others take it by their size
    source = tiny["tiny"] if module == "ocne_image_customize" else real
    extra = {"source": f"{registry['plain']['address']}/olcne/ock:1.33", "src": source, "dest": str(folder / "disk")}
    play = start(task(module, dict(options, dest='"{{ dest }}"')), extra=extra)
    if when == "during":
        Filler(folder, os.stat(source).st_size // 4, play).start()
    assert play.wait(600) and "Traceback" not in play.text, play.text
    refused(play, folder)
