# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How far long work is: measured where the work is done, told to whoever asked.

An event is a flat dictionary: phase, done, total, unit ("bytes", "percent" or "steps"),
elapsed (seconds in this phase), rate (units per second), left (seconds).
"""

from __future__ import annotations

import time

#: the variable of the module's environment that names the file events are appended to
PROGRESS_VARIABLE = "OCNE_IMAGES_PROGRESS"


class Progress:
    """Turns update() calls into at most one event per `interval` seconds, and one at each end of a phase."""

    def __init__(self, emit, clock=time.monotonic, interval=0.5):
        self._emit, self._clock, self._interval = emit, clock, interval
        self._phase, self._unit, self._total, self._done = None, "bytes", None, 0
        self._started = self._said = 0.0

    def phase(self, name, total=None, unit="bytes"):
        """Begin a phase; total is in `unit`s, None where it is not known."""
        self._phase, self._unit, self._total, self._done = name, unit, total, 0
        self._started = self._clock()
        self._say()

    def update(self, done, total=None):
        """`done` units of this phase are done; total where it became known."""
        self._done = done
        if total is not None:
            self._total = total
        if self._clock() - self._said >= self._interval:
            self._say()

    def finish(self):
        """The phase is at its end."""
        if self._total:
            self._done = self._total
        self._say()

    def _say(self):
        now = self._said = self._clock()
        elapsed = now - self._started
        rate = self._done / elapsed if elapsed > 0.2 and self._done else None
        left = (self._total - self._done) / rate if rate and self._total else None
        self._emit({
            "phase": self._phase, "done": self._done, "total": self._total, "unit": self._unit,
            "elapsed": round(elapsed, 1), "rate": rate and round(rate, 1), "left": left is not None and round(left, 1) or None,
        })


def silent():
    """A Progress that tells nobody."""
    return Progress(lambda event: None)


def human_bytes(count):
    """12345678 -> '11.8 MiB'."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(size) < 1024 or unit == "TiB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024


def _human_seconds(seconds):
    minutes, seconds = divmod(int(seconds + 0.5), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def describe(event):
    """One event as a line for people: phase, percent, bytes, rate, time left."""
    parts = []
    done, total, unit = event.get("done") or 0, event.get("total"), event.get("unit")
    if total:
        parts.append(f"{min(100, int(100 * done / total))} %")
    if unit == "bytes" and done:
        parts.append(f"{human_bytes(done)} of {human_bytes(total)}" if total else human_bytes(done))
        if event.get("rate"):
            parts.append(f"{human_bytes(event['rate'])}/s")
    if event.get("left"):
        parts.append(f"{_human_seconds(event['left'])} left")
    elif event.get("elapsed", 0) >= 1 and not (total and done >= total):
        parts.append(f"for {_human_seconds(event['elapsed'])}")
    return f"{event.get('phase')}: {', '.join(parts)}" if parts else f"{event.get('phase')}"
