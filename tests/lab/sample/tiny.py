# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tiny samples: the same disk, partitions, loader and deployment, but no operating system. A few MB, any architecture, no root.

Odd shapes are parameters. All that are missing from the cache are filled in one appliance launch.
"""
import gzip
import hashlib
import tarfile
from io import BytesIO

from common import guestfish, say
from sample import content, disk

MACHINES = {'amd64': 'x86_64', 'arm64': 'aarch64'}
MTIME = 1700000000
DEFAULTS = {'arch': 'amd64', 'entries': 1, 'loader': 1, 'order': list(disk.STANDARD), 'ostree': True, 'machine_id': True, 'clusters': 'none'}
# the shapes that the project's tests use, by name
SHAPES = {
    'tiny': {},
    'tiny-arm64': {'arch': 'arm64'},
    'tiny-loader0': {'loader': 0},
    'tiny-two-entries': {'entries': 2, 'loader': 0},
    'tiny-reordered': {'order': ['root', 'EFI-SYSTEM', 'boot']},
    'tiny-no-efi': {'order': ['boot', 'root']},
    'tiny-no-ostree': {'ostree': False},
}
# what a tiny policy says is what OCK's says of these paths; the first rule is the least specific
FILE_CONTEXTS = '''/.*\tsystem_u:object_r:default_t:s0
/boot(/.*)?\tsystem_u:object_r:boot_t:s0
/etc(/.*)?\tsystem_u:object_r:etc_t:s0
/usr(/.*)?\tsystem_u:object_r:usr_t:s0
/var(/.*)?\tsystem_u:object_r:var_t:s0
/var/lib(/.*)?\tsystem_u:object_r:var_lib_t:s0
/usr/lib/modules(/.*)?\tsystem_u:object_r:modules_object_t:s0
/etc/selinux(/.*)?\tsystem_u:object_r:selinux_config_t:s0
/etc/NetworkManager/dispatcher\\.d(/.*)?\tsystem_u:object_r:NetworkManager_initrc_exec_t:s0
/etc/NetworkManager/NetworkManager\\.conf\t--\tsystem_u:object_r:NetworkManager_etc_t:s0
/etc/NetworkManager(/.*)?\tsystem_u:object_r:NetworkManager_etc_t:s0
/etc/hosts\t--\tsystem_u:object_r:net_conf_t:s0
/etc/hostname\t--\tsystem_u:object_r:hostname_etc_t:s0
/etc/machine-id\t--\tsystem_u:object_r:machineid_t:s0
'''
LABELS = {'etc/hosts': 'net_conf_t', 'etc/machine-id': 'machineid_t', 'etc/selinux': 'selinux_config_t', 'usr/lib/modules': 'modules_object_t',
          'etc/NetworkManager/dispatcher.d': 'NetworkManager_initrc_exec_t', 'etc/NetworkManager': 'NetworkManager_etc_t',
          'etc': 'etc_t', 'usr': 'usr_t', 'var/lib': 'var_lib_t', 'var': 'var_t'}


class Tree:
    """A tar whose members have owners, times and SELinux labels that do not depend on who makes it."""

    def __init__(self, path):
        self.tar = tarfile.open(path, 'w', format=tarfile.PAX_FORMAT)   # pylint: disable=consider-using-with
        self.made = set()

    def _member(self, name, kind, mode, label=None):
        parent = name.rpartition('/')[0]
        if parent and parent not in self.made:
            self.dir(parent)
        member = tarfile.TarInfo(name)
        member.type, member.mode, member.mtime = kind, mode, MTIME
        if label:
            member.pax_headers = {'SCHILY.xattr.security.selinux': 'system_u:object_r:%s:s0' % label}
        return member

    def dir(self, name, mode=0o755, label=None):
        """A folder, and its parents before it."""
        if name not in self.made:
            member = self._member(name, tarfile.DIRTYPE, mode, label)
            self.made.add(name)
            self.tar.addfile(member)

    def file(self, name, data, mode=0o644, label=None):
        """A regular file of text or bytes."""
        data = data.encode() if isinstance(data, str) else data
        member = self._member(name, tarfile.REGTYPE, mode, label)
        member.size = len(data)
        self.tar.addfile(member, BytesIO(data))

    def link(self, name, target):
        """A symbolic link."""
        member = self._member(name, tarfile.SYMTYPE, 0o777)
        member.linkname = target
        self.tar.addfile(member)

    def close(self):
        """The tar is complete only after this."""
        self.tar.close()


def label_of(path):
    """The label of a deployment's path: the most specific of LABELS."""
    for prefix in sorted(LABELS, key=len, reverse=True):
        if path == prefix or path.startswith(prefix + '/'):
            return LABELS[prefix]
    return 'default_t'


def noise(key, size):
    """Bytes that do not compress, always the same."""
    return b''.join(hashlib.sha256(b'%s %d' % (key.encode(), i)).digest() for i in range(size // 32))


def cpio(name, data):
    """One file as a newc archive, which is all that an initramfs is."""
    def member(name, mode, data):
        fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        head = b'070701' + b''.join(b'%08X' % f for f in fields) + name.encode() + b'\0'
        return head + b'\0' * (-len(head) % 4) + data + b'\0' * (-len(data) % 4)
    out = member(name, 0o100644, data) + member('TRAILER!!!', 0, b'')
    return out + b'\0' * (-len(out) % 512)


def etc_files(ids, params):
    """What a deployment's /etc holds, or a plain system's."""
    files = {'fstab': content.fstab(ids, disk.efi_uuid(ids) if 'EFI-SYSTEM' in params['order'] else None),
             'hosts': '127.0.0.1   localhost localhost.localdomain\n', 'selinux/config': 'SELINUX=enforcing\nSELINUXTYPE=targeted\n',
             'selinux/targeted/contexts/files/file_contexts': FILE_CONTEXTS,
             'NetworkManager/NetworkManager.conf': '[main]\n', 'os-release': 'NAME="ocne.images lab"\nID=ock-lab\nVERSION_ID=1.33\n'}
    if params['machine_id']:
        files['machine-id'] = ids['gpt'].replace('-', '') + '\n'
    return files


def trees(work, key, params):
    """The partitions' contents as tars; returns what a test may want to know."""
    ids = disk.identities(key)
    kernel = '5.15.0-300.lab.el8uek.' + MACHINES[params['arch']]
    files = {'vmlinuz': b'MZ\0\0 not a kernel: ' + kernel.encode() + noise(key, 1 << 18),
             'initramfs.img': gzip.compress(cpio('etc/initrd-release', noise(key + 'initramfs', 1 << 19)), mtime=0)}
    commits = [hashlib.sha256(('%s %d' % (key, n)).encode()).hexdigest() for n in range(params['entries'])]
    bootcsum = hashlib.sha256(files['vmlinuz'] + files['initramfs.img']).hexdigest()
    boot, root = Tree(work / 'boot.tar'), Tree(work / 'root.tar')
    boot.file('grub2/grub.cfg', content.grub_cfg(ids))
    folder = 'ostree/ock-' + bootcsum if params['ostree'] else ''
    prefix = folder + '/' if folder else ''
    boot.file('%svmlinuz-%s' % (prefix, kernel), files['vmlinuz'])
    boot.file('%sinitramfs-%s.img' % (prefix, kernel), files['initramfs.img'])
    entries = {}
    for number in range(params['entries']):
        opts = content.options(ids)
        if params['ostree']:
            opts += ' ostree=/ostree/boot.%d/ock/%s/%d' % (params['loader'], bootcsum, number)
        # ostree's newest deployment has the highest version and comes first
        rank = params['entries'] - number
        name = 'ostree-%d-ock.conf' % rank if params['ostree'] else 'plain-%d.conf' % rank
        entries[name] = ('title ocne.images lab 1.33 (ostree:%d)\nversion %d\noptions %s\nlinux /%svmlinuz-%s\ninitrd /%sinitramfs-%s.img\n'
                         % (number, rank, opts, prefix, kernel, prefix, kernel))
    loader = 'loader.%d' % params['loader'] if params['ostree'] else 'loader'
    for name, text in sorted(entries.items()):
        boot.file('%s/entries/%s' % (loader, name), text)
    if params['ostree']:
        boot.link('loader', loader)
    boot.dir('efi')
    boot.close()
    etc = etc_files(ids, params)
    deployments = []
    if params['ostree']:
        for number, commit in enumerate(commits):
            where = 'ostree/deploy/ock/deploy/%s.0' % commit
            deployments.append(where)
            for base in ('etc', 'usr/etc'):
                for name, text in sorted(etc.items()):
                    if base == 'etc' or name not in ('fstab', 'machine-id'):
                        put(root, where, base, name, text)
            for name, data in files.items():
                put(root, where, 'usr/lib/modules/' + kernel, name, data)
            put(root, where, 'usr/lib', 'os-release', etc['os-release'])
            for name in ('boot', 'dev', 'proc', 'run', 'sys', 'sysroot', 'var'):
                root.dir('%s/%s' % (where, name))
            root.link('%s/ostree' % where, 'sysroot/ostree')
            root.file(where + '.origin', '[origin]\nrefspec=ock\n')
            boot_dir = 'ostree/boot.%d.1/ock/%s' % (params['loader'], bootcsum)
            root.link('%s/%d' % (boot_dir, number), '../../../deploy/ock/deploy/%s.0' % commit)
        root.link('ostree/boot.%d' % params['loader'], 'boot.%d.1' % params['loader'])
        root.dir('ostree/deploy/ock/var/lib')
        root.file('ostree/repo/config', '[core]\nrepo_version=1\nmode=bare\n\n[sysroot]\nbootloader=none\n')
        root.file('ostree/repo/refs/heads/ock', commits[0] + '\n')
        root.dir('boot')
    else:
        for name, text in sorted(etc.items()):
            put(root, '', 'etc', name, text)
        for name in ('boot', 'usr/bin', 'var/lib'):
            root.dir(name)
    root.close()
    efi = Tree(work / 'efi.tar')
    efi.file('EFI/redhat/grub.cfg', content.efi_grub_cfg(ids))
    efi.close()
    first = sorted(entries)[-1]
    return {'architecture': params['arch'], 'osname': 'ock', 'ref': 'ock', 'version': '1.33', 'commit': commits[0] if params['ostree'] else None,
            'deployment': deployments[0] if deployments else None, 'deployments': deployments, 'loader': loader, 'entries': sorted(entries),
            'kernel': kernel, 'options': entries[first].split('\noptions ')[1].split('\n')[0], 'boot_uuid': ids['boot'], 'root_uuid': ids['root'],
            'efi_uuid': disk.efi_uuid(ids) if 'EFI-SYSTEM' in params['order'] else None,
            'machine_id': etc.get('machine-id', '').strip() or None, 'partitions': list(params['order']), 'bootable': False}


def put(tree, where, base, name, data):
    """A labelled file, and its labelled folders, in a deployment."""
    path = ''
    for part in ('%s/%s' % (base, name)).split('/')[:-1]:
        path = (path + '/' + part).lstrip('/')
        tree.dir((where + '/' + path).lstrip('/'), label=label_of(path))
    full = '%s/%s' % (base, name)
    tree.file((where + '/' + full).lstrip('/'), data, label=label_of(full))


def build(jobs):
    """jobs: [(folder, key, params)]. Makes disk.qcow2 in each folder, all in one launch; returns their descriptions."""
    say('tiny samples: %d in one appliance' % len(jobs))
    infos, script = [], []
    for number, (out, key, params) in enumerate(jobs):
        infos.append(trees(out, key, params))
        parts = disk.make(out / 'disk.raw', params['order'], disk.identities(key))
        for index, (name, _start, _size) in enumerate(parts, 1):
            part = {'EFI-SYSTEM': 'efi', 'boot': 'boot', 'root': 'root'}[name]
            xattrs = '' if part == 'efi' else ' xattrs:true'
            script.append('mount /dev/sd%s%d /\ntar-in %s /%s\numount /' % (chr(ord('a') + number), index, out / (part + '.tar'), xattrs))
    guestfish([(out / 'disk.raw', 'raw') for out, _key, _params in jobs], '\n'.join(script))
    for out, _key, params in jobs:
        disk.to_qcow2(out / 'disk.raw', out / 'disk.qcow2', params['clusters'])
        for name in ('boot.tar', 'root.tar', 'efi.tar'):
            (out / name).unlink()
    return infos
