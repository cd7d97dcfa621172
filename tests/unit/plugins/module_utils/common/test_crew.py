# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Threads that take one piece of work after the other."""

from __future__ import annotations

import contextlib
import signal
import threading
import time

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.crew import Crew, Stopped, Tally
from ansible_collections.ocne.images.plugins.module_utils.common.errors import Interrupted


class Things:
    """Makes things, and knows which are there."""

    def __init__(self):
        self.made, self.there, self.aborted = 0, 0, 0

    @contextlib.contextmanager
    def __call__(self):
        self.made, self.there = self.made + 1, self.there + 1
        try:
            yield self.made
        finally:
            self.there -= 1

    def abort(self):
        self.aborted += 1


@pytest.fixture
def things():
    return Things()


def none_left(name="test"):
    return not [thread for thread in threading.enumerate() if thread.name.startswith(f"{name}-")]


def test_each_piece_is_done_once(things):
    done, told, crew = [], [], Crew(3, things, "test", things.abort)
    crew.run(range(20), lambda thing, item: (time.sleep(0.02), done.append((thing, item))), lambda: told.append(len(done)))
    assert sorted(item for _thing, item in done) == list(range(20)) and {thing for thing, _item in done} == {1, 2, 3}
    assert told and (things.there, things.aborted) == (0, 0) and none_left()
    # and once more
    crew.run(["x"], lambda thing, item: done.append((thing, item)), lambda: None)
    assert done[-1] == (4, "x") and things.made == 4


def test_a_fault_ends_all(things):
    def work(thing, item):
        if item == 3:
            raise ValueError("three")
        crew.sleep(30)
    crew, began = Crew(4, things, "test", things.abort), time.monotonic()
    with pytest.raises(ValueError, match="three"):
        crew.run(range(20), work, lambda: None)
    assert time.monotonic() - began < 1.5 and things.there == 0 and none_left()


def test_the_first_fault_is_told(things):
    """What happens to others who are ended is none of its own."""
    ended = threading.Event()

    def work(thing, item):
        if item == 0:
            raise ValueError("the first")
        ended.wait(10)
        raise OSError("aborted")
    with pytest.raises(ValueError, match="the first"):
        Crew(2, things, "test", ended.set).run(range(2), work, lambda: None)
    assert none_left()


def test_a_thing_that_cannot_be_made():
    def thing():
        raise OSError("no")
    with pytest.raises(OSError, match="no"):
        Crew(2, thing, "test").run(range(2), pytest.fail, lambda: None)


def test_a_stop_ends_what_can_be_ended_and_leaves_the_rest(things):
    """One thread sees that it is over, one is ended by abort(), and one is left behind."""
    ended, left = threading.Event(), threading.Event()

    def work(thing, item):
        if item == 0:
            while True:
                time.sleep(0.01)
                crew.check()
        elif item == 1:
            ended.wait(20)
        else:
            left.wait(20)

    def stop(_number, _frame):
        raise Interrupted("the test said so")
    crew = Crew(3, things, "test", ended.set)
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    began = time.monotonic()
    try:
        with pytest.raises(Interrupted):
            crew.run(range(30), work, lambda: None)
        assert time.monotonic() - began < 4 and things.there == 1 and not none_left()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        left.set()
    with pytest.raises(Stopped):
        crew.sleep(0)


def test_a_tally_counts_a_piece_once():
    tally = Tally()
    tally.add("a", 3)
    tally.add("a", 4)
    tally.add("b", 1)
    assert tally.total == 8
    tally.set("a", 0)
    tally.set("c", 10)
    assert tally.total == 11
