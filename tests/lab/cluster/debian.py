# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A tree of Debian packages for the builder image, from wherever this machine's own apt takes them, as the tar of a layer."""
import os
import platform
import signal
import stat

import common

# What the work needs, and a kernel for the appliance. guestfish is there for people, and for comparisons.
PACKAGES = ('python3 python3-guestfs guestfish libguestfs-xfs linux-image-cloud-amd64 e2fsprogs qemu-utils qemu-system-x86 skopeo zstd ostree '
            'ca-certificates').split()
# An initramfs would take a minute, and nothing boots here: these files are there before the packages that own them.
NO_INITRAMFS = '''mkdir -p "$1/etc/kernel/postinst.d" "$1/etc/initramfs-tools" &&
printf "#!/bin/sh\\n" >"$1/etc/kernel/postinst.d/initramfs-tools" && chmod 755 "$1/etc/kernel/postinst.d/initramfs-tools" &&
echo update_initramfs=no >"$1/etc/initramfs-tools/update-initramfs.conf"'''
ISOLATED = ['unshare', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc']


def _sources():
    """(release, lines): what apt is set up to use here."""
    text = common.run(['apt-get', 'indextargets', '--format', 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)', 'Created-By: Packages', 'Origin: Debian'])
    lines = sorted({line for line in text.splitlines() if line.startswith('deb ')})
    releases = [line.split()[2] for line in lines if '-' not in line.split()[2]]
    if not releases:
        raise common.LabError('apt knows no Debian source yet: run apt-get update')
    return releases[0], lines


def tree(target, work):
    """Install the packages into an empty folder."""
    common.need({'mmdebstrap': 'mmdebstrap', 'unshare': 'util-linux', 'tar': 'tar'})
    if platform.machine() != 'x86_64':
        raise common.LabError('the builder image is built on x86_64 only')
    release, lines = _sources()
    (work / 'sources').write_text('\n'.join(lines) + '\n', encoding='utf-8')
    leave_out = ['--dpkgopt=path-exclude=/usr/share/%s/*' % name for name in ('doc', 'man', 'locale', 'info')]
    # mmdebstrap mounts the host's own /dev/shm into the tree; in namespaces of its own that ends with it, however it ends
    common.run(ISOLATED + ['mmdebstrap', '--mode=root', '--variant=essential', '--include=' + ','.join(PACKAGES), '--dpkgopt=force-confold',
                           '--essential-hook=' + NO_INITRAMFS] + leave_out + [release, target, work / 'sources'],
               stop=signal.SIGKILL)         # unshare ignores SIGTERM
    # copies of the host's
    for name in ('hostname', 'resolv.conf'):
        (target / 'etc' / name).unlink(missing_ok=True)


def pack(folder, tar, *names):
    """A tar of what a folder holds, or of some of it; devices are the container runtime's to make."""
    common.run(['tar', '--create', '--file', tar, '--format=gnu', '--numeric-owner', '--sort=name', '--directory', folder, '--exclude=./dev/*'] +
               list(names or ['.']))


def devices(folder):
    """The few that programs in a chroot lean on, and that no layer holds."""
    for name, minor in (('null', 3), ('zero', 5), ('full', 7), ('random', 8), ('urandom', 9)):
        path = folder / 'dev' / name
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, minor))
        path.chmod(0o666)
