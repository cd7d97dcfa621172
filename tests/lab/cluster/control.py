# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Starts and stops the cluster.

From Python: up(state), down(purge=True), restart('kubelet').
"""
import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import common
from cluster import build, config, images, lab

# What a kubelet sets on its host, namespace or not.
SYSCTLS = ('vm/overcommit_memory', 'vm/panic_on_oom', 'kernel/panic', 'kernel/panic_on_oops', 'kernel/keys/root_maxkeys', 'kernel/keys/root_maxbytes')
SAVED = lab.RUN / 'sysctls.json'
LINK = lab.RUN / 'state'
# What a new cluster must not find; images that containerd has stay.
OF_ONE_CLUSTER = ('etcd', 'run', 'pki', 'cni', 'certs.d', 'logs', 'var-log', 'var-lib/kubelet', 'var-lib/cni')
MADE_BY_US = OF_ONE_CLUSTER + ('var-lib', 'bin', 'options.json', 'kubelet.yaml', 'containerd.toml', 'htpasswd', 'registry-password',
                               'registry-plain.yml', 'registry-tls.yml')
START_TIMEOUT = 240


def up(state=None, image_volumes='all'):
    """Start the cluster, or share the one that runs; returns how to reach it."""
    build.check()
    programs = build.binaries()
    state = Path(state or lab.default_state()).resolve()
    with lab.lock():
        record = lab.running()
        if record:
            # maybe one whose caller was killed before it was ready: then we see it through
            if record['options'] != {'image_volumes': image_volumes}:
                raise common.LabError('the cluster runs with other options: %s; end it first with tests/lab/cluster/down' % json.dumps(record['options']))
            if record['state'] != str(state):
                common.say('cluster: sharing the one that runs, with its state in %s' % record['state'])
        else:
            _clear()
            _prepare(state, programs, image_volumes)
        try:
            begun = not record
            record = record or _start(state, {'image_volumes': image_volumes})
            _wait(record)
        except BaseException:
            _clear()
            raise
        return _describe(record, begun)


def _describe(record, begun):
    state = Path(record['state'])
    return {'started': begun, 'state': str(state), 'netns': str(lab.NETNS), 'kubeconfig': str(state / 'admin.kubeconfig'), 'server': lab.API,
            'node': lab.NODE, 'gateway': lab.GATEWAY, 'registries': config.registries(state), 'pid': record['pid'], **record['options']}


def _prepare(state, programs, image_volumes):
    """The folders and files of a new cluster."""
    state.mkdir(parents=True, exist_ok=True)
    for name in OF_ONE_CLUSTER:
        common.remove_tree(state / name)
    for old in state.glob('*.kubeconfig'):
        old.unlink()
    for name in ('run', 'var-lib/kubelet', 'var-log', 'etcd', 'logs'):
        (state / name).mkdir(parents=True)
    (state / 'bin').unlink(missing_ok=True)
    (state / 'bin').symlink_to(programs)
    lab.write(state / 'options.json', json.dumps({'image_volumes': image_volumes}))
    config.write(state, build.PAUSE, image_volumes)
    LINK.unlink(missing_ok=True)
    LINK.symlink_to(state)


def _cgroup_roots():
    """One with version 2; with version 1 one for each controller."""
    for line in Path('/proc/self/mountinfo').read_text(encoding='utf-8').splitlines():
        before, _dash, after = line.partition(' - ')
        if after.split()[0] in ('cgroup', 'cgroup2'):
            yield Path(before.split()[4])


def _start(state, options):
    """Namespaces and processes; what is made here is what _clear removes."""
    if not SAVED.exists():          # else they are the cluster's, not the host's
        values = {name: Path('/proc/sys', name).read_text(encoding='ascii').strip() for name in SYSCTLS}
        lab.write(SAVED, json.dumps({'boot': lab.boot_id(), 'values': values}))
    for root in _cgroup_roots():
        (root / lab.CGROUP).mkdir(exist_ok=True)
    lab.NETNS.parent.mkdir(exist_ok=True)
    lab.NETNS.touch()
    # Not "ip netns add": that would also leave a mount of the folder on itself.
    common.run(['unshare', '--net=%s' % lab.NETNS, 'true'])
    record = {'boot': lab.boot_id(), 'state': str(state), 'options': options}

    def note():
        # In the child, which still holds our lock: whatever happens to us, the next caller finds either nothing or this.
        record.update(pid=os.getpid(), start=lab.started(os.getpid()))
        lab.write(lab.RECORD, json.dumps(record), 0o644)
    argv = ['nsenter', '--net=%s' % lab.NETNS, 'unshare', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc', '--propagation', 'private',
            sys.executable, str(Path(__file__).with_name('main.py')), 'init', str(state)]
    with open(state / 'logs/init.log', 'ab') as log:
        # pylint: disable-next=consider-using-with,subprocess-popen-preexec-fn
        subprocess.Popen(argv, preexec_fn=note, start_new_session=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd='/')
    return lab.read_json(lab.RECORD)


def _wait(record):
    """Until pods can be made."""
    state = Path(record['state'])
    deadline = time.monotonic() + START_TIMEOUT
    while not (state / 'run/ready').exists():
        if lab.started(record['pid']) != record['start']:
            tail = (state / 'logs/init.log').read_text(encoding='utf-8', errors='replace').splitlines()[-15:]
            raise common.LabError('the cluster has ended while it started:\n  %s' % '\n  '.join(tail))
        if time.monotonic() > deadline:
            raise common.LabError('the node is not ready after %d s; see %s' % (START_TIMEOUT, state / 'logs'))
        time.sleep(0.05)
    if 'init' not in record:
        (init,) = lab.children(record['pid'])
        record['init'] = {'pid': init, 'start': lab.started(init)}
        lab.write(lab.RECORD, json.dumps(record), 0o644)


def _end(record):
    """Kill the cluster's PID 1 and wait until the kernel has ended all the rest."""
    inits = [(p, lab.started(p)) for p in lab.children(record['pid'])] if lab.running() else []
    if lab.running():
        os.kill(record['pid'], signal.SIGKILL)      # unshare --kill-child: takes PID 1 along
    if 'init' in record:
        inits.append((record['init']['pid'], record['init']['start']))
    deadline = time.monotonic() + 30
    while any(start and lab.started(pid) == start for pid, start in inits + [(record['pid'], record['start'])]):
        if time.monotonic() > deadline:
            raise common.LabError('the cluster does not end: process %d' % record['pid'])
        time.sleep(0.02)


def _clear():
    """Leave nothing of a cluster, in whatever state it is: called before a start, too."""
    record = lab.read_json(lab.RECORD)
    if record and record['boot'] == lab.boot_id():
        _end(record)
    _remove_cgroups()
    if lab.NETNS.exists():
        # not mounted, if we were killed between the two steps that make it
        subprocess.run(['umount', str(lab.NETNS)], check=False, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        lab.NETNS.unlink()
    saved = lab.read_json(SAVED)
    if saved:
        if saved['boot'] == lab.boot_id():
            for name, value in saved['values'].items():
                path = Path('/proc/sys', name)
                if path.read_text(encoding='ascii').strip() != value:
                    path.write_text(value, encoding='ascii')
        SAVED.unlink()
    LINK.unlink(missing_ok=True)
    lab.RECORD.unlink(missing_ok=True)


def _remove_cgroups():
    """From the leaves up; the last processes may need a moment to leave them."""
    deadline = time.monotonic() + 10
    for root in _cgroup_roots():
        top = root / lab.CGROUP
        while top.exists():
            for folder, _folders, _files in os.walk(top, topdown=False):
                try:
                    os.rmdir(folder)
                except OSError:
                    pass            # still busy: again below
            if top.exists():
                if time.monotonic() > deadline:
                    raise common.LabError('processes are left in the cgroup %s' % top)
                time.sleep(0.05)


def down(purge=False, state=None):
    """Stop the cluster that runs, or remove what a killed one left; with purge, also its state and all images."""
    images.stop_registry()
    if os.geteuid() and not lab.RUN.exists():
        return                      # an ordinary user who cleans up, where there never was a cluster
    lab.need_root()
    with lab.lock():
        record = lab.read_json(lab.RECORD) or {}
        state = Path(state or record.get('state') or lab.default_state())
        _clear()
        if purge:
            _purge(state)


def _purge(state):
    """Only what is ours: the folder may be somebody's own."""
    for name in MADE_BY_US:
        if (state / name).is_dir() and not (state / name).is_symlink():
            common.remove_tree(state / name)
        else:
            (state / name).unlink(missing_ok=True)
    for old in state.glob('*.kubeconfig'):
        old.unlink()
    common.remove_tree(config.registry_storage())


def restart(name):
    """Kill one part; PID 1 starts it again after a second. Returns once it is killed."""
    record = lab.must_run()
    for pid in lab.children(record['init']['pid']):
        start = lab.started(pid)
        try:
            program = Path('/proc/%d/cmdline' % pid).read_bytes().split(b'\0')[0].decode()
        except OSError:
            continue
        if os.path.basename(program) == config.RESTARTABLE[name]:
            os.kill(pid, signal.SIGKILL)
            while lab.started(pid) == start:
                time.sleep(0.01)
            return
    raise common.LabError('%s does not run at the moment' % name)


def main(argv):
    """The command lines: tests/lab/cluster/{up,down,restart}"""
    command, arguments = argv[0], argv[1:]
    texts = {'up': 'Start a single-node Kubernetes in a network namespace of its own; print how to reach it as JSON.',
             'down': 'Stop it, and only it.', 'restart': 'Kill a part of it, which comes back by itself.'}
    parser = argparse.ArgumentParser(prog=command, description=texts[command])
    if command == 'up':
        parser.add_argument('--image-volumes', choices=config.IMAGE_VOLUMES, default='all',
                            help='none: as clusters before 1.35; apiserver: its nodes are older')
    elif command == 'down':
        parser.add_argument('--purge', action='store_true', help='remove its state and the images, too')
    if command != 'restart':
        parser.add_argument('--state', help='folder of its state (default: in the lab\'s cache)')
    else:
        parser.add_argument('part', choices=sorted(config.RESTARTABLE))
    args = parser.parse_args(arguments)

    def work():
        if command == 'up':
            print(json.dumps(up(args.state, args.image_volumes), indent=1))
        elif command == 'down':
            down(args.purge, args.state)
        else:
            restart(args.part)
    return lab.command_line(work)
