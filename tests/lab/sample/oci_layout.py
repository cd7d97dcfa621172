# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A small deterministic writer of OCI image layouts: boot media images with one layer that holds disk/boot.qcow2.

Written here so that no container engine is needed and the same disk always gives the same digests.
"""
import gzip
import hashlib
import json
import os
import subprocess
import tarfile

from common import LabError, need

OCI = 'application/vnd.oci.image.'
LAYERS = {'none': OCI + 'layer.v1.tar', 'gzip': OCI + 'layer.v1.tar+gzip', 'zstd': OCI + 'layer.v1.tar+zstd'}


class _Hashed:
    """A writer that knows the sha256 and size of what went through it."""

    def __init__(self, target):
        self.target, self.sha, self.size = target, hashlib.sha256(), 0

    def write(self, data):
        """As any file's."""
        self.sha.update(data)
        self.size += len(data)
        return self.target.write(data)

    def flush(self):
        """gzip wants it."""
        self.target.flush()


class Layout:
    """One OCI layout on disk."""

    def __init__(self, path):
        self.path, self.blobs, self.named = path, path / 'blobs/sha256', []
        self.blobs.mkdir(parents=True, exist_ok=True)

    def blob(self, value, media_type):
        """A JSON blob; returns its descriptor."""
        data = json.dumps(value, sort_keys=True, separators=(',', ':')).encode()
        digest = hashlib.sha256(data).hexdigest()
        (self.blobs / digest).write_bytes(data)
        return {'mediaType': media_type, 'digest': 'sha256:' + digest, 'size': len(data)}

    def layer(self, files, compression):
        """A layer of {name in the image: file on disk}; returns (descriptor, diff id)."""
        temp = self.path / ('layer.%d' % os.getpid())
        with open(temp, 'wb') as raw:
            out = _Hashed(raw)
            if compression == 'gzip':
                with gzip.GzipFile(filename='', mode='wb', fileobj=out, mtime=0, compresslevel=6) as packed:
                    diff = self._tar(files, packed)
            elif compression == 'zstd':
                diff = self._zstd(files, out)
            else:
                diff = self._tar(files, out)
        os.rename(temp, self.blobs / out.sha.hexdigest())
        return {'mediaType': LAYERS[compression], 'digest': 'sha256:' + out.sha.hexdigest(), 'size': out.size}, diff

    @staticmethod
    def _tar(files, target):
        """GNU format: sizes above 8 GiB need no extension header."""
        plain = _Hashed(target)
        with tarfile.open(fileobj=plain, mode='w|', format=tarfile.GNU_FORMAT) as tar:
            made = set()
            for name, source in sorted(files.items()):
                for depth in range(1, name.count('/') + 1):
                    parent = '/'.join(name.split('/')[:depth])
                    if parent not in made:
                        made.add(parent)
                        member = tarfile.TarInfo(parent)
                        member.type, member.mode = tarfile.DIRTYPE, 0o755
                        tar.addfile(member)
                member = tarfile.TarInfo(name)
                member.size, member.mode = os.path.getsize(source), 0o644
                with open(source, 'rb') as handle:
                    tar.addfile(member, handle)
        return 'sha256:' + plain.sha.hexdigest()

    def _zstd(self, files, out):
        """The standard library has no zstd: its program packs a file, its output is hashed on the way back."""
        need({'zstd': 'zstd'})
        plain = self.path / ('plain.%d' % os.getpid())
        try:
            with open(plain, 'wb') as handle:
                diff = self._tar(files, handle)
            with subprocess.Popen(['zstd', '-q', '-3', '-T0', '--stdout', str(plain)], stdout=subprocess.PIPE) as child:
                for piece in iter(lambda: child.stdout.read(1 << 20), b''):
                    out.write(piece)
            if child.returncode:
                raise LabError('zstd failed with status %d' % child.returncode)
        finally:
            plain.unlink(missing_ok=True)
        return diff

    def image(self, arch, layers):
        """A manifest over layers [(descriptor, diff id)]; returns its descriptor for an index."""
        created = '2023-11-14T22:13:20Z'
        config = self.blob({'architecture': arch, 'os': 'linux', 'created': created, 'config': {},
                            'rootfs': {'type': 'layers', 'diff_ids': [diff for _d, diff in layers]},
                            'history': [{'created': created, 'created_by': 'ocne.images lab'} for _l in layers]}, OCI + 'config.v1+json')
        made = self.blob({'schemaVersion': 2, 'mediaType': OCI + 'manifest.v1+json', 'config': config, 'layers': [d for d, _diff in layers]},
                         OCI + 'manifest.v1+json')
        return dict(made, platform={'architecture': arch, 'os': 'linux'})

    def index(self, images, tag):
        """An index over images, under a tag."""
        made = self.blob({'schemaVersion': 2, 'mediaType': OCI + 'index.v1+json', 'manifests': images}, OCI + 'index.v1+json')
        self.named.append(dict(made, annotations={'org.opencontainers.image.ref.name': tag}))

    def close(self):
        """The layout is complete only after this."""
        (self.path / 'oci-layout').write_text('{"imageLayoutVersion":"1.0.0"}', encoding='utf-8')
        index = {'schemaVersion': 2, 'manifests': self.named}
        (self.path / 'index.json').write_text(json.dumps(index, sort_keys=True), encoding='utf-8')
