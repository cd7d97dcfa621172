# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""kill -9 of a play's processes at random moments: nothing half-done is ever there, and the next run converges."""

from __future__ import annotations

import os
import subprocess

from bench import ROOT
from measure import Row, say

_ROUNDS = int(os.environ.get("OCNE_KILL_ROUNDS", "20"))
_TEST = "tests/integration/test_main_job.py::test_killed_at_random_moments_it_converges"


def rows(_bench):
    """Whether it passed."""
    environ = dict(os.environ, OCNE_KILL_ROUNDS=str(_ROUNDS))
    done = subprocess.run([f"{ROOT}/scripts/test-integration", "plays", _TEST], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, env=environ, check=False)
    summary = (done.stdout.strip().splitlines() or [""])[-1].strip("= ")
    passed = done.returncode == 0 and " passed" in f" {summary}"
    say(f"kill -9: {summary}")
    if not passed:
        say(done.stdout[-4000:])
    yield Row(f"`kill -9` of all processes at {_ROUNDS} random moments", "what was there is whole, the next run converges",
              "passed" if passed else "failed", "passed", passed)
