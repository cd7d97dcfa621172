# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An empty disk of OCK's layout, made with plain tools on plain files: no loop device, no root.

GPT, 15 GiB, 512-byte sectors; partition names and file system labels EFI-SYSTEM, boot, root.
libguestfs cannot ask mkfs.xfs for bigtime=0, so each file system is made in a file of its own and copied in.
"""
import errno
import os
import uuid

from common import need, run

SECTOR = 512
SECTORS = 15 * 2**30 // SECTOR
# name: (size in sectors, GPT type); root takes the rest
SIZES = {'EFI-SYSTEM': 501760 - 2048, 'boot': 1503232 - 503808}
TYPES = {'EFI-SYSTEM': 'C12A7328-F81F-11D2-BA4B-00A0C93EC93B',
         'boot': '0FC63DAF-8483-4772-8E79-3D69D8477DE4', 'root': '0FC63DAF-8483-4772-8E79-3D69D8477DE4'}
STANDARD = ('EFI-SYSTEM', 'boot', 'root')


def identities(key):
    """UUIDs that follow from the recipe: the same sample is the same image on every machine."""
    def made(name):
        return str(uuid.uuid5(uuid.NAMESPACE_OID, 'ocne.lab.%s.%s' % (key, name)))
    ids = {name: made(name) for name in ('boot', 'root', 'gpt', 'part-EFI-SYSTEM', 'part-boot', 'part-root')}
    ids['EFI-SYSTEM'] = made('efi')[:8].upper()         # a vfat volume id
    return ids


def efi_uuid(ids):
    """As blkid and fstab write it."""
    return ids['EFI-SYSTEM'][:4] + '-' + ids['EFI-SYSTEM'][4:]


def layout(order):
    """[(name, first sector, sectors)]; OCK's own order gives OCK's own sectors."""
    parts, start = [], 2048
    for index, name in enumerate(order):
        if name in SIZES:
            size = SIZES[name]
        else:                                            # 34 sectors at the end belong to the second GPT
            later = sum(SIZES.get(n, 0) + 4096 for n in order[index + 1:])
            size = (SECTORS - 34 - start - later) // 2048 * 2048
        parts.append((name, start, size))
        start = (start + size + 2047) // 2048 * 2048 + (2048 if tuple(order) == STANDARD and name == 'EFI-SYSTEM' else 0)
    return parts


def copy_sparse(source, disk, offset):
    """Copy only what is data; the holes of a 14 GiB file system are most of it."""
    with open(source, 'rb') as src, open(disk, 'r+b') as dst:
        position, end = 0, os.fstat(src.fileno()).st_size
        while position < end:
            try:
                position = os.lseek(src.fileno(), position, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    break
                raise
            hole = os.lseek(src.fileno(), position, os.SEEK_HOLE)
            while position < hole:
                src.seek(position)
                piece = src.read(min(1 << 20, hole - position))
                if piece.count(0) != len(piece):
                    dst.seek(offset + position)
                    dst.write(piece)
                position += len(piece)


def make(path, order, ids):
    """Write the partitioned disk with its empty file systems to path (raw, sparse); returns the layout."""
    need({'sfdisk': 'fdisk', 'mkfs.xfs': 'xfsprogs', 'mkfs.vfat': 'dosfstools'})
    parts = layout(order)
    with open(path, 'wb') as handle:
        handle.truncate(SECTORS * SECTOR)
    table = ['label: gpt', 'label-id: ' + ids['gpt'], 'first-lba: 34']
    table += ['start=%d, size=%d, type=%s, uuid=%s, name="%s"' % (start, size, TYPES[name], ids['part-' + name], name) for name, start, size in parts]
    run(['sfdisk', '--quiet', path], input='\n'.join(table).encode())
    for name, start, size in parts:
        fs = '%s.%s' % (path, name)
        with open(fs, 'wb') as handle:
            handle.truncate(size * SECTOR)
        if name == 'EFI-SYSTEM':
            run(['mkfs.vfat', '-n', name, '-i', ids[name], fs])
        else:
            run(['mkfs.xfs', '-q', '-L', name, '-m', 'bigtime=0,uuid=' + ids[name], fs])
        copy_sparse(fs, path, start * SECTOR)
        os.unlink(fs)
    return parts


def to_qcow2(raw, qcow2, compression):
    """qcow2 as OCK publishes it has plain clusters; zlib or zstd ones on request."""
    need({'qemu-img': 'qemu-utils'})
    options = [] if compression == 'none' else ['-c', '-o', 'compression_type=' + compression]
    run(['qemu-img', 'convert', '-m', '16', '-W', '-f', 'raw', '-O', 'qcow2'] + options + [raw, qcow2])
    os.unlink(raw)
