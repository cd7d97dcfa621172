# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""kill -9 of a play's processes at random moments: nothing half-done is ever there, and the next run converges."""

from __future__ import annotations

import os
import subprocess

from bench import ROOT
from measure import Row, say

_ROUNDS = int(os.environ.get("OCNE_KILL_ROUNDS", "20"))
#: what is killed -> (its test, what must be)
_TESTS = {
    "all processes": ("tests/integration/test_main_job.py::test_killed_at_random_moments_it_converges",
                      "what was there is whole, the next run converges"),
    "a controller whose work is in a pod": ("tests/integration/test_builder_faults.py::test_killed_at_random_moments",
                                            "the same, and nothing stays in the cluster"),
}


def rows(_bench):
    """Whether they passed."""
    for what, (test, goal) in _TESTS.items():
        yield _row(what, test, goal)


def _row(what, test, goal):
    environ = dict(os.environ, OCNE_KILL_ROUNDS=str(_ROUNDS))
    done = subprocess.run([f"{ROOT}/scripts/test-integration", "plays", test], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, env=environ, check=False)
    summary = (done.stdout.strip().splitlines() or [""])[-1].strip("= ")
    passed = done.returncode == 0 and " passed" in f" {summary}"
    say(f"kill -9 of {what}: {summary}")
    if not passed:
        say(done.stdout[-4000:])
    return Row(f"`kill -9` of {what} at {_ROUNDS} random moments", goal, "passed" if passed else "failed", "passed", passed)
