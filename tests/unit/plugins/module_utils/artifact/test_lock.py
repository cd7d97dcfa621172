# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Locks of files."""

from __future__ import annotations

import os
import subprocess
import sys

from ansible_collections.ocne.images.plugins.module_utils.artifact.lock import try_lock


def test_only_one_has_it(tmp_path):
    path = str(tmp_path / "lock")
    fd = try_lock(path)
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert try_lock(path) is None
    os.close(fd)
    again = try_lock(path)
    assert again is not None
    os.close(again)


def test_it_ends_with_who_holds_it(tmp_path):
    path = str(tmp_path / "lock")
    child = subprocess.Popen([sys.executable, "-c", "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], os.O_RDWR | os.O_CREAT), fcntl.LOCK_EX); "
                              "print('held', flush=True); sys.stdin.read()", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"held\n"
    assert try_lock(path) is None
    child.kill()
    child.wait()
    fd = try_lock(path)
    assert fd is not None
    os.close(fd)
