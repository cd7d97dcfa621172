# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An interrupted playbook leaves no appliance, no child, no temporary file, and what was at the destination."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest
from plays import hidden, inventory

PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - ocne.images.ocne_image_customize:
        src: "{{ src }}"
        dest: "{{ dest }}"
        platform: oci
        # with the image that boots there is work left for long enough, however slowly the stop gets there
        compression: zlib
"""


def wait_for_appliance(play, dest, timeout=300):
    """Until QEMU runs on the staging folder of this destination."""
    deadline = time.monotonic() + timeout
    while subprocess.run(["pgrep", "-f", f"qemu-system.*{dest.parent}"], capture_output=True, check=False).returncode:
        assert play.process.poll() is None and time.monotonic() < deadline, play.text
        time.sleep(0.1)


def end(play, how):
    if how == "ctrl-c":
        os.killpg(play.process.pid, signal.SIGINT)
    elif how == "term":
        os.kill(play.process.pid, signal.SIGTERM)
    elif how == "kill":
        os.kill(play.process.pid, signal.SIGKILL)
    elif how == "lost ssh":
        for pid in play.pids():
            with open(f"/proc/{pid}/comm") as file:
                if file.read().strip() == "ssh":
                    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("how", ["ctrl-c", "term", "kill", "lost ssh"])
def test_nothing_is_left(start, tmp_path, real, how, clean_tmp, request):
    dest = tmp_path / "out" / "disk.qcow2"
    dest.parent.mkdir()
    dest.write_bytes(b"what was there")
    where = request.getfixturevalue("sshd") if how == "lost ssh" else "here ansible_connection=local\n"
    play = start(PLAY, *inventory(tmp_path, where), extra={"src": real, "dest": str(dest)})
    wait_for_appliance(play, dest)
    end(play, how)
    if how == "lost ssh":
        # ansible retries nothing by default; ControlPersist's master is not ours to wait for
        play.wait()
    assert play.gone(also=dest.parent) == []
    deadline = time.monotonic() + 60
    while hidden(dest.parent) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert hidden(dest.parent) == []
    assert os.listdir(dest.parent) == ["disk.qcow2"]
    assert dest.read_bytes() == b"what was there"
