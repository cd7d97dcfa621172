# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A running ansible-playbook, and a look at what it leaves."""

from __future__ import annotations

import contextlib
import os
import pathlib
import secrets
import signal
import subprocess
import threading
import time

ROOT = pathlib.Path(__file__).parents[2]
VENVS = pathlib.Path(os.environ.get("OCNE_VENVS", pathlib.Path.home() / ".cache/ocne-images/venv"))
CORES = os.environ.get("OCNE_CORES", "newest").split()
MARK = "OCNE_TEST_MARK"
#: what a run of all tests has started for them, see scripts/test-integration
SHARED = pathlib.Path(os.environ["OCNE_TEST_LAB"]) if "OCNE_TEST_LAB" in os.environ else None


class Play:
    """A running ansible-playbook whose processes can all be found again."""

    def __init__(self, command, env, cwd):
        self.mark = secrets.token_hex(8)
        self.lines = []       # (seconds since the start, text)
        self.started = time.monotonic()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=cwd,
                                        env=dict(env, **{MARK: self.mark}), start_new_session=True,
                                        # as on a terminal: what a shell starts in the background has SIGINT ignored, and so would the modules
                                        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append((time.monotonic() - self.started, line.rstrip("\n")))

    @property
    def text(self):
        return "\n".join(line for _when, line in self.lines)

    def wait(self, timeout=900):
        self.process.wait(timeout)
        self._reader.join(10)
        return self.process.returncode

    def wait_for(self, words, timeout=300):
        deadline = time.monotonic() + timeout
        while words not in self.text:
            assert self.process.poll() is None and time.monotonic() < deadline, f"never said {words!r}:\n{self.text}"
            time.sleep(0.05)

    def pids(self, also=None):
        """Every process that this play started, directly or not; also: words in the command line of what came by ssh."""
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit() and int(entry) != os.getpid():
                with contextlib.suppress(OSError):
                    environ = pathlib.Path("/proc", entry, "environ").read_bytes()
                    command = pathlib.Path("/proc", entry, "cmdline").read_bytes()
                    if f"{MARK}={self.mark}".encode() in environ or (also and str(also).encode() in command):
                        found.append(int(entry))
        return found

    def kill_all(self, also=None):
        for pid in self.pids(also):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def gone(self, timeout=120, also=None):
        """Wait until no process is left; returns what still is, as command lines."""
        deadline = time.monotonic() + timeout
        while self.pids(also) and time.monotonic() < deadline:
            time.sleep(0.1)
        left = []
        for pid in self.pids(also):
            with contextlib.suppress(OSError):
                left.append(pathlib.Path("/proc", str(pid), "cmdline").read_bytes().replace(b"\0", b" ").decode())
        return left


def hidden(folder):
    """Staging folders and other hidden files in a folder: there must be none after a run."""
    return sorted(name for name in os.listdir(folder) if name.startswith("."))


def inventory(tmp_path, text):
    path = tmp_path / "hosts"
    path.write_text(text)
    return ["-i", str(path)]
