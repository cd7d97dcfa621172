# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Pairs of runs, one of ours and one of the peer's, in turns; and the rows that come of them."""

from __future__ import annotations

import dataclasses
import os
import shutil
import statistics
import sys
import time


class Fault(Exception):
    """A measurement that cannot be made, in one sentence."""


@dataclasses.dataclass
class Row:
    """One line of the table."""

    what: str
    against: str
    result: str
    goal: str = "-"
    met: bool = None       # None: there is no goal


@dataclasses.dataclass
class Pairs:
    """Seconds of each run, ours and the peer's, in the order of the pairs."""

    ours: list
    peer: list

    @property
    def ratio(self):
        """Of the medians."""
        return statistics.median(self.ours) / statistics.median(self.peer)

    @property
    def difference(self):
        """Of the medians, seconds."""
        return statistics.median(self.ours) - statistics.median(self.peer)

    @property
    def ratios(self):
        return [ours / peer for ours, peer in zip(self.ours, self.peer)]

    def row(self, what, against, goal=None):
        result = spread(self.ratio, self.ratios)
        return Row(what, against, result) if goal is None else Row(what, against, result, f"<= {goal:g}", self.ratio <= goal)


def spread(middle, values, unit=""):
    """The figure that counts, and the smallest and largest of the pairs."""
    return f"{middle:.2f}{unit} ({min(values):.2f} to {max(values):.2f})"


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def seconds(action, folder):
    """How long action(folder) takes, from an empty folder and with nothing left to write from before."""
    os.makedirs(folder)
    os.sync()
    started = time.monotonic()
    action(folder)
    return time.monotonic() - started


def pairs(count, ours, peer, folder, label, same=None, after=None):
    """Run ours(folder) and peer(folder) `count` times, in turns and with alternating beginners.

    same(our folder, peer's folder) raises Fault where both have not made the same; it is asked of a pair that is not measured, before the others.
    after(folder): what is to do before a result is removed. That is done at once: where the first one's result stayed,
    the second run was up to three times as slow, as its page cache needed fresh memory.
    """
    actions = {"ours": ours, "peer": peer}
    paths = {name: os.path.join(folder, name) for name in actions}
    measured = {name: [] for name in actions}

    def remove(name):
        if after:
            after(paths[name])
        shutil.rmtree(paths[name], ignore_errors=True)

    if same:
        try:
            for name, action in actions.items():
                seconds(action, paths[name])
            same(*paths.values())
        finally:
            for name in actions:
                remove(name)
    for number in range(count):
        for name in sorted(actions, reverse=number % 2 == 1):
            try:
                measured[name].append(seconds(actions[name], paths[name]))
            finally:
                remove(name)
        # seconds are for who watches: only ratios go into the table
        say(f"{label}: {measured['ours'][-1]:.2f} s, peer {measured['peer'][-1]:.2f} s")
    return Pairs(**measured)
