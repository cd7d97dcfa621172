# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All processes of one run, as /proc shows them: which there were, how long, and how much memory they had at most."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
import time

#: the environment variable that every process of a run inherits
MARK = "OCNE_BENCH_MARK"
_PERIOD = 0.02         # seconds between two looks
#: QEMU's virtual machines have the memory that they are given
_MACHINES = ("qemu-system", "qemu-kvm")


@dataclasses.dataclass
class Process:
    name: str
    command: str
    first: float           # when it was seen, seconds
    last: float
    memory: int = 0        # at most, bytes (VmHWM)

    @property
    def machine(self):
        return self.name.startswith(_MACHINES)


class Watch(threading.Thread):
    """Looks while it is entered; then `processes`."""

    def __init__(self, mark):
        super().__init__(name="watch", daemon=True)
        self._mark = f"{MARK}={mark}\0".encode()
        self._end, self._ours, self._seen = threading.Event(), {}, {}

    @property
    def processes(self):
        return list(self._seen.values())

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc_info):
        self._end.set()
        self.join()

    def run(self):
        while not self._end.wait(_PERIOD):
            pids = {entry for entry in os.listdir("/proc") if entry.isdigit()}
            for pid in set(self._ours) - pids:
                del self._ours[pid]
            for pid in pids:
                with contextlib.suppress(OSError, ValueError, KeyError):
                    self._look(pid)

    def _look(self, pid):
        if pid not in self._ours:
            # a process keeps what it was started with
            self._ours[pid] = self._mark in _read(pid, "environ") + b"\0"
        if not self._ours[pid]:
            return
        fields = dict(line.split(":", 1) for line in _read(pid, "status").decode("utf-8", "replace").splitlines() if ":" in line)
        name, now = fields["Name"].strip(), time.monotonic()
        if (pid, name) not in self._seen:
            self._seen[pid, name] = Process(name, _read(pid, "cmdline").replace(b"\0", b" ").decode("utf-8", "replace"), now, now)
        process = self._seen[pid, name]
        process.last = now
        # a zombie has none
        process.memory = max(process.memory, int(fields["VmHWM"].split()[0]) << 10)


def _read(pid, name):
    with open(f"/proc/{pid}/{name}", "rb") as file:
        return file.read()
