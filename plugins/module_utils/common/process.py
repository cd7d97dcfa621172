# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Child processes: started so that they never outlive this program, their exit status always read."""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import signal
import subprocess
import time

from . import advice, packages
from .errors import ImageError

_PR_SET_PDEATHSIG = 1   # linux/prctl.h
_LIBC = ctypes.CDLL(None, use_errno=True)


def require(tool):
    """The path of a tool; ImageError that names its package where it is missing."""
    path = shutil.which(tool, path=os.environ.get("PATH", os.defpath) + ":/usr/bin:/usr/sbin:/bin:/sbin")
    if path:
        return path
    raise ImageError(f"the program {tool} is not installed where the image work runs", todo=packages.how_to_install(tool), tool=tool)


def _prepare(memory, seconds):
    # runs between fork and exec: only system calls
    def prepare():
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if memory:
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        if seconds:
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return prepare


def start(arguments, memory=None, seconds=None, **options):
    """subprocess.Popen of a tool that dies with this process. Start it from the main thread only.

    memory: limit of its address space in bytes; seconds: of processor time. Both guard against hostile input.
    """
    arguments = [require(arguments[0]), *arguments[1:]]
    return subprocess.Popen(  # pylint: disable=ansible-bad-function
        arguments, preexec_fn=_prepare(memory, seconds), close_fds=True,
        env=dict(os.environ, LC_ALL="C.UTF-8"), **options)


def run(arguments, where, doing, memory=None, seconds=None, **options):
    """Run a tool to its end and return its standard output; ImageError with its own words when it fails."""
    with start(arguments, memory, seconds, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
               stderr=subprocess.PIPE, **options) as child:
        output, errors = child.communicate()
    if child.returncode:
        raise failed(arguments[0], child.returncode, errors, where, doing)
    return output


def failed(tool, status, errors, where, doing):
    """The ImageError of a tool that failed, with what to do where its words tell."""
    words = errors.decode("utf-8", "replace").strip()
    last = words.splitlines()[-1].removeprefix(f"{tool}: ") if words else (
        f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}")
    todo = None
    if "No space left" in words:
        todo = advice.FREE_SPACE
    elif "Permission denied" in words:
        todo = advice.GIVE_ACCESS
    elif "Failed to get" in words and "lock" in words:
        todo = "the image is in use by another process: stop that, or work on a copy"
    return ImageError(f"{doing} failed: {tool}: {last}", where, todo, tool=tool, status=status, stderr=words[-4000:])


def descendants(root=None):
    """The process ids below `root` (default: this process), children before their parents' siblings."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", "rb") as file:
                    # the command, in parentheses, may hold anything: fields count from the last one
                    parent = int(file.read().rpartition(b")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry))
    found, todo = [], [root or os.getpid()]
    while todo:
        for pid in children.get(todo.pop(), ()):
            found.append(pid)
            todo.append(pid)
    return found


def kill_descendants():
    """End every process below this one: what the main thread waits for then returns at once."""
    for number, pause in ((signal.SIGTERM, 0.3), (signal.SIGKILL, 0.1)):
        for pid in descendants():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass
        deadline = time.monotonic() + pause
        while descendants() and time.monotonic() < deadline:
            time.sleep(0.02)
