# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The real sample: an ostree-based Debian that boots, in the shape of an OCK boot image.

Needs root: ostree keeps owners and SELinux labels of real files.
"""
import os
import platform
import shutil
import signal
import tarfile
from io import BytesIO
from pathlib import Path

from common import LabError, guestfish, need, run, say
from sample import content, disk

GUEST = Path(__file__).resolve().parent / 'guest'
POLICY = Path('/etc/selinux/default')
PACKAGES = ('linux-image-cloud-amd64 dracut ostree ostree-boot xfsprogs systemd systemd-sysv udev dbus kmod network-manager curl '
            'iproute2 procps login passwd mount attr').split()
VERSION = '1.33.0-lab'


def packages_tree(tree, work):
    """Debian packages, from wherever this machine's own apt takes them."""
    sources = run(['apt-get', 'indextargets', '--format', 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)', 'Created-By: Packages', 'Origin: Debian'])
    # beside them apt may print warnings, of a source that is configured twice, say
    lines = sorted({line for line in sources.splitlines() if line.startswith('deb ')})
    # the release itself, not its updates
    suites = [line.split()[2] for line in lines if '-' not in line.split()[2]]
    if not suites:
        raise LabError('apt knows no Debian source yet: run apt-get update')
    (work / 'sources').write_text('\n'.join(lines) + '\n', encoding='utf-8')
    nodoc = ['--dpkgopt=path-exclude=/usr/share/%s/*' % name for name in ('doc', 'man', 'locale', 'info')]
    # the kernel package would make an initramfs of its own: keep its hook from it
    hook = 'mkdir -p "$1/etc/kernel/postinst.d" && printf "#!/bin/sh\\n" >"$1/etc/kernel/postinst.d/dracut" && chmod 755 "$1/etc/kernel/postinst.d/dracut"'
    # mmdebstrap as root mounts proc, sys and the host's own /dev/shm into the tree. In namespaces of its own they end with it,
    # however it ends: nothing that later removes the tree can follow such a mount into the host.
    run(['unshare', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc', 'mmdebstrap', '--mode=root', '--variant=essential',
         '--include=' + ','.join(PACKAGES), '--dpkgopt=force-confold', '--essential-hook=' + hook] + nodoc + [suites[0], tree, work / 'sources'],
        stop=signal.SIGKILL)        # unshare ignores SIGTERM


def initramfs(tree):
    """A host-independent initramfs beside the kernel, where ostree looks for both; returns the kernel's version."""
    (modules,) = (tree / 'usr/lib/modules').iterdir()
    shutil.move(str(tree / 'boot' / ('vmlinuz-' + modules.name)), str(modules / 'vmlinuz'))
    run(['chroot', tree, 'dracut', '--quiet', '--force', '--no-hostonly', '--no-hostonly-cmdline', '--reproducible', '--gzip', '--add', 'ostree',
         '--add-drivers', 'virtio_blk virtio_scsi virtio_net virtio_pci virtio_console sd_mod xfs',
         '--kver', modules.name, '/usr/lib/modules/%s/initramfs.img' % modules.name])
    return modules.name


def ostree_shape(tree):
    """From a Debian tree to an ostree one: /etc in /usr/etc, an empty /var, links to what is local."""
    for name in ('hostname', 'machine-id', 'resolv.conf'):
        (tree / 'etc' / name).unlink(missing_ok=True)   # mmdebstrap's copies of the host's
    shutil.copytree(GUEST, tree, dirs_exist_ok=True)
    shutil.copytree(POLICY, tree / 'etc/selinux/default', dirs_exist_ok=True, symlinks=True)
    (tree / 'etc/selinux/config').write_text('SELINUX=permissive\nSELINUXTYPE=default\n', encoding='utf-8')
    for path in [tree] + list(GUEST.rglob('*')):
        if path != tree:
            path = tree / path.relative_to(GUEST)
        os.chown(path, 0, 0)
        if path.is_dir():
            path.chmod(0o755)
        elif path != tree:
            path.chmod(0o755 if os.access(path, os.X_OK) else 0o644)
    run(['chroot', tree, 'systemctl', 'preset-all'])
    for name in ('boot', 'var', 'home', 'root', 'opt', 'srv', 'mnt', 'media', 'tmp', 'usr/local', 'dev', 'run', 'proc', 'sys'):
        shutil.rmtree(tree / name)
    for name in ('initrd.img', 'initrd.img.old', 'vmlinuz', 'vmlinuz.old'):
        (tree / name).unlink(missing_ok=True)
    for name in ('boot', 'var', 'dev', 'run', 'proc', 'sys', 'sysroot', 'media'):
        (tree / name).mkdir(mode=0o755)
    for name, target in (('home', 'var/home'), ('root', 'var/roothome'), ('opt', 'var/opt'), ('srv', 'var/srv'), ('mnt', 'var/mnt'),
                         ('tmp', 'sysroot/tmp'), ('ostree', 'sysroot/ostree'), ('usr/local', '../var/usrlocal')):
        os.symlink(target, tree / name)
    os.rename(tree / 'etc', tree / 'usr/etc')


def deploy(tree, sysroot, ids):
    """Commit the tree and deploy it, as an installer does."""
    sysroot.mkdir()
    repo = sysroot / 'ostree/repo'
    # deployments stay mutable (no chattr +i), so that the work folder can be removed
    env = {'OSTREE_SYSROOT_DEBUG': 'mutable-deployments'}
    run(['ostree', 'admin', 'init-fs', sysroot], env=env)
    run(['ostree', 'admin', 'os-init', 'ock', '--sysroot=%s' % sysroot], env=env)
    for key, value in (('bootloader', 'none'), ('readonly', 'false')):
        run(['ostree', 'config', '--repo=%s' % repo, 'set', 'sysroot.' + key, value])
    run(['ostree', 'commit', '--repo=%s' % repo, '--branch=ock', '--tree=dir=%s' % tree, '--selinux-policy=%s' % tree,
         '--add-metadata-string=version=' + VERSION, '--subject=ocne.images lab sample', '--timestamp=@1700000000'])
    run(['ostree', 'admin', 'deploy', '--sysroot=%s' % sysroot, '--os=ock'] + ['--karg=' + a for a in content.options(ids).split()] + ['ock'], env=env)
    (commit,) = [p.name[:-2] for p in (sysroot / 'ostree/deploy/ock/deploy').iterdir() if p.name.endswith('.0')]
    return commit


def write_labelled(path, text, label):
    """A new file, never a write through a hard link into ostree's objects, with the label that the policy gives its path."""
    path.unlink(missing_ok=True)
    path.write_text(text, encoding='utf-8')
    path.chmod(0o644)
    os.setxattr(path, 'security.selinux', label)


def add_text(tar, name, text):
    """One small file of root's into a tar; directories need no member of their own here."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(text), 0o644
    tar.addfile(member, BytesIO(text.encode()))


def build(out, key, params):
    """Make out/disk.qcow2; returns what a test may want to know about it."""
    if os.geteuid():
        raise LabError('the real sample image is built as root (sudo -E tests/lab/sample/build); the tiny ones are not')
    if platform.machine() != 'x86_64':
        raise LabError('the real sample image is built on x86_64 only')
    need({'mmdebstrap': 'mmdebstrap', 'unshare': 'util-linux', 'ostree': 'ostree', 'tar': 'tar', 'qemu-img': 'qemu-utils'})
    if not (POLICY / 'contexts/files/file_contexts').exists():
        raise LabError('missing the SELinux policy; install the Debian package: selinux-policy-default')
    ids = disk.identities(key)
    tree, sysroot, raw = out / 'tree', out / 'sysroot', out / 'disk.raw'
    say('sample: Debian packages')
    packages_tree(tree, out)
    say('sample: initramfs')
    kernel = initramfs(tree)
    ostree_shape(tree)
    say('sample: ostree commit and deployment')
    commit = deploy(tree, sysroot, ids)
    deployment = 'ostree/deploy/ock/deploy/%s.0' % commit
    etc = sysroot / deployment / 'etc'
    machine_id = ids['gpt'].replace('-', '')
    # the policy has no rule of its own for either: both are etc_t, as the fstab of the packages
    label = os.getxattr(etc / 'fstab', 'security.selinux')
    write_labelled(etc / 'fstab', content.fstab(ids, disk.efi_uuid(ids)), label)
    write_labelled(etc / 'machine-id', machine_id + '\n', label)
    shutil.rmtree(tree)
    (entry,) = (sysroot / 'boot/loader/entries').iterdir()
    bls = entry.read_text(encoding='utf-8')
    loader = os.readlink(sysroot / 'boot/loader')
    (sysroot / 'boot/grub2').mkdir()
    (sysroot / 'boot/efi').mkdir()
    (sysroot / 'boot/grub2/grub.cfg').write_text(content.grub_cfg(ids), encoding='utf-8')
    say('sample: disk')
    parts = disk.make(raw, disk.STANDARD, ids)
    tar = ['tar', '--create', '--numeric-owner', '--sort=name', '--xattrs', '--xattrs-include=*']
    run(tar + ['--file', out / 'boot.tar', '-C', sysroot / 'boot', '.'])
    run(tar + ['--file', out / 'root.tar', '-C', sysroot, '--exclude=./boot/*', '.'])
    with tarfile.open(out / 'efi.tar', 'w') as efi:
        add_text(efi, 'EFI/redhat/grub.cfg', content.efi_grub_cfg(ids))
    script = []
    for number, (name, _start, _size) in enumerate(parts, 1):
        part = {'EFI-SYSTEM': 'efi', 'boot': 'boot', 'root': 'root'}[name]
        xattrs = '' if part == 'efi' else ' xattrs:true'
        script.append('mount /dev/sda%d /\ntar-in %s.tar /%s\numount /' % (number, out / part, xattrs))
    guestfish([(raw, 'raw')], '\n'.join(script))
    disk.to_qcow2(raw, out / 'disk.qcow2', params['clusters'])
    shutil.rmtree(sysroot)
    for name in ('sources', 'boot.tar', 'root.tar', 'efi.tar'):
        (out / name).unlink()
    keys = dict(line.split(None, 1) for line in bls.splitlines() if ' ' in line)
    return {'architecture': 'amd64', 'osname': 'ock', 'ref': 'ock', 'version': VERSION, 'commit': commit, 'deployment': deployment, 'loader': loader,
            'entries': [entry.name], 'kernel': kernel, 'options': keys['options'], 'boot_uuid': ids['boot'], 'root_uuid': ids['root'],
            'efi_uuid': disk.efi_uuid(ids), 'machine_id': machine_id, 'partitions': [n for n, _s, _z in parts], 'bootable': True}
