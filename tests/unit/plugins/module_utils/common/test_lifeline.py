# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A real process that is told to stop, or loses the reader of its standard output."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common import lifeline
from ansible_collections.ocne.images.plugins.module_utils.common.errors import Interrupted

PROGRAM = """
import sys, time
sys.path.insert(0, sys.argv[1])
from ansible_collections.ocne.images.plugins.module_utils.common.lifeline import Lifeline
from ansible_collections.ocne.images.plugins.module_utils.common.errors import Interrupted
try:
    with Lifeline(on_stop=lambda: sys.stderr.write("on_stop\\n")):
        print("ready", flush=True)
        time.sleep(60)
except Interrupted as error:
    sys.stderr.write(f"{error}\\n")
"""


@pytest.fixture
def process():
    root = os.path.abspath(lifeline.__file__)
    for _part in lifeline.__name__.split("."):
        root = os.path.dirname(root)
    # tests may run under nohup or in the background of a script, which a Lifeline obeys
    child = subprocess.Popen([sys.executable, "-c", PROGRAM, root], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             preexec_fn=lambda: [signal.signal(number, signal.SIG_DFL) for number in (signal.SIGHUP, signal.SIGINT)])
    assert child.stdout.readline() == "ready\n"
    yield child
    child.kill()
    child.wait()
    child.stdout.close()
    child.stderr.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_it(process, number):
    process.send_signal(number)
    assert process.wait(10) == 0
    assert sorted(process.stderr.read().splitlines()) == [
        "on_stop", f"stopped: received {number.name}; nothing half done is at the destination; run the task again."]


def test_a_lost_reader_stops_it(process):
    process.stdout.close()
    assert process.wait(10) == 0
    assert "nobody reads its output any more" in process.stderr.read()


def test_a_signal_whose_exception_python_drops_still_stops_it():
    """A garbage collector that runs just then must not cost somebody a Ctrl-C."""
    class Finalized:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.2)
            reached.append("the end of the finalizer")

    reached = []
    with pytest.raises(Interrupted, match="received SIGTERM"):
        with lifeline.Lifeline():
            thing = Finalized()
            del thing
            time.sleep(5)
            reached.append("the end")
    assert not reached


def test_a_signal_whose_exception_a_library_prints_still_stops_it():
    """So does the binding of libguestfs with what one of its callbacks raises."""
    reached = []
    with pytest.raises(Interrupted, match="received SIGTERM"):
        with lifeline.Lifeline():
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(5)
            except Interrupted as error:
                # what PyErr_PrintEx does
                sys.excepthook(type(error), error, error.__traceback__)
            time.sleep(5)
            reached.append("the end")
    assert not reached


def test_signals_are_as_before_afterwards():
    hooks = sys.unraisablehook, sys.excepthook
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    descriptors = len(os.listdir("/proc/self/fd"))
    with lifeline.Lifeline():
        pass
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert (sys.unraisablehook, sys.excepthook) == hooks


def test_what_must_be_done_is_done_again_where_a_stop_falls_into_it():
    done = []

    def clean_up():
        done.append("begun")
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)
        done.append("done")

    with pytest.raises(Interrupted), lifeline.Lifeline():
        lifeline.surely(clean_up)
    assert done == ["begun", "begun", "done"]
    assert lifeline.surely(lambda: 7) == 7
