# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Live progress through a real local connection; the module is a function that writes to the file."""

from __future__ import annotations

import json
import os
import signal
import threading

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.play_context import PlayContext
from ansible.playbook.task import Task
from ansible.plugins.loader import connection_loader
from ansible.template import Templar
from ansible.utils.display import Display

from ansible_collections.ocne.images.plugins.module_utils.common.progress import PROGRESS_VARIABLE
from ansible_collections.ocne.images.plugins.plugin_utils.live_progress import LiveProgressAction


class Shown:
    """The lines of the display."""

    def __init__(self):
        self.lines, self._more = [], threading.Condition()

    def add(self, text):
        with self._more:
            self.lines.append(text)
            self._more.notify_all()

    def wait(self, words):
        """Until a line has these words."""
        with self._more:
            assert self._more.wait_for(lambda: any(words in line for line in self.lines), 30), self.lines


@pytest.fixture
def shown(monkeypatch):
    lines = Shown()
    monkeypatch.setattr(Display, "display", lambda _display, text, *_arguments, **_options: lines.add(text))
    return lines


@pytest.fixture
def task(tmp_path):
    """task(module, variables, **fields of the task) -> the result; module(path of the file or None, environment) is the module."""
    def run(module, variables=None, connection=None, **fields):
        loader = DataLoader()
        context = PlayContext()
        connection = connection or connection_loader.get("local", context, os.devnull)
        connection._shell.set_options(var_options={}, direct={"system_tmpdirs": [str(tmp_path)]})
        connection._shell.tmpdir = None
        made = Task.load({"name": "x", "action": {"module": "ansible.builtin.ping"}, **fields}, loader=loader)
        action = LiveProgressAction(made, connection, context, loader, Templar(loader=loader), None)
        calls = []

        def execute(**options):
            calls.append(options)
            environment = {name: value for item in made.environment or [] for name, value in item.items()}
            return dict(module(environment.get(PROGRESS_VARIABLE), environment) or {}, changed=True)
        action._execute_module = execute
        before = made.environment
        try:
            result = action.run(task_vars=dict(variables or {}, inventory_hostname="host1"))
        finally:
            assert made.environment == before
            assert not [thread for thread in threading.enumerate() if thread.name == "ocne-images-progress"]
        assert len(calls) == 1
        return dict(result, called=calls[0])
    return run


def write(path, *events, rest=""):
    with open(path, "a", encoding="utf-8") as file:
        file.write("".join(json.dumps(event) + "\n" for event in events) + rest)


def event(phase, done=None, total=None, **more):
    return dict({"phase": phase, "done": done, "total": total, "unit": "bytes", "elapsed": 0.0, "rate": None, "left": None}, **more)


FAST = {"ocne_images_progress_interval": "0.5"}


def test_lines_come_while_the_module_runs(task, shown, tmp_path):
    def module(path, environment):
        assert os.path.dirname(path) == str(tmp_path) and not os.path.exists(path)
        write(path, event("pull", 1 << 20, 4 << 20))
        shown.wait("[host1] pull: 25 %, 1.0 MiB of 4.0 MiB")
        # the newest one counts; what is not written to its end is not read
        write(path, event("pull", 2 << 20, 4 << 20), event("check"), rest='{"phase": "half')
        shown.wait("[host1] check")
        write(path, rest='way", "elapsed": 0}\n')
        shown.wait("[host1] halfway")
        return {"answer": 42}
    result = task(module, FAST)
    assert result["answer"] == 42 and result["changed"] is True
    assert not [line for line in shown.lines if "2.0 MiB" in line]


def test_a_phase_that_lasts_tells_how_long(task, shown):
    def module(path, environment):
        write(path, event("start appliance", elapsed=61.0))
        shown.wait("[host1] start appliance: for 1 min 1 s")
    task(module, FAST)


def test_the_user_s_environment_stays(task, shown):
    seen = []
    task(lambda path, environment: seen.append((path, environment)), environment=[{"HTTPS_PROXY": "http://proxy:1"}])
    (path, environment), = seen
    assert environment == {"HTTPS_PROXY": "http://proxy:1", PROGRESS_VARIABLE: path}


def test_each_task_has_a_file_of_its_own(task, shown):
    paths = []
    for _time in range(2):
        task(lambda path, environment: paths.append(path))
    assert len(set(paths)) == 2


@pytest.mark.parametrize("variables, fields", [
    ({"ocne_images_progress": False}, {}), ({"ocne_images_progress": "no"}, {}), ({}, {"no_log": True}), ({}, {"async": 60, "poll": 0}),
])
def test_where_there_is_no_file(task, shown, variables, fields):
    seen = []
    result = task(lambda path, environment: seen.append(path), variables, **fields)
    assert seen == [None] and bool(result["called"].get("wrap_async")) == ("async" in fields)


def blocked(number):
    """The signals that a thread of this process, by its number, does not take."""
    with open(f"/proc/self/task/{number}/status") as status:
        mask = next(int(line.split()[1], 16) for line in status if line.startswith("SigBlk:"))
    return {number for number in signal.valid_signals() if mask >> (number - 1) & 1}


def test_a_stop_is_left_to_the_main_thread(task, shown):
    """On a busy machine the reader's thread took it sometimes: then the main thread went on to wait for the module."""
    def module(path, _environment):
        write(path, event("customize"))
        # it reads by now
        shown.wait("customize")
        follower, = (thread for thread in threading.enumerate() if thread.name == "ocne-images-progress")
        stops = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
        # the main thread's is that of the process; after a fork threading may tell that of the process before
        assert blocked(follower.native_id) >= stops and not blocked(os.getpid()) & stops
    task(module, {"ocne_images_progress_interval": 0.5})


@pytest.mark.parametrize("interval", ["many", None, -5, 0.001, "1e9", ".inf", "inf", "1e300"])
def test_an_interval_that_is_none(task, shown, interval):
    assert task(lambda path, environment: None, {"ocne_images_progress_interval": interval})["changed"] is True


class Noisy:
    """A connection whose login shell greets, or that breaks."""

    def __init__(self, breaks=False):
        self._real, self._breaks, self.polled = connection_loader.get("local", PlayContext(), os.devnull), breaks, threading.Event()

    def exec_command(self, command, sudoable=True):
        self.polled.set()
        if self._breaks:
            raise OSError("the connection broke")
        assert not sudoable
        status, output, errors = self._real.exec_command(command, sudoable=sudoable)
        return status, b'Welcome!\n{"phase": "no event"}\n' + output, errors

    def __getattr__(self, name):
        return getattr(self._real, name)


def test_a_login_shell_s_greeting_is_no_event(task, shown):
    def module(path, environment):
        write(path, event("pull"))
        shown.wait("[host1] pull")
    task(module, FAST, Noisy())
    assert not [line for line in shown.lines if "no event" in line]


def test_a_broken_connection_fails_no_task(task, shown):
    connection = Noisy(breaks=True)
    assert task(lambda path, environment: assert_polled(connection), FAST, connection)["changed"] is True


def assert_polled(connection):
    assert connection.polled.wait(30)


def test_a_module_that_is_not_there_leaves_nothing(task, shown):
    def module(path, environment):
        raise RuntimeError("no such module")
    with pytest.raises(RuntimeError, match="no such module"):
        task(module)
