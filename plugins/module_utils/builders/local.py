# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The local builder: the work program as a child process on the module host."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile

from ..common import interpreter, packages, versions
from ..common.errors import ImageError

# the payload of a module holds what is imported: every kind of work goes along
from ..work import boot_image, convert, customize, inspect, program, send  # noqa: F401  pylint: disable=unused-import
from ..work import job as wire

_GRACE = 15   # seconds a stopped program has for its clean-up

_START = "import sys; sys.path.insert(0, sys.argv[1]); from {program} import main; main()"


def _payload():
    """What must be on sys.path for the program's package: the module's zip file, or the collections folder."""
    root = os.path.abspath(program.__file__)
    for _part in program.__name__.split("."):
        root = os.path.dirname(root)
    return root


def _interpreter(job):
    """A Python that can do this kind of work. Raises ImageError."""
    if not program.kind_of(job).needs_guestfs(job.options):
        return sys.executable
    found = interpreter.with_guestfs()
    if found:
        return found
    raise ImageError("no Python with the libguestfs binding was found on this host",
                     todo=f"{packages.how_to_install('guestfs')}; it must be for Python {versions.text(versions.PYTHON)} or newer",
                     tried=[sys.executable, *interpreter.SYSTEM_PYTHONS])


def _stop(child):
    """End the program: it cleans up by itself on SIGTERM, and has not for ever."""
    with contextlib.suppress(ProcessLookupError):
        child.terminate()
        try:
            child.wait(_GRACE)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def run(job, on_event, lock=None):
    """Do a Job here. on_event(event) is called with its progress; lock: a descriptor the program keeps open too.

    Returns a Result. Raises ImageError.
    """
    answer = wire.Answer(on_event)
    arguments = [_interpreter(job), "-I", "-c", _START.format(program=program.__name__), _payload()]
    with tempfile.TemporaryFile() as errors:
        # a group of its own: a SIGINT of the terminal reaches it once, from here
        child = subprocess.Popen(  # pylint: disable=ansible-bad-function,consider-using-with
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            start_new_session=True, pass_fds=[] if lock is None else [lock], cwd="/")
        try:
            with contextlib.suppress(BrokenPipeError):
                child.stdin.write(wire.dump("job", job))
                child.stdin.close()
            for line in child.stdout:
                answer.read(line)
                if answer.complete:
                    break
            child.wait()
        finally:
            _stop(child)
            child.stdout.close()
        if not answer.complete:
            errors.seek(max(0, errors.seek(0, os.SEEK_END) - 4000))
            words = errors.read().decode("utf-8", "replace").strip()
            ending = f"killed by {signal.Signals(-child.returncode).name}" if child.returncode < 0 else f"exit status {child.returncode}"
            raise ImageError(f"the work program ended without a result ({ending})",
                             todo="look for a lack of memory or an administrator's kill on this host", stderr=words)
    return answer.result()
