# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Images for the cluster's registries: written as OCI layouts, pushed through tests/lab/registry into the storage that both share."""
import argparse
import hashlib
import json
import os
import tarfile

import common
from cluster import config, lab
from registry import control as registry
from sample import build as sample
from sample import oci_layout

LAYER = oci_layout.LAYERS['none']


def layer(layout, path):
    """Take a tar into a layout as it is; returns its descriptor, whose digest is the diff id, too."""
    digest = hashlib.sha256()
    with open(path, 'rb') as handle:
        for piece in iter(lambda: handle.read(1 << 20), b''):
            digest.update(piece)
    os.link(path, layout.blobs / digest.hexdigest())
    return {'mediaType': LAYER, 'digest': 'sha256:' + digest.hexdigest(), 'size': os.path.getsize(path)}


def layout_of(path, name, layers, settings):
    """An OCI layout of one image for this machine, of layers that are plain tars; returns the digest of its manifest."""
    layout = oci_layout.Layout(path)
    layers = [layer(layout, tar) for tar in layers]
    about = layout.blob({'architecture': 'amd64', 'os': 'linux', 'config': settings,
                         'rootfs': {'type': 'layers', 'diff_ids': [one['digest'] for one in layers]}}, oci_layout.OCI + 'config.v1+json')
    kind = oci_layout.OCI + 'manifest.v1+json'
    manifest = layout.blob({'schemaVersion': 2, 'mediaType': kind, 'config': about, 'layers': layers}, kind)
    # both annotations: containerd imports by the first, skopeo reads by the second
    layout.named.append(dict(manifest, annotations={'io.containerd.image.name': name, 'org.opencontainers.image.ref.name': name.rpartition(':')[2]}))
    layout.close()
    return manifest['digest']


def archive(path, name, programs, settings):
    """An OCI archive of an image that holds nothing but programs {name: file}."""
    with common.workspace('cluster-archive') as work:
        with tarfile.open(work / 'layer.tar', 'w') as tar:
            for inside, program in programs.items():
                member = tarfile.TarInfo(inside)
                member.size, member.mode = os.path.getsize(program), 0o755
                with open(program, 'rb') as handle:
                    tar.addfile(member, handle)
        layout_of(work / 'oci', name, [work / 'layer.tar'], settings)
        with tarfile.open(path, 'w') as tar:
            tar.add(work / 'oci', '.')


def push(media=None):
    """Put boot media images {tag: 'oci:...'} where the cluster's registries find them; returns their references there."""
    with common.lock('cluster-push'):
        try:
            pushed = registry.push(config.registry_storage(), media)['images']
        finally:
            stop_registry()
    return {tag: dict({kind: 'docker://%s/%s:%s' % (address, sample.REPOSITORY, tag) for kind, address in lab.REGISTRIES.items()}, digest=about['digest'])
            for tag, about in pushed.items()}


def push_layout(layout, names):
    """Put one image under some names; layers stay as they are."""
    with common.lock('cluster-push'):
        try:
            address = registry.up(config.registry_storage())['plain']['address']
            source = 'oci:%s' % layout
            for name in names:
                common.run(['skopeo', 'copy', '--preserve-digests', '--dest-tls-verify=false', source, 'docker://%s/%s' % (address, name)])
        finally:
            stop_registry()


def stop_registry():
    """What a push has started: it is for the push only, the cluster has registries of its own over the same storage."""
    registry.down(config.registry_storage())


def main(argv):
    """The command line: tests/lab/cluster/push"""
    parser = argparse.ArgumentParser(prog='push', description='Put the sample images into the cluster\'s registries, running or not; print JSON.')
    parser.add_argument('--tiny-only', action='store_true', help='only what is built in seconds')
    args = parser.parse_args(argv[1:])

    def work():
        print(json.dumps(push(sample.media(not args.tiny_only)), indent=1))
    return lab.command_line(work)
