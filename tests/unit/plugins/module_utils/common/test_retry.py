# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The same again after a fault that may pass by itself."""

from __future__ import annotations

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError, Interrupted
from ansible_collections.ocne.images.plugins.module_utils.common.retry import retry


class Attempts:
    """Fails so many times, then tells how often it was called; pauses and waits are kept."""

    def __init__(self, faults):
        self.faults, self.calls, self.pauses, self.waits = list(faults), 0, [], []

    def __call__(self):
        self.calls += 1
        if self.faults:
            raise self.faults.pop(0)
        return self.calls

    def run(self, seconds_left, first=1, longest=8):
        return retry(self, seconds_left, first, longest, lambda error, seconds: self.waits.append((error.what, seconds)), self.pauses.append)


def faults(count):
    return [ImageError(f"fault {number}") for number in range(1, count + 1)]


def test_what_goes_well_is_done_once():
    attempts = Attempts([])
    assert attempts.run(lambda *_facts: 100) == 1 and attempts.pauses == []


def test_pauses_double_up_to_the_longest_and_differ_by_a_quarter():
    attempts = Attempts(faults(6))
    assert attempts.run(lambda *_facts: 1000) == 7
    for pause, middle in zip(attempts.pauses, (1, 2, 4, 8, 8, 8)):
        assert 0.75 * middle <= pause <= 1.25 * middle
    assert attempts.waits == [(f"fault {number}", pause) for number, pause in enumerate(attempts.pauses, 1)]


def test_the_last_fault_is_told_when_the_time_is_over():
    attempts, seen = Attempts(faults(9)), []

    def left(error, failures, seconds):
        seen.append((error.what, failures))
        return 3 - failures
    with pytest.raises(ImageError, match="fault 3"):
        attempts.run(left)
    assert attempts.calls == 3 and seen == [("fault 1", 1), ("fault 2", 2), ("fault 3", 3)]


@pytest.mark.parametrize("left", [None, 0, -1])
def test_what_is_not_to_be_tried_again(left):
    attempts = Attempts(faults(1))
    with pytest.raises(ImageError, match="fault 1"):
        attempts.run(lambda *_facts: left)
    assert attempts.pauses == []


def test_the_last_pause_is_no_longer_than_what_is_left():
    attempts = Attempts(faults(1))
    attempts.run(lambda *_facts: 0.2, first=60, longest=60)
    assert attempts.pauses == [0.2]


@pytest.mark.parametrize("fault", [Interrupted("received SIGTERM"), OSError(5, "not ours")])
def test_other_exceptions_are_not_waited_for(fault):
    attempts = Attempts([fault])
    with pytest.raises(type(fault)):
        attempts.run(lambda *_facts: 100)
    assert attempts.calls == 1
