# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The work program in a process of its own, with a kind of work that is told to stop."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from ansible_collections.ocne.images.plugins.module_utils.work import program
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.builders.remote.agents import environment

SOURCE = """
import os, signal, subprocess, sys, time
from {program} import ImageError, main
import {program} as program

def work(_text):
{work}

program._do = work
main()
"""


def run(work):
    """(the error that the program tells, its exit status) for what the work is."""
    lines = "".join(f"    {line}\n" for line in work.splitlines())
    done = subprocess.run([sys.executable, "-c", SOURCE.format(program=program.__name__, work=lines)], env=environment(), stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=60, check=False)
    return json.loads(done.stdout)["error"], done.returncode


@pytest.mark.parametrize("work", [
    "os.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(30)",
    # whatever goes wrong on the way out
    *(f"try:\n    os.kill(os.getpid(), signal.SIGTERM)\n    time.sleep(30)\nfinally:\n    raise {fault}"
      for fault in ("ImageError('killed by SIGKILL')", "RuntimeError('guestfs_shutdown failed')", "OSError(5, 'no more of it')")),
])
def test_a_stop_is_told_as_such(work):
    error, status = run(work)
    assert (error["what"], status) == ("stopped: received SIGTERM", 1)
    assert error["todo"] == "nothing half done is at the destination; run the task again"


def test_faults_are_told_as_such():
    assert run("raise ImageError('it is broken', '/disk')") == ({"what": "it is broken", "where": "/disk", "todo": None, "details": {}}, 1)
    error, status = run("raise RuntimeError('oops')")
    assert (error["what"], status) == ("unexpected fault in the image work: RuntimeError: oops", 1)
    assert os.path.basename(program.__file__) in error["details"]["traceback"]
