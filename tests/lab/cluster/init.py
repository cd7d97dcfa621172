# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""PID 1 of the cluster, in network, mount and PID namespaces of its own: starts each part, and again when it ends.

The kernel ends everything in a PID namespace with its PID 1, and the mounts with the last process: nothing here cleans up.
"""
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from cluster import api, config, lab

RESTART_AFTER = 1.0


def _run(*argv):
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)


def _surroundings(state):
    """Mounts and network as a node has them; the host sees none of it."""
    os.environ['PATH'] = '%s/bin:/usr/sbin:/usr/bin:/sbin:/bin' % state
    _run('mount', '--make-rshared', '/')
    for inside, outside in (('/run', 'run'), ('/var/lib', 'var-lib'), ('/var/log', 'var-log')):
        _run('mount', '--bind', str(state / outside), inside)
    _run('ip', 'link', 'set', 'lo', 'up')
    _run('ip', 'address', 'add', lab.API_SERVICE + '/32', 'dev', 'lo')
    _run('ip', 'link', 'add', lab.BRIDGE, 'type', 'bridge')
    _run('ip', 'address', 'add', '%s/%s' % (lab.GATEWAY, lab.PODS.partition('/')[2]), 'dev', lab.BRIDGE)
    _run('ip', 'link', 'set', lab.BRIDGE, 'up')
    Path('/proc/sys/net/ipv4/ip_forward').write_text('1', encoding='ascii')


class Part:
    """One program that is to run always."""

    def __init__(self, name, argv, log, may_start=None):
        self.name, self.argv, self.log, self.may_start = name, argv, log, may_start
        self.pid, self.not_before = None, 0.0

    def start(self):
        """Start it if it does not run and may."""
        if self.pid or time.monotonic() < self.not_before or (self.may_start and not self.may_start()):
            return
        self.may_start = None       # once only: a part that ends later has to cope with the state of the others
        actions = [(os.POSIX_SPAWN_OPEN, 0, '/dev/null', os.O_RDONLY, 0),
                   (os.POSIX_SPAWN_OPEN, 1, str(self.log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), (os.POSIX_SPAWN_DUP2, 1, 2)]
        self.pid = os.posix_spawnp(self.argv[0], self.argv, os.environ, file_actions=actions, setsid=True)

    def ended(self, status):
        """It did."""
        print('%s %s ended: %d' % (time.strftime('%T'), self.name, os.waitstatus_to_exitcode(status)), flush=True)
        self.pid, self.not_before = None, time.monotonic() + RESTART_AFTER


def _reap(parts):
    """Every child that ended: parts, and what they left behind."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        for part in parts:
            if part.pid == pid:
                part.ended(status)


def _containerd_listens():
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(config.CONTAINERD_SOCKET) == 0


def _containerd_with_pause(state):
    """The kubelet gives up without containerd; and without the pause image, which is in no registry, there is no pod."""
    if not _containerd_listens():
        return False
    done = subprocess.run(['ctr', '--namespace', 'k8s.io', 'images', 'import', '%s/bin/pause.tar' % state], check=False, stdin=subprocess.DEVNULL)
    return done.returncode == 0


def _node_ready(client):
    """Pods can be made: the node is ready and the default namespace has its service account."""
    node = client.get('/api/v1/nodes/' + lab.NODE)
    conditions = node['status'].get('conditions', []) if node else []
    return any(c['type'] == 'Ready' and c['status'] == 'True' for c in conditions) and client.get('/api/v1/namespaces/default/serviceaccounts/default')


def main(argv):
    """init STATE: called by control.up only"""
    if os.getpid() != 1:
        print('this is for tests/lab/cluster/up to call', file=sys.stderr)
        return 2
    state = Path(argv[1])
    options = json.loads((state / 'options.json').read_text(encoding='utf-8'))
    _surroundings(state)
    client = api.Api(state / 'pki')

    def served():
        return client.get('/readyz')
    # The clients of an API server that is not there yet wait for seconds before they ask again.
    gates = {'controllers': served, 'scheduler': served, 'kubelet': lambda: served() and _containerd_with_pause(state)}
    parts = [Part(name, command, state / 'logs' / (name + '.log'), gates.get(name))
             for name, command in config.parts(state, options['image_volumes']).items()]
    ready = False
    while True:
        for part in parts:
            part.start()
        if not ready and all(part.pid for part in parts) and _node_ready(client):
            Path('/run/ready').touch()
            ready = True
        time.sleep(0.5 if ready else 0.1)
        _reap(parts)
