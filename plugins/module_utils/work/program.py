# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The work program: one Job in, JSON lines out (see job.py for the wire)."""

from __future__ import annotations

import importlib
import os
import sys
import traceback

from ..common import advice, oom
from ..common.errors import ImageError, Interrupted, from_os_error
from ..common.lifeline import Lifeline
from ..common.process import kill_descendants
from ..common.progress import Progress
from . import job as wire

#: kind of work -> its file in this folder, which has run, needs_guestfs, inputs, base_of and READS_ONLY
KINDS = {"boot_image": "boot_image", "inspect": "inspect", "customize": "customize", "convert": "convert", "send": "send"}


def kind_of(job):
    """The module that does this kind of work. Raises ImageError."""
    if job.kind not in KINDS:
        raise ImageError(f"no such kind of work: {job.kind}")
    return importlib.import_module(f"{__package__}.{KINDS[job.kind]}")


def _write(line):
    data = memoryview(line)
    while data:
        data = data[os.write(1, data):]


def _do(text):
    job = wire.load_job(text)
    work = kind_of(job)
    try:
        return work.run(job, Progress(lambda event: _write(wire.dump("progress", event))))
    except OSError as error:
        raise from_os_error(error, "the image work") from error
    except MemoryError as error:
        raise ImageError("the image work ran out of memory") from error


def main():
    """Exit status 0 with a result, 1 with an error line, 2 where nobody is left to read one."""
    try:
        try:
            kills = oom.kills()
            with Lifeline(on_stop=kill_descendants) as lifeline:
                try:
                    # the line is short (options, not images); standard input may stay open behind it
                    line, status = wire.dump("result", _do(sys.stdin.buffer.readline())), 0
                except Exception as error:
                    if lifeline.stopped:
                        # a child that was killed on the way out looks like a fault of its own
                        raise Interrupted(lifeline.stopped) from error
                    if not isinstance(error, ImageError):
                        raise
                    line, status = wire.dump("error", oom.explained(error, kills).as_dict()), 1
        except Interrupted as error:
            line, status = wire.dump("error", error.as_dict()), 1
        except Exception as error:   # a defect of ours: told as such, with what is needed to mend it
            fault = ImageError(f"unexpected fault in the image work: {type(error).__name__}: {error}",
                               todo=advice.REPORT, traceback=traceback.format_exc())
            line, status = wire.dump("error", fault.as_dict()), 1
        _write(line)
    except OSError:
        status = 2
    # children are gone or told to go; a thread that still waits on a pipe must not hold us
    sys.stdout.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
