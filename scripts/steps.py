# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs the steps of `make test`, one more at once than this machine has cores, as some wait, and tells at the end where the time went.

    python3 scripts/steps.py [--jobs NUMBER] [NAME ...]     all, or these (patterns, as of a shell) and what they need

A step begins once what it needs is there; the first of STEPS first, so that the slow ones do not come last. What a step says is shown
when it ends, and all of them run, whichever fails. Status 77 of a step is a skip, and its reason is what it says.
"""
from __future__ import annotations

import argparse
import contextlib
import fnmatch
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).resolve().parent.parent
VENVS = pathlib.Path(os.environ.get("OCNE_CACHE") or pathlib.Path.home() / ".cache/ocne-images") / "venv"
SLOWEST = 25
SKIPPED = 77


@dataclass
class Step:
    """One command; its name and what it needs; venv: without this environment it is skipped; live: on the terminal, which sudo may ask."""
    name: str
    command: str
    needs: tuple = ("setup",)
    venv: str = ""
    live: bool = False


STEPS = (
    # needs nothing but Go, and where the cache is empty everything in the cluster waits for it
    Step("cluster's programs", "tests/lab/cluster/build", ()),
    Step("setup", "scripts/setup", (), live=True),
    Step("sample images", "tests/lab/sample/build"),
    Step("builder image", "tests/lab/cluster/build --check && tests/lab/cluster/builder-image"),
    Step("cluster", "scripts/test-integration lab-cluster", ("cluster's programs", "builder image", "sample images")),
    Step("registries", "scripts/test-integration lab-registries", ("sample images",)),
    Step("appliance", "tests/lab/appliance/build"),
    Step("plays in a cluster", "scripts/test-integration plays -m cluster", ("cluster", "registries", "appliance")),
    Step("plays", "scripts/test-integration plays -m 'not cluster'", ("registries", "appliance")),
    Step("sanity, oldest", "scripts/ansible-test oldest sanity", venv="oldest"),
    Step("sanity, newest", "scripts/ansible-test newest sanity", venv="newest"),
    Step("targets, oldest", "scripts/test-integration targets", ("registries",), venv="oldest"),
    Step("units, oldest", "scripts/ansible-test oldest units --python default", venv="oldest"),
    Step("units, newest", "scripts/test-units newest --ignore=tests/unit/lab_oci", venv="newest"),
    Step("units of the lab's cloud", "scripts/test-units newest tests/unit/lab_oci", venv="newest"),
    Step("units, Python 3.9", "scripts/test-units py39", venv="py39"),
    Step("linters", "scripts/lint"),
)


@dataclass
class Run:
    """A step that runs, or has run."""
    step: Step
    process: subprocess.Popen
    log: pathlib.Path
    began: float
    ended: float = 0.0
    user: float = 0.0
    system: float = 0.0
    status: str = ""


def clock(seconds):
    """75 -> '1:15'."""
    return "%d:%02d" % divmod(round(seconds), 60)


def say(text):
    print(text, flush=True)


class Runner:
    """Runs steps; state is a folder of this run's own, where the lab's registries and the results are."""

    def __init__(self, steps, jobs, state):
        self.waiting, self.jobs, self.state = list(steps), jobs, state
        self.running, self.ended, self.outcome = {}, [], {}
        self.began = time.monotonic()
        self.busy = self._busy()

    def all(self):
        """Run them all; returns whether none has failed."""
        try:
            while self.waiting or self.running:
                self._start_what_can()
                if self.running:
                    self._wait()
        except BaseException:
            self._stop()
            for run in self.running.values():
                self._show(run, "stopped")
            raise
        finally:
            subprocess.run([ROOT / "scripts/test-integration", "lab-down"], cwd=ROOT, env=self._environment(), check=False)
        self._table()
        return "failed" not in self.outcome.values()

    def _start_what_can(self):
        for step in list(self.waiting):
            needed = [self.outcome.get(name) for name in step.needs]
            if "failed" in needed:
                self._leave_out(step, "failed", "not run: what it needs has failed")
            elif step.venv and all(needed) and not (VENVS / step.venv).exists():
                self._leave_out(step, "skipped", f"skipped: there is no Python for '{step.venv}' on this machine (scripts/setup says why)")
            elif all(needed) and len(self.running) < self.jobs:
                self._start(step)

    def _leave_out(self, step, outcome, why):
        say(f"━━ {step.name}: {why}")
        self.waiting.remove(step)
        self.outcome[step.name] = outcome

    def _environment(self, results=None):
        more = {"OCNE_TEST_LAB": str(self.state)}
        if results:
            more["PYTEST_ADDOPTS"] = f"{os.environ.get('PYTEST_ADDOPTS', '')} --junit-xml={results}"
        return {**os.environ, **more}

    def _start(self, step):
        self.waiting.remove(step)
        number = len(self.ended) + len(self.running)
        log = self.state / f"{number}.log"
        # ansible-test takes pytest's options by its own
        results = None if "ansible-test" in step.command else self.state / f"{number}.xml"
        say(f"{clock(time.monotonic() - self.began):>6} {step.name} ...")
        with open(log, "wb") as out:
            process = subprocess.Popen(  # pylint: disable=consider-using-with,subprocess-popen-preexec-fn
                ["bash", "-c", step.command], cwd=ROOT, env=self._environment(results), stdin=None if step.live else subprocess.DEVNULL,
                stdout=None if step.live else out, stderr=None if step.live else subprocess.STDOUT, start_new_session=not step.live,
                # what a shell starts in the background has SIGINT ignored
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        self.running[process.pid] = Run(step, process, log, time.monotonic())

    def _wait(self):
        """Until one step has ended."""
        pid, status, usage = os.wait4(-1, 0)
        run = self.running.pop(pid, None)
        if run is None:
            return
        run.process.returncode = code = os.waitstatus_to_exitcode(status)
        run.ended, run.user, run.system = time.monotonic(), usage.ru_utime, usage.ru_stime
        run.status = "failed" if code not in (0, SKIPPED) else "skipped" if code else "passed"
        self.outcome[run.step.name] = run.status
        self.ended.append(run)
        self._show(run, run.status)

    @staticmethod
    def _show(run, status):
        say(f"\n━━ {run.step.name}: {status} after {clock((run.ended or time.monotonic()) - run.began)}")
        sys.stdout.buffer.write(run.log.read_bytes())
        say("")

    def _stop(self):
        """End what runs, as Ctrl-C does, so that each tidies up; what does not is killed."""
        for number, patience in ((signal.SIGINT, 60), (signal.SIGTERM, 20), (signal.SIGKILL, 20)):
            for pid, run in self.running.items():
                if run.process.poll() is None:
                    (os.kill if run.step.live else os.killpg)(pid, number)
            deadline = time.monotonic() + patience
            while any(run.process.poll() is None for run in self.running.values()) and time.monotonic() < deadline:
                time.sleep(0.1)

    @staticmethod
    def _busy():
        """(busy, all) ticks of this machine's processors since it started."""
        try:
            ticks = [int(word) for word in pathlib.Path("/proc/stat").read_text().split()[1:9]]
        except OSError:
            return 0, 0
        return sum(ticks) - ticks[3] - ticks[4], sum(ticks)

    def _table(self):
        busy, ticks = (now - before for now, before in zip(self._busy(), self.busy))
        minutes = [sum(getattr(run, what) for run in self.ended) / 60 for what in ("user", "system")]
        say("━━ Where the time went")
        say(f"{'begin':>7}{'wall':>7}{'user':>7}{'system':>7}  step")
        for run in sorted(self.ended, key=lambda run: run.began):
            numbers = (run.began - self.began, run.ended - run.began, run.user, run.system)
            say("".join(f"{clock(number):>7}" for number in numbers) + f"  {run.step.name}" + ("" if run.status == "passed" else f": {run.status}"))
        tests = sorted(self._tests(), reverse=True)[:SLOWEST]
        if tests:
            say(f"The slowest {len(tests)} tests")
            for seconds, name in tests:
                say(f"{seconds:7.1f} s  {name}")
        say(f"{clock(time.monotonic() - self.began)} in all; {minutes[0]:.0f} processor minutes of steps and {minutes[1]:.0f} of the system for them; "
            f"{os.cpu_count()} processors were busy {100 * busy // max(ticks, 1)} % of the time")
        for word in ("skipped", "failed"):
            names = [name for name, outcome in self.outcome.items() if outcome == word]
            if names:
                say(f"{word}: {', '.join(names)}")

    def _tests(self):
        """(seconds, name) of every test that pytest has told of. One that was stopped in its midst has no name, or no end."""
        for path in self.state.glob("*.xml"):
            with contextlib.suppress(xml.etree.ElementTree.ParseError):
                for case in xml.etree.ElementTree.parse(path).iter("testcase"):
                    if case.get("classname") and case.get("time"):
                        yield float(case.get("time")), f"{case.get('classname').replace('.', '/')}.py::{case.get('name')}"


def chosen(patterns):
    """The steps of these names, and what they need."""
    names = {step.name for step in STEPS if any(fnmatch.fnmatch(step.name, pattern) for pattern in patterns)}
    for step in reversed(STEPS):
        if step.name in names:
            names.update(step.needs)
    return [step for step in STEPS if step.name in names]


def main():
    parser = argparse.ArgumentParser(prog="steps.py", description="Run the steps of `make test`.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="; ".join(step.name for step in STEPS))
    parser.add_argument("--jobs", type=int, default=(os.cpu_count() or 1) + 1, help="steps at once (%(default)s)")
    args = parser.parse_args()
    steps = chosen(args.names or ["*"])
    if not steps:
        parser.error("there is no such step")

    def stop(_number, _frame):
        raise KeyboardInterrupt
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    state = pathlib.Path(tempfile.mkdtemp(prefix="ocne-test-"))
    try:
        return 0 if Runner(steps, args.jobs, state).all() else 1
    except KeyboardInterrupt:
        return 130
    finally:
        shutil.rmtree(state, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
