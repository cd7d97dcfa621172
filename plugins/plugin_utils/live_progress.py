# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Live progress: shows, while a module runs, what it appends to the file it was given.

The file is read through the task's own connection (local, ssh, any other) by the connection's
user; the module creates it, with become too, readable for all: it holds percentages only.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import signal
import threading
import time

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.ocne.images.plugins.module_utils.common.progress import PROGRESS_VARIABLE, describe

_display = Display()
_INTERVAL = 5   # seconds between two lines, unless ocne_images_progress_interval says otherwise
_LONGEST_INTERVAL = 3600   # seconds; nobody waits for longer
_MARKER = b"ocne-images-channel:"
_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Follower(threading.Thread):
    """Polls the channel until told to stop; prints the newest event of each poll, at most one line an interval."""

    def __init__(self, connection, path, label, interval):
        super().__init__(name="ocne-images-progress", daemon=True)
        self._connection, self._path, self._label, self._interval = connection, path, label, interval
        self._end = threading.Event()
        self._parent = os.getppid()
        self._offset = 0
        self._event, self._seen, self._line = None, 0.0, None

    def run(self):
        # Python heeds signals in the main thread only: one that this thread took would not wake that up, and Ctrl-C would wait for the module
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
        waited = 0.0
        pause = min(1.0, self._interval)
        while not self._end.wait(pause):
            if os.getppid() != self._parent:
                # ansible-playbook was killed and this worker is an orphan: its end takes the module's reader away
                os._exit(1)
            waited += pause
            if waited >= self._interval:
                waited = 0.0
                try:
                    self._poll()
                except Exception as error:   # no progress is worth a failed task
                    _display.vvv(f"{self._label}: no progress: {error}")

    def stop(self):
        self._end.set()
        self.join(timeout=self._interval + 5)

    def _poll(self):
        # the marker tells the file's text from whatever a login shell prints
        command = f"printf %s {shlex.quote(_MARKER.decode())}; tail -c +{self._offset + 1} {shlex.quote(self._path)} 2>/dev/null"
        output = self._connection.exec_command(command, sudoable=False)[1]
        complete = output.partition(_MARKER)[2].rpartition(b"\n")[0]
        if complete:
            self._offset += len(complete) + 1
            self._event, self._seen = json.loads(complete.rpartition(b"\n")[2]), time.monotonic()
        if self._event:
            self._show(dict(self._event, elapsed=self._event["elapsed"] + time.monotonic() - self._seen))

    def _show(self, event):
        line = describe(event)
        if line != self._line:
            self._line = line
            _display.display(f"[{self._label}] {line}")


class LiveProgressAction(ActionBase):
    """Runs the module of the same name, with progress while it runs."""

    TRANSFERS_FILES = False
    _supports_async = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        if result.get("skipped"):
            return result
        if self._task.async_val:
            # detached from us on purpose: nobody would be there to read
            return self._execute_module(task_vars=task_vars, wrap_async=not self._connection.has_native_async)
        environment = self._task.environment
        follower = self._follower(task_vars)
        try:
            result.update(self._execute_module(task_vars=task_vars))
        finally:
            self._task.environment = environment
            if follower:
                follower.stop()
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def _follower(self, task_vars):
        wanted = self._templar.template(task_vars.get("ocne_images_progress", True))
        if str(wanted).lower() in ("false", "no", "off", "0") or self._task.no_log:
            return None
        try:
            interval = min(_LONGEST_INTERVAL, max(0.5, float(self._templar.template(task_vars.get("ocne_images_progress_interval", _INTERVAL)))))
        except (TypeError, ValueError):
            interval = _INTERVAL
        path = f"{self._temporary_folder()}/ocne-images-progress-{int(time.time())}{secrets.token_hex(8)}"
        environment = self._task.environment or []
        self._task.environment = [*(environment if isinstance(environment, list) else [environment]), {PROGRESS_VARIABLE: path}]
        follower = _Follower(self._connection, path, task_vars.get("inventory_hostname", "localhost"), interval)
        follower.start()
        return follower

    def _temporary_folder(self):
        folders = self.get_shell_option("system_tmpdirs", default=["/var/tmp", "/tmp"])
        return folders[0] if folders else "/tmp"
