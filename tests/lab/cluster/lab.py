# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the parts of the cluster agree on: names, addresses, folders, and the record of the one that runs.

One cluster runs on a machine at a time. Its record is therefore the machine's, in /run, wherever its state is.
"""
import contextlib
import ctypes
import fcntl
import json
import os
import sys
from pathlib import Path

import common

NETNS = Path('/run/netns/ocne-lab')
CGROUP = 'ocne-lab'
RUN = Path('/run/ocne-images-lab')
RECORD = RUN / 'cluster.json'
NODE = 'node1'
BRIDGE = 'cni0'
PODS = '10.244.0.0/16'
GATEWAY = '10.244.0.1'              # the node as its pods see it, and as users of the API server and the registries do
SERVICES = '10.96.0.0/24'
API_SERVICE = '10.96.0.1'           # what a pod finds in its KUBERNETES_SERVICE_HOST; at port 443, so the API server is there, too
API = 'https://%s:443' % GATEWAY
API_FOR_PARTS = 'https://127.0.0.1:443'     # a test that cuts users off by address leaves the cluster itself alone
REGISTRIES = {'plain': GATEWAY + ':5000', 'tls': GATEWAY + ':5001'}
CLONE_NEWNET = 0x40000000


class Unavailable(common.LabError):
    """This machine cannot run the cluster: a reason to skip a test, not to fail it."""


def command_line(function):
    """As common.command_line; status 77 where the machine lacks what the cluster needs."""
    def work():
        try:
            return function()
        except Unavailable as error:
            print('skipped: %s' % error, file=sys.stderr)
            return 77
    return common.command_line(work)


def need_root():
    """Namespaces, cgroups and mounts are root's."""
    if os.geteuid():
        raise Unavailable('the Kubernetes lab needs root')


def default_state():
    """Where a cluster keeps what it writes, unless told otherwise."""
    return common.cache_dir() / 'cluster' / 'state'


@contextlib.contextmanager
def lock():
    """One caller at a time starts or stops the cluster. A starting cluster holds it until its record is written."""
    RUN.mkdir(mode=0o755, exist_ok=True)
    with open(RUN / 'cluster.lock', 'w', encoding='utf-8') as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            common.say('cluster: another caller starts or stops it; waiting')
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def boot_id():
    """Pids and kernel settings of another boot mean nothing; /run is not everywhere emptied by one."""
    return Path('/proc/sys/kernel/random/boot_id').read_text(encoding='utf-8').strip()


def started(pid):
    """When a process began, in ticks: with its pid it names one process, for good. None if there is none, or a zombie."""
    try:
        fields = Path('/proc/%d/stat' % pid).read_text(encoding='utf-8').rpartition(')')[2].split()
    except OSError:
        return None
    return None if fields[0] in 'ZX' else int(fields[19])


def write(path, text, mode=0o600):
    """A whole file or none, and private unless told otherwise: most of what is written here is a key or a password."""
    temporary = path.with_name('%s.%d' % (path.name, os.getpid()))
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), 'w', encoding='utf-8') as handle:
        handle.write(text)
    os.rename(temporary, path)


def read_json(path):
    """What a file of ours says; nothing if it is not there."""
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except FileNotFoundError:
        return None


def running():
    """The record of the cluster that runs now, or None."""
    record = read_json(RECORD)
    if record and record['boot'] == boot_id() and started(record['pid']) == record['start']:
        return record
    return None


def must_run():
    """The record of the running cluster, for tools that are of no use without one."""
    record = running()
    if not record or not Path(record['state'], 'run/ready').exists():
        raise common.LabError('the cluster does not run; start it with tests/lab/cluster/up')
    return record


def children(pid):
    """The pids of a process' children."""
    try:
        return [int(p) for p in Path('/proc/%d/task/%d/children' % (pid, pid)).read_text(encoding='utf-8').split()]
    except OSError:
        return []


def enter_network():
    """Move this process into the lab's network namespace."""
    with open(NETNS, 'rb') as handle:
        if ctypes.CDLL(None, use_errno=True).setns(handle.fileno(), CLONE_NEWNET):
            raise common.LabError('the cluster\'s network: %s' % os.strerror(ctypes.get_errno()))
