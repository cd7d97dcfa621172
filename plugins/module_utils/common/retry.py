# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The same again after a fault that may pass by itself, with growing pauses."""

from __future__ import annotations

import random
import time

from .errors import ImageError

_SHORTEST_PAUSE = 0.05   # seconds


def retry(attempt, seconds_left, first_pause, longest_pause, on_wait=None, sleep=None):
    """attempt(), and again after each ImageError for which there is time left; the last one is raised.

    seconds_left(error, failures, seconds): how long it may go on, where so many attempts have failed, the first so many seconds ago;
    None or 0: no more. Pauses double from first_pause to longest_pause (seconds) and differ by a quarter, so that two who wait do not
    come back together. on_wait(error, seconds) is called before each pause.
    """
    began, failures, pause = None, 0, first_pause
    while True:
        try:
            return attempt()
        except ImageError as error:
            now = time.monotonic()
            began, failures = now if began is None else began, failures + 1
            left = seconds_left(error, failures, now - began)
            if not left or left < 0:
                raise
            seconds = min(pause * random.uniform(0.75, 1.25), max(_SHORTEST_PAUSE, left))
            if on_wait:
                on_wait(error, seconds)
        (sleep or time.sleep)(seconds)
        pause = min(2 * pause, longest_pause)
