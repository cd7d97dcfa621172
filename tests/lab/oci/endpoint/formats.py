# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an import takes: a sound qcow2, a monolithic or stream-optimized VMDK, or a tar of metadata and qcow2 (Importing Custom Linux Images).

Headers are read here before qemu-img sees a file; it runs under limits.
"""
import gzip
import json
import re
import resource
import shutil
import struct
import subprocess
import tarfile
import zlib

import common

MAX_VIRTUAL = 400 * 10**9       # bytes; "Maximum image size is 400 GB"
CHECK_TIME = 300                # seconds
CHECK_MEMORY = 2 << 30          # bytes
METADATA, DISK = 'image_metadata.json', 'output.QCOW2'
MAX_METADATA = 1 << 20          # bytes
IMAGE_OPTIONS = ('bootVolumeType', 'firmware', 'networkType', 'remoteDataVolumeType')   # of the metadata's, those that an image shows
VOLUMES = ('ISCSI', 'SCSI', 'IDE', 'VFIO', 'PARAVIRTUALIZED')
LAUNCH_OPTIONS = {
    'firmware': ('BIOS', 'UEFI_64'), 'networkType': ('E1000', 'VFIO', 'PARAVIRTUALIZED'), 'bootVolumeType': VOLUMES, 'remoteDataVolumeType': VOLUMES,
    'localDataVolumeType': VOLUMES, 'launchOptionsSource': ('NATIVE', 'EMULATED', 'PARAVIRTUALIZED', 'CUSTOM'), 'pvAttachmentVersion': (1, 2),
    'pvEncryptionInTransitEnabled': (True, False), 'consistentVolumeNamingEnabled': (True, False)}


class Unsound(Exception):
    """The import fails, with this sentence in its work request."""


def check(path, kind, folder):
    """{'virtual_size': bytes} of an object's bytes, and of an archive's 'options', 'system', 'version', 'shapes'; Unsound where they cannot be imported.

    kind: QCOW2, VMDK or None.
    """
    if kind == 'QCOW2':
        return {'virtual_size': _qcow2(path)}
    if kind == 'VMDK':
        return {'virtual_size': _vmdk(path)}
    return _archive(path, folder)


def _qcow2(path):
    """Virtual size in bytes (qcow2 specification, "Header")."""
    with open(path, 'rb') as file:
        head = file.read(112)
    if len(head) < 72 or head[:4] != b'QFI\xfb':
        raise Unsound('The image is not in the format QCOW2.')
    version, backing, _size, _bits, virtual, crypt = struct.unpack('>IQIIQI', head[4:36])
    if version not in (2, 3):
        raise Unsound('The QCOW2 version %d is not supported.' % version)
    if backing:
        raise Unsound('The QCOW2 image has a backing file. Only self-contained images are supported.')
    if crypt:
        raise Unsound('The QCOW2 image is encrypted.')
    if version == 3:
        features = struct.unpack('>Q', head[72:80])[0]
        if features & 0b10:
            raise Unsound('The QCOW2 image is marked as corrupt.')
        if features & 0b100:
            raise Unsound('The QCOW2 image has an external data file. Only self-contained images are supported.')
        if features & 0b1000:
            raise Unsound('The compression type of the QCOW2 image is not supported.')
        if features & ~0b11111:
            raise Unsound('The QCOW2 image has features that are not supported.')
    _check_size(virtual)
    _qemu_check(path, 'qcow2')
    return virtual


def _check_size(virtual):
    if not 0 < virtual <= MAX_VIRTUAL:
        raise Unsound('The image size of %d bytes is not supported: the maximum is 400 GB.' % virtual)


def _vmdk(path):
    """Virtual size in bytes (Virtual Disk Format 5.0, "Hosted Sparse Extents")."""
    with open(path, 'rb') as file:
        head = file.read(512)
        if head[:4] != b'KDMV':
            raise Unsound('The image is not in the format VMDK, monolithicSparse or streamOptimized.')
        capacity, _grain, at, size = struct.unpack('<QQQQ', head[12:44])
        if not 0 < size <= 2048 or at > 1 << 40:
            raise Unsound('The VMDK image has no embedded descriptor.')
        file.seek(at * 512)
        descriptor = file.read(size * 512).partition(b'\0')[0].decode('latin-1')
    kind = re.search(r'createType="(\w+)"', descriptor)
    if not kind or kind.group(1) not in ('monolithicSparse', 'streamOptimized'):
        raise Unsound('The VMDK subformat %s is not supported.' % (kind.group(1) if kind else 'unknown'))
    if re.search(r'^parentCID=(?!ffffffff)', descriptor, re.M):
        raise Unsound('The VMDK image has a parent. Only self-contained images are supported.')
    _check_size(capacity * 512)
    _qemu_check(path, 'vmdk')
    return capacity * 512


def _limits():
    resource.setrlimit(resource.RLIMIT_AS, (CHECK_MEMORY, CHECK_MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CHECK_TIME, CHECK_TIME))
    common.die_with_parent(9)()


def _qemu_check(path, kind):
    """qemu-img check: 0 is sound, 3 is only leaked clusters."""
    common.need({'qemu-img': 'qemu-utils'})
    try:
        # pylint: disable-next=subprocess-popen-preexec-fn
        done = subprocess.run(['qemu-img', 'check', '-q', '-f', kind, str(path)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=CHECK_TIME, preexec_fn=_limits, check=False)
    except subprocess.TimeoutExpired as fault:
        raise Unsound('The image could not be checked in time.') from fault
    if done.returncode not in (0, 3):
        raise Unsound('The image is corrupt.')


def _archive(path, folder):
    """A tar, gzipped or not, of two members, both plain files: the metadata and the disk."""
    with open(path, 'rb') as file:
        packed = file.read(2) == b'\x1f\x8b'
    seen, about = set(), {}
    try:
        if packed:
            _read_through(path)
        with tarfile.open(path, 'r:gz' if packed else 'r:') as archive:
            for member in archive:
                plain = member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not member.issparse()
                if member.name not in (METADATA, DISK) or not plain or member.name in seen:
                    raise Unsound('The image archive has an unexpected member: %r.' % member.name)
                seen.add(member.name)
                if member.name == METADATA:
                    about = _metadata(archive.extractfile(member).read(MAX_METADATA + 1))
                else:
                    with open(folder / 'disk', 'wb') as out:
                        shutil.copyfileobj(archive.extractfile(member), out, 1 << 20)
    except (tarfile.TarError, EOFError, OSError, zlib.error) as fault:
        raise Unsound('The image is not in the format of exported images.') from fault
    if seen != {METADATA, DISK}:
        raise Unsound('The image archive lacks %s.' % ' and '.join(sorted({METADATA, DISK} - seen)))
    return dict(about, virtual_size=_qcow2(folder / 'disk'))


def _read_through(path):
    """OSError, EOFError or zlib.error where a gzip file is not sound to its last byte."""
    with gzip.open(path) as file:
        while file.read(1 << 20):
            pass


def _metadata(data):
    """What counts of an archive's metadata; every field that is there must be of its kind (ocne's imagecapability.go; LaunchOptions of the API reference)."""
    try:
        if len(data) > MAX_METADATA:
            raise ValueError('it is too large')
        about = json.loads(data)
        _need(about['version'] == 2, 'version')
        options = about['externalLaunchOptions']
        for name, values in LAUNCH_OPTIONS.items():
            _need(options.get(name) is None or options[name] in values, name)
        for name in ('operatingSystem', 'operatingSystemVersion'):
            _need(isinstance(about[name], str) and about[name], name)
        _capabilities(about)
        shapes = (about.get('additionalMetadata') or {}).get('shapeCompatibilities') or []
        _need(isinstance(shapes, list), 'shapeCompatibilities')
        for entry in shapes:
            _need(isinstance(entry['internalShapeName'], str) and entry['internalShapeName'], 'internalShapeName')
        return {'options': {name: options[name] for name in IMAGE_OPTIONS if options.get(name)}, 'system': about['operatingSystem'],
                'version': about['operatingSystemVersion'], 'shapes': {entry['internalShapeName']: {} for entry in shapes}}
    except (ValueError, KeyError, AttributeError, TypeError) as fault:
        raise Unsound('The metadata of the image archive is not valid: %s.' % fault) from fault


def _capabilities(about):
    """Text that is JSON itself, and the version of the global schema that it is of: both or neither."""
    data, version = about.get('imageCapabilityData'), about.get('imageCapsFormatVersion')
    _need(not data or isinstance(version, str) and version, 'imageCapsFormatVersion')
    for name, entry in (json.loads(data)['capabilities'] if data else {}).items():
        _need(entry['descriptorType'] == 'enumstring' and entry['defaultValue'] in entry['values'], name)


def _need(sound, name):
    if not sound:
        raise ValueError('%s is wrong' % name)
