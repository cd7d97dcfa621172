# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The endpoint's process: its sockets, and the file that tells where they are."""
import argparse
import os
import shutil
import signal
import threading
from pathlib import Path
from urllib.parse import urlsplit

import common

from . import importer, pki
from .files import load, write_files
from .metadata import Control, Loopback, Metadata
from .server import Endpoint
from .service import HOME, REGIONS, Service


def _bind(make, before, host=pki.LOOPBACK):
    """A server on the port that it had before a restart, if that is free; else on one of the kernel's choice."""
    port = urlsplit(before).port if before else None
    if port:
        try:
            return make((host, port))
        except OSError:
            pass
    return make((host, 0))


def main(argv):
    """`main.py serve --state DIR --host ADDRESS`: until SIGTERM."""
    parser = argparse.ArgumentParser(prog='serve')
    parser.add_argument('--state', required=True)
    parser.add_argument('--host', default=pki.LOOPBACK)
    given = parser.parse_args(argv)
    state, host = Path(given.state).resolve(), given.host

    def work():
        # all that was told to a client is on disk, and a thread in the middle of TLS would hold up an orderly end
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(signum, lambda *_args: os._exit(0))
        for left in state.glob('import.*'):
            shutil.rmtree(left, ignore_errors=True)
        before = load(state)
        service = Service(state)
        servers, urls, certificate = {}, {}, pki.server(state / 'pki', host)
        for region in REGIONS:
            servers[region] = _bind(lambda address, region=region: Endpoint(address, service, region, certificate),
                                    before.get('regions', {}).get(region), host)
            urls[region] = 'https://%s:%d' % ('localhost' if host == pki.LOOPBACK else host, servers[region].server_address[1])
        for name, handler in (('metadata', Metadata), ('control', Control)):
            servers[name] = _bind(lambda address, handler=handler: Loopback(address, service, handler), before.get(name))
            urls[name] = 'http://127.0.0.1:%d' % servers[name].server_address[1]
        service.urls = {region: urls[region] for region in REGIONS}
        importer.resume(service)
        for server in servers.values():
            threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.1}, daemon=True).start()
        write_files(service, urls[HOME], urls)
        threading.Event().wait()
    return common.command_line(work)
