# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The main process of a builder pod: a small HTTP server that takes and gives files and runs the work program.

It knows nothing of Kubernetes. Whoever speaks to it (protocol.py) has its token. It ends by itself when nobody has spoken for a while.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import hmac
import http.server
import json
import os
import platform
import shutil
import signal
import socket
import socketserver
import threading
import time
import traceback
import urllib.parse

from ..common import advice
from ..common.errors import ImageError, from_os_error
from ..files import extents
from ..files.scratch import Scratch
from ..work import job as wire
from . import content_coding
from .files import Files
from .jobs import GRACE, Jobs
from .protocol import (
    AGENT_HEADER,
    CHECKSUM_HEADER,
    EXIT_HEADER,
    LARGEST,
    OFFSET_HEADER,
    PROTOCOL,
    STATE_HEADER,
    TOKEN_HEADER,
    Refusal,
)
from .tunnel import tunnel  # noqa: F401  pylint: disable=unused-import

_TOOLS = ("qemu-img", "skopeo", "ostree")
_CONNECTIONS = 64              # at once; who has no token gets no further
_UNKNOWN_TIMEOUT, _KNOWN_TIMEOUT = 10, 120   # seconds a silent connection is kept, before and after it showed the token
_LONGEST_WAIT = 60             # seconds an answer is held back at most
_LARGEST_REQUEST = 4 << 20     # bytes of JSON or of a program
_TICK = 0.25                   # seconds
_bodies = Scratch()
_SUBREAPER = 36                # PR_SET_CHILD_SUBREAPER, linux/prctl.h


def _say(line):
    with contextlib.suppress(OSError):
        os.write(2, f"{line}\n".encode())


class _IdleTimer:
    """Whether somebody with the token has spoken lately. A request that is being answered is speaking."""

    def __init__(self, seconds):
        self.seconds = seconds
        self._lock, self._active, self._last = threading.Lock(), 0, time.monotonic()

    @contextlib.contextmanager
    def spoken(self):
        with self._lock:
            self._active += 1
        try:
            yield
        finally:
            with self._lock:
                self._active -= 1
                self._last = time.monotonic()

    def over(self):
        with self._lock:
            return not self._active and time.monotonic() - self._last > self.seconds


class Agent:
    """What the requests share."""

    def __init__(self, workspace, token, idle_timeout, grace=GRACE):
        self.token = token.encode()
        self.files, self.jobs = Files(workspace), Jobs(workspace, _say, grace)
        self.idle = _IdleTimer(idle_timeout)
        self._started = time.monotonic()

    def status(self):
        space, (sizes, allocated) = os.statvfs(self.files.workspace), self.files.listing()
        return {
            "protocol": PROTOCOL, "job_protocol": wire.PROTOCOL, "python": platform.python_version(), "machine": platform.machine(),
            "tools": {name: shutil.which(name) for name in _TOOLS}, "guestfs": self.jobs.guestfs(), "encodings": content_coding.available(),
            "workspace": self.files.workspace, "total_bytes": space.f_blocks * space.f_frsize, "free_bytes": space.f_bavail * space.f_frsize,
            "programs": self.jobs.programs(), "jobs": self.jobs.listing(), "files": sizes, "allocated": allocated,
            "seconds": round(time.monotonic() - self._started, 1), "idle_timeout": self.idle.seconds,
        }


class _Handler(http.server.BaseHTTPRequestHandler):
    """One connection: requests one after the other."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = _UNKNOWN_TIMEOUT

    @property
    def agent(self):
        return self.server.agent

    def log_message(self, *_arguments):   # pylint: disable=arguments-differ
        """Requests are not logged."""

    def do_request(self):
        length = self.headers.get("Content-Length") or ""
        self._unread = int(length) if length.isdigit() else 0
        # a body without a length could not be told from the next request
        self.close_connection = self.close_connection or "Transfer-Encoding" in self.headers
        if not hmac.compare_digest((self.headers.get(TOKEN_HEADER) or "").encode("latin-1", "replace"), self.agent.token):
            self.close_connection = True
            self._refuse(Refusal(403, "the builder does not know this token"))
            return
        self.connection.settimeout(_KNOWN_TIMEOUT)
        with self.agent.idle.spoken():
            try:
                self._route()
            except Refusal as error:
                self._refuse(error)
            except ImageError as error:
                self._refuse(error, 507 if "free_bytes" in error.details else 400)
            except (ConnectionError, socket.timeout):
                self.close_connection = True
            except OSError as error:
                self._refuse(from_os_error(error, "the builder's work on its workspace"), 507)
            except Exception as error:   # a defect of ours: without its words, which may hold what was sent
                _say(f"unexpected fault: {type(error).__name__}")
                self._refuse(ImageError(f"unexpected fault in the builder: {type(error).__name__}",
                                        todo=advice.REPORT,
                                        traceback="".join(traceback.format_tb(error.__traceback__))), 500)

    do_GET = do_PUT = do_POST = do_DELETE = do_request

    # --- answers -------------------------------------------------------------------------------------

    def _answer(self, status, body, headers=None):
        self._drain()
        self.send_response_only(status)
        self.send_header(AGENT_HEADER, str(PROTOCOL))
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            if value is not None:
                self.send_header(name, str(value))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def _answer_json(self, data, status=200):
        self._answer(status, json.dumps(data, separators=(",", ":")).encode(), {"Content-Type": "application/json"})

    def _refuse(self, error, status=None):
        try:
            self._answer_json({"error": error.as_dict()}, status or error.status)
        except OSError:
            self.close_connection = True

    def _drain(self):
        """Read what is left of the request: an answer to one that is still being sent would be lost with the connection."""
        if self._unread > 2 * LARGEST:
            self.close_connection = True
            return
        while self._unread:
            data = self.rfile.read(min(self._unread, 1 << 20))
            if not data:
                self.close_connection = True
                return
            self._unread -= len(data)

    # --- requests ------------------------------------------------------------------------------------

    def _read(self, limit):
        """The request's body: a memoryview that is good for this request."""
        length = self.headers.get("Content-Length") or ""
        if not length.isdigit():
            self.close_connection = True
            raise Refusal(411, "the request does not say its length")
        if int(length) > limit:
            raise Refusal(413, f"the request has more than {limit} bytes")
        data = _bodies.take(int(length))
        count = self.rfile.readinto(data)
        self._unread -= count
        if count < len(data):
            raise ConnectionError("the request was cut off")
        return data

    def _body(self, limit):
        return bytes(self._read(limit))

    def _json(self):
        try:
            data = json.loads(self._body(_LARGEST_REQUEST))
            if isinstance(data, dict):
                return data
        except ValueError:
            pass
        raise Refusal(400, "the request is not JSON")

    def _route(self):
        url = urllib.parse.urlsplit(self.path)
        try:
            parts = [urllib.parse.unquote(part, errors="strict") for part in url.path.split("/")]
            self._query = dict(urllib.parse.parse_qsl(url.query, errors="strict"))
        except ValueError:
            raise Refusal(400, "the request's path is not readable") from None
        handle = {"status": self._status, "programs": self._programs, "jobs": self._jobs, "files": self._files}.get(parts[2] if len(parts) > 2 else "")
        if parts[:2] != ["", "v1"] or handle is None or any("/" in part for part in parts):
            raise Refusal(404, "the builder knows no such request")
        if not handle(self.command, parts[3:]):
            raise Refusal(404, "the builder knows no such request")

    def _text(self, name):
        if name not in self._query:
            raise Refusal(400, f"the request does not say {name}")
        return self._query[name]

    def _number(self, name, default=None):
        text = self._query.get(name, default)
        try:
            number = int(text)
            if number >= 0:
                return number
        except (TypeError, ValueError):
            pass
        raise Refusal(400, f"the request does not say {name}")

    def _ranges(self):
        try:
            ranges = extents.from_text(self._text("ranges"))
        except ValueError:
            raise Refusal(400, "the request does not say ranges") from None
        if sum(length for _offset, length in ranges) > LARGEST:
            raise Refusal(413, f"a chunk has at most {LARGEST} bytes")
        return ranges

    def _status(self, command, parts):
        if command == "GET" and not parts:
            self._answer_json(self.agent.status())
            return True
        return False

    def _programs(self, command, parts):
        if command != "PUT" or len(parts) != 1:
            return False
        self.agent.jobs.add_program(parts[0], self._body(_LARGEST_REQUEST))
        self._answer_json({})
        return True

    def _jobs(self, command, parts):
        jobs = self.agent.jobs
        if len(parts) == 1 and command == "PUT":
            self._answer_json(jobs.start(parts[0], self._body(_LARGEST_REQUEST)))
        elif len(parts) == 1 and command == "DELETE":
            jobs.remove(parts[0])
            self._answer_json({})
        elif parts[1:] == ["output"] and command == "GET":
            offset = self._number("offset", 0)
            data, state, status = jobs.output(parts[0], offset, min(self._number("wait", 0), _LONGEST_WAIT))
            self._answer(200, data, {STATE_HEADER: state, EXIT_HEADER: status, OFFSET_HEADER: offset + len(data)})
        elif parts[1:] == ["errors"] and command == "GET":
            self._answer(200, jobs.errors(parts[0]))
        else:
            return False
        return True

    def _files(self, command, parts):
        files = self.agent.files
        verb = parts[-1] if len(parts) > 1 else ""
        name = "/".join(parts[:-1] if verb else parts)
        if (command, verb) == ("GET", "received"):
            self._answer_json(files.received(name, self._text("digest"), self._number("needed", 0)))
        elif (command, verb) == ("PUT", "chunk"):
            self._chunk(name)
        elif (command, verb) == ("POST", ""):
            self._complete(name)
        elif (command, verb) == ("GET", "chunks"):
            self._answer_json(files.changes(name, self._number("start", 0), self._query.get("base")))
        elif (command, verb) == ("GET", "part"):
            data = files.read(name, self._ranges())
            accepted = [item.strip() for item in (self.headers.get("Accept-Encoding") or "").split(",")]
            body, encoding = content_coding.encode(data, accepted)
            self._answer(200, body, {CHECKSUM_HEADER: content_coding.checksum(data), "Content-Encoding": encoding})
        elif (command, verb) == ("DELETE", ""):
            files.remove(name)
            self._answer_json({})
        else:
            return False
        return True

    def _chunk(self, name):
        ranges = self._ranges()
        body = self._read(LARGEST)
        try:
            data = content_coding.decode(body, self.headers.get("Content-Encoding"), sum(length for _offset, length in ranges))
            sound = content_coding.checksum(data) == self.headers.get(CHECKSUM_HEADER)
        except ImageError as error:
            raise Refusal(422, error.what) from error
        if not sound:
            raise Refusal(422, "a chunk did not arrive as it was sent", name)
        self.agent.files.write(name, self._text("digest"), self._number("size"), ranges, data, self._number("settled", 0))
        self._answer_json({})

    def _complete(self, name):
        data = self._json()
        digest, size, source, wait = (data.get(key) for key in ("digest", "size", "source", "wait"))
        if source is not None and isinstance(source, str) and (digest is None or isinstance(digest, str)):
            self.agent.files.adopt(name, source, digest)
        elif isinstance(digest, str) and isinstance(size, int) and size >= 0 and isinstance(wait, (int, float, type(None))):
            if not self.agent.files.finish(name, digest, size, min(20 if wait is None else wait, _LONGEST_WAIT)):
                self._answer_json({"state": "checking"}, 202)
                return
        else:
            raise Refusal(400, "the request does not say size and digest, or source")
        self._answer_json({"state": "done"})


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """A thread for each connection, and not more than _CONNECTIONS."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address, agent):
        self.agent = agent
        self._room = threading.BoundedSemaphore(_CONNECTIONS)
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)

    def server_bind(self):
        # HTTPServer's asks the name service who we are
        socketserver.TCPServer.server_bind(self)

    def process_request(self, request, client_address):
        if self._room.acquire(blocking=False):   # pylint: disable=consider-using-with
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request, client_address):
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request, client_address):
        """A connection that breaks is the client's business."""


class _Ended(Exception):
    """A signal told this process to end."""


def _end(number, _frame):
    for other in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(other, signal.SIG_IGN)
    raise _Ended(f"received {signal.Signals(number).name}")


def _arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--workspace", required=True)
    parser.add_argument("--token-file", required=True)
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--port-file", help="where to write the port, for port 0")
    parser.add_argument("--idle-timeout", type=float, required=True, help="seconds")
    parser.add_argument("--grace", type=float, default=GRACE, help="seconds a stopped job has; less than the pod has")
    return parser.parse_args()


def main():
    """Serve until nobody speaks any more or a signal comes; jobs end with it. One line says why.

    Exit status 0 where nobody spoke, 1 after a signal: of a pod that ends well the cluster would not tell that it was evicted.
    """
    arguments = _arguments()
    os.umask(0o077)
    with open(arguments.token_file, encoding="utf-8") as file:
        token = file.read().strip()
    if not token:
        raise SystemExit("the token file is empty")
    # as the first process of a pod this is so without asking
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    why, status = "", 0
    try:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, _end)
        agent = Agent(arguments.workspace, token, arguments.idle_timeout, arguments.grace)
        server = _Server((arguments.host, arguments.port), agent)
        threading.Thread(target=server.serve_forever, args=(_TICK,), name="server", daemon=True).start()
        if arguments.port_file:
            with open(f"{arguments.port_file}.new", "w", encoding="ascii") as file:
                file.write(str(server.server_address[1]))
            os.replace(f"{arguments.port_file}.new", arguments.port_file)
        _say(f"builder ready on port {server.server_address[1]}")
        while not agent.idle.over():
            time.sleep(_TICK)
            agent.jobs.reap()
        why = f"nobody has spoken to it for {arguments.idle_timeout:g} seconds"
    except _Ended as error:
        why, status = str(error), 1
    agent.jobs.stop_all()
    _say(f"builder ended: {why}")
    os._exit(status)


if __name__ == "__main__":
    main()
