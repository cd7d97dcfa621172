# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A small Debian to build the builder image on, from wherever this machine's own apt takes its packages."""
import platform
import signal

import common

ISOLATED = ['unshare', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc']


def _sources():
    """(release, lines): what apt is set up to use here."""
    text = common.run(['apt-get', 'indextargets', '--format', 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)', 'Created-By: Packages', 'Origin: Debian'])
    lines = sorted({line for line in text.splitlines() if line.startswith('deb ')})
    releases = [line.split()[2] for line in lines if '-' not in line.split()[2]]
    if not releases:
        raise common.LabError('apt knows no Debian source yet: run apt-get update')
    return releases[0], lines


def tree(tar, work):
    """Install apt and what it needs into a tar."""
    common.need({'mmdebstrap': 'mmdebstrap', 'unshare': 'util-linux'})
    if platform.machine() != 'x86_64':
        raise common.LabError('the builder image is built on x86_64 only')
    release, lines = _sources()
    (work / 'sources').write_text('\n'.join(lines) + '\n', encoding='utf-8')
    leave_out = ['--dpkgopt=path-exclude=/usr/share/%s/*' % name for name in ('doc', 'man', 'locale', 'info')]
    # mmdebstrap mounts the host's own /dev/shm into the tree; in namespaces of its own that ends with it, however it ends
    common.run(ISOLATED + ['mmdebstrap', '--mode=root', '--variant=apt', '--include=ca-certificates',
                           # copies of the host's
                           '--customize-hook=rm -f "$1/etc/hostname" "$1/etc/resolv.conf"'] + leave_out + [release, tar, work / 'sources'],
               stop=signal.SIGKILL)         # unshare ignores SIGTERM
