# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Start and stop an endpoint; several run side by side, each in its state folder.

From Python: up(state), down(state, purge=True).
"""
import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import common

from . import pki
from .files import load

MAIN = Path(__file__).resolve().parents[1] / 'main.py'
PATIENCE = 60       # seconds; keys are made at the first start


def default_state():
    """Where an endpoint keeps everything unless told otherwise."""
    return common.cache_dir() / 'oci' / 'default'


def _running(state):
    """The recorded pid, if it still is this folder's endpoint: a pid alone may be anybody's by now."""
    try:
        pid = int((state / 'pid').read_text(encoding='utf-8'))
        command = Path('/proc/%d/cmdline' % pid).read_bytes().split(b'\0')
        zombie = Path('/proc/%d/stat' % pid).read_text(encoding='utf-8').rpartition(')')[2].split()[0] == 'Z'
    except (OSError, ValueError):
        return None
    return pid if str(MAIN).encode() in command and str(state).encode() in command and not zombie else None


def _answers(url):
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname.replace('localhost', pki.LOOPBACK), parts.port), timeout=5).close()
    except OSError:
        return False
    return True


def _stop(state):
    pid = _running(state)
    if pid:
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 5
        while _running(state):
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
            # ours, if this process started it
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
    (state / 'pid').unlink(missing_ok=True)


def up(state=None, host=pki.LOOPBACK):
    """Start the endpoint, unless it runs; returns how to reach it. host: the address of the services, for others than this machine's programs."""
    common.need({'openssl': 'openssl', 'qemu-img': 'qemu-utils'})
    state = Path(state or default_state()).resolve()
    state.mkdir(parents=True, exist_ok=True)
    with common.lock('oci-' + common.recipe_key(str(state))):
        known = load(state)
        if _running(state) and known and all(_answers(known[name]) for name in ('endpoint', 'control')):
            return dict(known, pid=_running(state))
        _stop(state)
        # the old ports are asked for again: whoever knows the address goes on
        stamp = (state / 'endpoint.json').stat().st_mtime_ns if known else 0
        with open(state / 'log', 'ab') as log:
            child = subprocess.Popen([sys.executable, str(MAIN), 'serve', '--state', str(state), '--host', host],    # pylint: disable=consider-using-with
                                     stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd='/', start_new_session=True)
        (state / 'pid').write_text('%d\n' % child.pid, encoding='utf-8')
        try:
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline and child.poll() is None:
                if (state / 'endpoint.json').exists() and (state / 'endpoint.json').stat().st_mtime_ns != stamp:
                    return dict(load(state), pid=child.pid)
                time.sleep(0.02)
        except BaseException:
            _stop(state)
            raise
        _stop(state)
    raise common.LabError('the OCI endpoint does not start; see %s' % (state / 'log'))


def down(state=None, purge=False):
    """Stop it by its recorded pid; with purge, forget what it keeps."""
    state = Path(state or default_state()).resolve()
    if state.is_dir():
        with common.lock('oci-' + common.recipe_key(str(state))):
            _stop(state)
            if purge:
                for name in ('records', 'blobs', 'pki'):
                    shutil.rmtree(state / name, ignore_errors=True)
                for name in ('endpoint.json', 'config', 'session_token', 'log'):
                    (state / name).unlink(missing_ok=True)
                for left in state.glob('import.*'):
                    shutil.rmtree(left, ignore_errors=True)


def main(argv):
    """The command lines: tests/lab/oci/{up,down}"""
    parser = argparse.ArgumentParser(prog='oci', description='A strict stand-in for Oracle Cloud Infrastructure.')
    sub = parser.add_subparsers(dest='command', required=True)
    for name, text in (('up', 'start, print JSON'), ('down', 'stop')):
        command = sub.add_parser(name, help=text)
        command.add_argument('--state', help='folder of this endpoint (default: in the lab\'s cache)')
        if name == 'up':
            command.add_argument('--host', default=pki.LOOPBACK, help='address of the services (default: %(default)s)')
        if name == 'down':
            command.add_argument('--purge', action='store_true', help='remove all it keeps, too')
    args = parser.parse_args(argv)

    def work():
        if args.command == 'up':
            print(json.dumps(up(args.state, args.host), indent=1))
        else:
            down(args.state, args.purge)
    return common.command_line(work)
