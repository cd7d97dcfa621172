# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.progress import Progress, describe, human_bytes


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_events_are_limited_and_carry_rate_and_time_left():
    clock, events = Clock(), []
    progress = Progress(events.append, clock, interval=0.5)
    progress.phase("pull", 1000)
    for done in range(0, 500, 5):
        clock.now += 0.0625   # exact in binary
        progress.update(done)
    assert len(events) == 13   # the begin, then one every half second of six
    assert events[-1]["done"] == 475
    assert events[-1]["rate"] == pytest.approx(79.2)
    assert events[-1]["left"] == pytest.approx(6.6)
    progress.finish()
    assert events[-1]["done"] == 1000


@pytest.mark.parametrize("event, line", [
    ({"phase": "pull", "done": 268435456, "total": 536870912, "unit": "bytes", "rate": 104857600, "left": 2.56},
     "pull: 50 %, 256.0 MiB of 512.0 MiB, 100.0 MiB/s, 3 s left"),
    ({"phase": "convert", "done": 12.5, "total": 100, "unit": "percent", "left": 75}, "convert: 12 %, 1 min 15 s left"),
    ({"phase": "start appliance", "done": 0, "total": None, "unit": "bytes", "elapsed": 4.2}, "start appliance: for 4 s"),
    ({"phase": "start appliance", "done": 0, "total": None, "unit": "bytes", "elapsed": 0}, "start appliance"),
    ({"phase": "read", "done": 10, "total": None, "unit": "bytes"}, "read: 10 B"),
])
def test_a_line_for_people(event, line):
    assert describe(event) == line


def test_sizes():
    assert [human_bytes(n) for n in (0, 1023, 1024, 1 << 30, 1 << 50)] == ["0 B", "1023 B", "1.0 KiB", "1.0 GiB", "1024.0 TiB"]
