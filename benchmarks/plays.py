# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whole plays: ansible-playbook as a user runs it."""

from __future__ import annotations

import json
import os
import secrets
import subprocess

from tools import run
from watch import MARK, Watch


def play(bench, playbook, extra=None, watched=False, within=(), wait=True):
    """Run a playbook (a path, or a list of tasks); returns its processes where they are `watched`. Raises Fault.

    within: a command that runs it elsewhere. wait: False returns its subprocess.Popen at once.
    """
    mark = secrets.token_hex(8)
    if not isinstance(playbook, str):
        tasks, playbook = playbook, f"{bench.folder}/play-{mark}.json"
        with open(playbook, "w", encoding="utf-8") as file:
            json.dump([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}], file)
    environ = dict(os.environ, ANSIBLE_NOCOLOR="1", ANSIBLE_LOCALHOST_WARNING="0", ANSIBLE_INVENTORY_UNPARSED_WARNING="0", LC_ALL="C.UTF-8",
                   **{MARK: mark})
    command = [*within, "ansible-playbook", playbook, *(["-e", json.dumps(extra)] if extra else [])]
    if not wait:
        return subprocess.Popen(command, env=environ, cwd=bench.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if not watched:
        run(command, env=environ, cwd=bench.folder)
        return None
    with Watch(mark) as watch:
        run(command, env=environ, cwd=bench.folder)
    return watch.processes
