# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The builder image of the lab: builder/Containerfile without Ansible, on Debian, built with podman in a storage of its own.

The storage stays in the cache, so that a change builds what comes after it only, and a test that builds the whole image begins here.
"""
import argparse
import json
import shutil
import signal
import time
from pathlib import Path

import common
from cluster import debian, images, lab

BUILDER = Path(__file__).resolve().parents[3] / 'builder'
PARTS = ('Containerfile', 'ca', 'install', 'packages.txt', 'appliance', 'appliance-init', 'trial.py')
NAME = 'ocne/builder'
AUTHORITIES = Path('/usr/local/share/ca-certificates')
# RUN in a chroot: a container would need resource limits and cgroups that a lab in a container may not have
BUILD_OPTIONS = ['--isolation=chroot', '--network=host']


def authorities():
    """The certificates of authorities that this machine's administrator has added: packages may come by a proxy of theirs."""
    return sorted(AUTHORITIES.glob('*.crt'))


def storage():
    """The environment in which podman and skopeo use the lab's own storage."""
    folder = common.cache_dir() / 'cluster' / 'containers'
    folder.mkdir(parents=True, exist_ok=True)
    lab.RUN.mkdir(mode=0o755, exist_ok=True)
    conf = folder / 'storage.conf'
    # what is mounted is known in the runroot, which a new boot empties
    lab.write(conf, '[storage]\ndriver = "overlay"\ngraphroot = "%s/root"\nrunroot = "%s/containers"\n' % (folder, lab.RUN), 0o644)
    return {'CONTAINERS_STORAGE_CONF': str(conf)}


def _podman(*arguments):
    """podman's output; its mounts end with it, however it ends."""
    common.need({'podman': 'podman'})
    return common.run(debian.ISOLATED + ['podman'] + list(arguments), env=storage(), stop=signal.SIGKILL)


def base():
    """The small Debian in the storage, made where it is missing; returns its name there."""
    name = 'localhost/%s-base:%s' % (NAME, common.recipe_key('base', Path(debian.__file__)))
    if name not in _podman('images', '--noheading', '--format', '{{.Repository}}:{{.Tag}}').split():
        with common.workspace('builder-base') as work:
            common.say('builder image: a small Debian')
            debian.tree(work / 'tree.tar', work)
            _podman('import', '--quiet', work / 'tree.tar', name)
    return name


def _build(work):
    """Build in the storage; returns the name there."""
    name = 'localhost/%s:latest' % NAME
    shutil.copytree(BUILDER, work / 'context/builder')
    for number, path in enumerate(authorities()):
        shutil.copy(path, work / 'context/builder/ca' / ('%d.pem' % number))
    common.say('builder image: packages and appliance; this takes some minutes')
    _podman('build', *BUILD_OPTIONS, '--layers', '--build-arg=BASE_IMAGE=' + base(), '--target=tools', '--tag', name,
            '--file', work / 'context/builder/Containerfile', work / 'context')
    return name


def layout():
    """The image as an OCI layout, built where the cache lacks it: (folder, description)."""
    lab.need_root()
    key = common.recipe_key(BUILD_OPTIONS, Path(debian.__file__), Path(__file__), *(BUILDER / part for part in PARTS), *authorities())
    final = common.cache_dir() / 'cluster' / ('builder-' + key)
    if not (final / 'about.json').exists():
        with common.lock('builder-image'):
            if not (final / 'about.json').exists():
                with common.workspace('builder-image') as work:
                    begin = time.monotonic()
                    name = _build(work)
                    # layers as they are: nothing here is sent far
                    common.run(debian.ISOLATED + ['skopeo', 'copy', '--quiet', '--dest-oci-accept-uncompressed-layers', 'containers-storage:' + name,
                                                  'oci:%s:%s' % (work / 'oci', key)], env=storage(), stop=signal.SIGKILL)
                    digest = json.loads((work / 'oci/index.json').read_text(encoding='utf-8'))['manifests'][0]['digest']
                    (work / 'oci/about.json').write_text(json.dumps({'key': key, 'digest': digest}), encoding='utf-8')
                    common.publish(work / 'oci', final)
                    common.say('builder image: made in %d s' % (time.monotonic() - begin))
    return final, json.loads((final / 'about.json').read_text(encoding='utf-8'))


def push():
    """The image in the cluster's registries, as latest and under its recipe's key."""
    folder, about = layout()
    images.push_layout('%s:%s' % (folder, about['key']), [NAME + ':' + about['key'], NAME + ':latest'])
    return dict(about, image='%s/%s:latest' % (lab.REGISTRIES['plain'], NAME), pinned='%s/%s@%s' % (lab.REGISTRIES['plain'], NAME, about['digest']),
                layout='oci:%s:%s' % (folder, about['key']))


def main(argv):
    """The command line: tests/lab/cluster/builder-image"""
    parser = argparse.ArgumentParser(prog='builder-image', description='Build the builder image (cached), put it into the cluster\'s registries; print JSON.')
    parser.parse_args(argv[1:])
    return lab.command_line(lambda: print(json.dumps(push(), indent=1)))
