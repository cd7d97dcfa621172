# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The jobs of a builder pod: the work program, started so that it outlives the connection that asked for it.

Its output goes to a file that is read by offset; its exit decides what became of it. A Job may hold secrets: it is only in memory
and in a pipe, and what is kept to recognize the same request again is its sha256.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

from ..common import interpreter
from ..common.errors import ImageError
from ..work import job as wire
from .protocol import DONE, RUNNING, STOPPED, Refusal

_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
# Python 3.9 does not know __package__ yet while it loads from a zip file
_START = f"import sys; sys.path.insert(0, sys.argv[1]); from {__name__.rsplit('.', 2)[0]}.work.program import main; main()"
#: seconds a stopped program has for its clean-up
GRACE = 15
_PIECE = 1 << 20       # bytes of output in one answer at most
_LAST_WORDS = 4000     # bytes of standard error that are told


class _Job:
    """One work program and what is known of it."""

    def __init__(self, name, folder, request):
        self.name, self.folder, self.request = name, folder, request
        self.kind = self.child = self.exit = None
        self.stopping = False
        self.lock = threading.Lock()
        self.ended = threading.Event()

    def path(self, name):
        return os.path.join(self.folder, name)

    @property
    def state(self):
        if not self.ended.is_set():
            return RUNNING
        return STOPPED if self.stopping else DONE

    def stop(self, grace):
        """End it: it cleans up by itself on SIGTERM, and has not for ever."""
        # the first to the program alone, which ends its children itself
        for kill, number, timeout in ((os.kill, signal.SIGTERM, grace), (os.killpg, signal.SIGKILL, 5)):
            with self.lock:
                if self.exit is None:
                    self.stopping = True
                    kill(self.child.pid, number)
            if self.ended.wait(timeout):
                return

    def attend(self, line, say):
        """Give it its Job and wait for its end (a thread of its own)."""
        with contextlib.suppress(OSError):
            self.child.stdin.write(line)
        del line
        with contextlib.suppress(OSError):
            self.child.stdin.close()
        os.waitid(os.P_PID, self.child.pid, os.WEXITED | os.WNOWAIT)
        with self.lock:
            # while it is not reaped nobody else has its number: what it left behind ends with it
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.child.pid, signal.SIGKILL)
            self.exit = self.child.wait()
        # said first: who waits for the end may end this process
        say(f"job {self.name} ended: {ending(self.exit)}")
        self.ended.set()


def ending(status):
    """An exit status in words."""
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"


class Jobs:
    """What requests do with jobs. Each method raises Refusal, ImageError or OSError.

    say(line): writes a line to the log. grace: seconds a stopped program has for its clean-up.
    """

    def __init__(self, workspace, say, grace=GRACE):
        self._workspace, self._say, self._grace = os.path.realpath(workspace), say, grace
        self._programs, self._jobs_folder = os.path.join(self._workspace, "programs"), os.path.join(self._workspace, "jobs")
        for folder in (self._programs, self._jobs_folder):
            os.makedirs(folder, mode=0o700, exist_ok=True)
        self._lock = threading.Lock()       # held while children are started, so that reap() knows all of them
        self._jobs, self._gone, self._guestfs = {}, set(), None

    # --- programs ------------------------------------------------------------------------------------

    def _program(self, digest):
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise Refusal(400, "a program is named by its sha256")
        return os.path.join(self._programs, f"{digest}.zip")

    def programs(self):
        """The digests of the programs that are here."""
        return sorted(name[:-4] for name in os.listdir(self._programs) if _DIGEST.fullmatch(name[:-4]))

    def add_program(self, digest, data):
        path = self._program(digest)
        if hashlib.sha256(data).hexdigest() != digest:
            raise Refusal(422, "the program that arrived is not what its digest says")
        temporary = f"{path}.{threading.get_ident()}"
        with open(temporary, "wb") as file:
            file.write(data)
        os.replace(temporary, path)

    def guestfs(self):
        """A Python that has the libguestfs binding, or None. (It may be installed later.)"""
        with self._lock:
            self._guestfs = self._guestfs or interpreter.with_guestfs()
            return self._guestfs

    # --- jobs ----------------------------------------------------------------------------------------

    def _get(self, name):
        job = self._jobs.get(name)
        if job is None:
            raise Refusal(404, "there is no such job in the builder", name[:100])
        return job

    def listing(self):
        """{id: {kind, state, exit}}"""
        return {name: self.describe(job) for name, job in list(self._jobs.items())}

    def describe(self, job):
        return {"kind": job.kind, "state": job.state, "exit": job.exit, "staging": job.path("staging")}

    def start(self, name, body):
        """Start a job, once: the same request again is told what became of it."""
        if not _ID.fullmatch(name):
            raise Refusal(400, "a job has an id of 1 to 64 of the characters A-Z a-z 0-9 . _ -", name[:100])
        request = hashlib.sha256(body).digest()
        data = _load(body)
        program, python = self._program(data["program"]), data.get("interpreter")
        if python is None:
            # the work says itself which kinds need the binding; a Python that has it can do all of them
            python = self.guestfs() or sys.executable
        with self._lock:
            job = self._jobs.get(name)
            if job is not None:
                if job.request != request:
                    raise Refusal(409, "another job has this id", name)
                return self.describe(job)
            if name in self._gone:
                raise Refusal(410, "this job was removed", name)
            if not os.path.exists(program):
                raise Refusal(424, "the builder does not have this program", data["program"])
            job = _Job(name, os.path.join(self._jobs_folder, name), request)
            job.kind = str(data["job"].get("kind"))[:100]
            self._spawn(job, program, python)
            self._jobs[name] = job
        line = wire.dump("job", dict(data["job"], staging=job.path("staging")))
        self._say(f"job {name} started: {job.kind}")
        threading.Thread(target=job.attend, args=(line, self._say), name=f"job-{name}", daemon=True).start()
        return self.describe(job)

    def _spawn(self, job, program, python):
        # a folder of this name is of an agent that ended
        shutil.rmtree(job.folder, ignore_errors=True)
        for folder in ("", "staging", "tmp"):
            os.mkdir(job.path(folder), 0o700)
        try:
            with open(job.path("output"), "ab") as output, open(job.path("errors"), "ab") as errors:
                job.child = subprocess.Popen(  # pylint: disable=ansible-bad-function,consider-using-with
                    [python, "-I", "-c", _START, program], stdin=subprocess.PIPE, stdout=output, stderr=errors,
                    start_new_session=True, cwd="/", env=self._environment(job))
        except OSError as error:
            shutil.rmtree(job.folder, ignore_errors=True)
            raise ImageError(f"the work program could not be started: {error.strerror.lower()}", python) from error

    def _environment(self, job):
        """What is temporary is in the workspace, which has a size limit of its own, and goes with the job."""
        environment = dict(os.environ, TMPDIR=job.path("tmp"))
        home = environment.get("HOME")
        if not home or not os.access(home, os.W_OK):
            home = os.path.join(self._workspace, "home")
            os.makedirs(home, mode=0o700, exist_ok=True)
            environment["HOME"] = home
            # the appliance of one job serves the next one
            environment.setdefault("LIBGUESTFS_CACHEDIR", home)
        return environment

    def output(self, name, offset, wait):
        """(bytes from offset on, state, exit status or None): as soon as there are any, it has ended, or `wait` seconds are over.

        The state is "running" until all of the output has been told.
        """
        job, deadline = self._get(name), time.monotonic() + wait
        with open(job.path("output"), "rb") as file:
            while True:
                ended = job.ended.is_set()
                data = os.pread(file.fileno(), _PIECE, offset)
                if data or ended or time.monotonic() >= deadline:
                    break
                job.ended.wait(0.05)
            if ended and offset + len(data) >= os.fstat(file.fileno()).st_size:
                return data, job.state, job.exit
        return data, RUNNING, None

    def errors(self, name):
        """The last bytes of its standard error."""
        with open(self._get(name).path("errors"), "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LAST_WORDS))
            return file.read()

    def remove(self, name):
        """Stop a job and remove its folder; one that is not there is no error."""
        job = self._jobs.get(name)
        if job:
            job.stop(self._grace)
            with self._lock:
                self._jobs.pop(name, None)
                self._gone.add(name)
            shutil.rmtree(job.folder, ignore_errors=True)

    def stop_all(self):
        threads = [threading.Thread(target=job.stop, args=(self._grace,)) for job in list(self._jobs.values()) if not job.ended.is_set()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def reap(self):
        """Bury the orphans that came to this process: what jobs left behind."""
        if not self._lock.acquire(blocking=False):   # pylint: disable=consider-using-with
            return
        try:
            while True:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if found is None or any(job.child.pid == found.si_pid for job in self._jobs.values()):
                    return   # the job's own thread is about to
                os.waitpid(found.si_pid, os.WNOHANG)
        except ChildProcessError:
            pass
        finally:
            self._lock.release()


def _load(body):
    try:
        data = json.loads(body)
        if not isinstance(data["job"], dict) or "program" not in data:
            raise ValueError("not a job")
        interpreter = data.get("interpreter")
        if interpreter is not None and not os.path.isabs(interpreter):
            raise ValueError("not a path")
    except (ValueError, KeyError, TypeError):
        # never with the words of the parser: a Job may hold secrets
        raise Refusal(400, "the request is not a job") from None
    return data
