# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Builds the cluster's programs from their Go modules, once for each go.sum: what is in the cache is only named.

One binary holds Kubernetes and etcd, and goes by the name of each part; containerd, its shim, ctr and the network plugins are Go
tools of the same module. runc and the registry are Debian's.
"""
import argparse
import os
import re
import shutil
import subprocess
from pathlib import Path

import common
from cluster import images, lab

SOURCES = Path(__file__).resolve().parent / 'binaries'
PARTS = ('etcd', 'kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'kubelet', 'kubectl')
GO = (1, 25)
PAUSE = 'localhost/ocne-lab/pause:1'


def _place():
    return common.cache_dir() / 'cluster' / common.recipe_key(PARTS, SOURCES)


def _need_go():
    try:
        version = subprocess.run(['go', 'env', 'GOVERSION'], capture_output=True, text=True, check=False, cwd='/').stdout.strip()
    except FileNotFoundError:
        version = ''
    found = re.match(r'go(\d+)\.(\d+)', version)
    if not found or tuple(int(n) for n in found.groups()) < GO:
        raise lab.Unavailable('the Kubernetes lab is built with Go %d.%d or newer, and this machine has %s' % (GO + (version or 'no go',)))


def _link_flags():
    """The version that the API server tells: a released binary has it from its build."""
    version = re.search(r'^\s*k8s\.io/kubernetes (v(\d+)\.(\d+)\S+)', (SOURCES / 'go.mod').read_text(encoding='utf-8'), re.M)
    values = {'gitVersion': version[1], 'gitMajor': version[2], 'gitMinor': version[3], 'gitTreeState': 'clean'}
    return ' '.join(['-s -w'] + ['-X %s.%s=%s' % (package, name, value) for name, value in values.items()
                                 for package in ('k8s.io/component-base/version', 'k8s.io/client-go/pkg/version')])


def binaries():
    """The folder of all programs, built where the cache lacks it."""
    final = _place()
    if final.exists():
        return final
    _need_go()
    with common.lock('cluster-build'), common.workspace('cluster-build') as work:
        if not final.exists():
            common.say('cluster: building Kubernetes and containerd from their Go modules; the first time on a machine takes 5 to 20 minutes')
            made = work / 'bin'
            made.mkdir()
            # Whatever the Go of this machine is set up to do otherwise. At full priority: the longest tests wait for it.
            env = {'CGO_ENABLED': '0', 'GOTOOLCHAIN': 'local', 'GOWORK': 'off', 'GOGC': '400', 'GOTMPDIR': str(work)}
            argv = ['go', 'build', '-trimpath', '-buildvcs=false', '-ldflags', _link_flags(), '-o', str(made) + '/', '.', './pause', 'tool']
            common.run(argv, cwd=SOURCES, env=env)
            for part in PARTS:
                os.symlink('cluster', made / part)
            images.archive(made / 'pause.tar', PAUSE, {'pause': made / 'pause'}, {'Entrypoint': ['/pause'], 'User': '65535:65535'})
            (made / 'pause').unlink()
            common.publish(made, final)
            common.say('cluster: built in %s' % final)
    return final


def main(argv):
    """The command line: tests/lab/cluster/build"""
    parser = argparse.ArgumentParser(prog='build', description='Build the programs of the Kubernetes lab (cached) and print their folder.')
    parser.add_argument('--check', action='store_true', help='only tell whether this machine can run the lab: status 77 and a reason where not')
    args = parser.parse_args(argv[1:])

    def work():
        if args.check:
            check()
        else:
            print(binaries())
    return lab.command_line(work)


def check():
    """Unavailable, with the reason, where this machine cannot run the cluster."""
    lab.need_root()
    if not _place().exists():
        _need_go()
    packages = {'runc': 'runc', 'docker-registry': 'docker-registry', 'ip': 'iproute2', 'openssl': 'openssl', 'htpasswd': 'apache2-utils',
                'unshare': 'util-linux', 'mount': 'mount'}
    path = os.environ.get('PATH', '') + ':/usr/sbin:/sbin'
    missing = sorted(package for program, package in packages.items() if not shutil.which(program, path=path))
    if missing:
        raise lab.Unavailable('the Kubernetes lab needs the Debian packages %s' % ' '.join(missing))
