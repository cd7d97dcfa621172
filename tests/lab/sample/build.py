# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Builds the sample images and the boot media images, once each: what is in the cache is only named.

From Python: disks(['tiny', 'tiny-no-efi']), tiny_disk(loader=0, entries=2), media(real=True) return what --print shows.
"""
import argparse
import json
from pathlib import Path

import common
from sample import oci_layout, real, tiny

HERE = Path(__file__).resolve().parent
# what decides the content; this file and common.py only carry it out
SHARED = [HERE / 'disk.py', HERE / 'content.py']
SOURCES = {'real': SHARED + [HERE / 'real.py', HERE / 'guest'], 'tiny': SHARED + [HERE / 'tiny.py'], 'media': [HERE / 'oci_layout.py']}
IMAGE = 'disk/boot.qcow2'
REPOSITORY = 'olcne/ock'
# tag: (disk for amd64, layer compression); the arm64 disk is always the tiny one, which nothing boots
TAGS = {'1.33': ('real', 'gzip'), '1.33-zstd': ('real', 'zstd'), 'tiny': ('tiny', 'gzip'), 'tiny-zstd': ('tiny', 'zstd'), 'tiny-plain': ('tiny', 'none')}


def _plan(name, params):
    kind = 'real' if name == 'real' else 'tiny'
    key = common.recipe_key([kind, params], *SOURCES[kind])
    return key, common.cache_dir() / 'disks' / ('%s-%s' % (name, key))


def _describe(folder):
    return dict(json.loads((folder / 'info.json').read_text(encoding='utf-8')), disk=str(folder / 'disk.qcow2'))


def _finish(work, final, name, info):
    info['name'] = name
    (work / 'info.json').write_text(json.dumps(info, indent=1, sort_keys=True) + '\n', encoding='utf-8')
    common.publish(work, final)
    common.say('%s: %s' % (name, final / 'disk.qcow2'))


def disks(names, clusters='none', extra=None):
    """The named disks (real, or tiny.SHAPES, or extra {name: params}), built where the cache lacks them: {name: description}."""
    shapes = dict(tiny.SHAPES, **(extra or {}))
    wanted = {}
    for name in names:
        params = {'clusters': clusters} if name == 'real' else dict(tiny.DEFAULTS, clusters=clusters, **shapes[name])
        key, final = _plan(name, params)
        wanted[name] = (key, final, params)

    def missing(kind):
        return [n for n in names if (n == 'real') == (kind == 'real') and not (wanted[n][1] / 'info.json').exists()]
    if missing('tiny'):
        with common.lock('tiny'), common.workspace('tiny') as work:
            jobs = []
            todo = missing('tiny')              # again: another caller may have built them while this one waited
            for name in todo:
                (work / name).mkdir()
                jobs.append((work / name, wanted[name][0], wanted[name][2]))
            for name, info in zip(todo, tiny.build(jobs) if jobs else []):
                _finish(work / name, wanted[name][1], name, info)
    if missing('real'):
        with common.lock('real'), common.workspace('real') as work:
            if missing('real'):
                key, final, params = wanted['real']
                (work / 'real').mkdir()
                info = real.build(work / 'real', key, params)
                _finish(work / 'real', final, 'real', info)
    return {name: _describe(wanted[name][1]) for name in names}


def tiny_disk(**params):
    """One tiny disk of any shape (parameters: tiny.DEFAULTS); returns its description."""
    return disks(['custom'], clusters=params.pop('clusters', 'none'), extra={'custom': params})['custom']


def media(real_too=True, clusters='none'):
    """The boot media images as OCI layouts: {tag: 'oci:PATH:TAG'}."""
    made = {}
    names = ['tiny', 'tiny-arm64'] + (['real'] if real_too else [])
    images = disks(names, clusters)
    for source in ['tiny'] + (['real'] if real_too else []):
        tags = {tag: how for tag, how in TAGS.items() if how[0] == source}
        pair = {'amd64': images[source]['disk'], 'arm64': images['tiny-arm64']['disk']}
        key = common.recipe_key([tags, [Path(disk).parent.name for disk in pair.values()]], *SOURCES['media'])
        final = common.cache_dir() / 'media' / ('%s-%s' % (source, key))
        if not (final / 'index.json').exists():
            with common.lock('media-' + source), common.workspace('media-' + source) as work:
                if not (final / 'index.json').exists():
                    common.say('boot media images from the %s sample' % source)
                    _layout(work / 'oci', tags, pair)
                    common.publish(work / 'oci', final)
        made.update({tag: 'oci:%s:%s' % (final, tag) for tag in tags})
    return made


def _layout(path, tags, pair):
    layout = oci_layout.Layout(path)
    layers = {}
    for tag, (_source, compression) in tags.items():
        for arch, source in pair.items():
            if (arch, compression) not in layers:
                layers[arch, compression] = layout.layer({IMAGE: source}, compression)
        layout.index([layout.image(arch, [layers[arch, compression]]) for arch in pair], tag)
    layout.close()


def main(argv):
    """The command line: tests/lab/sample/build [NAME...]"""
    parser = argparse.ArgumentParser(prog='build', description='Build the lab\'s sample images (cached) and print where they are.')
    parser.add_argument('names', nargs='*', metavar='NAME', help='real, %s; default: all of them and the boot media images' % ', '.join(tiny.SHAPES))
    parser.add_argument('--tiny-only', action='store_true', help='all that needs no root: the tiny disks and their boot media images')
    parser.add_argument('--clusters', choices=['none', 'zlib', 'zstd'], default='none', help='compression of qcow2 clusters')
    parser.add_argument('--shape', type=json.loads, help='one more tiny disk named custom, as JSON: %s' % json.dumps(tiny.DEFAULTS))
    parser.add_argument('--print', action='store_true', dest='show', help='print the descriptions as JSON')
    args = parser.parse_args(argv)

    def work():
        extra = {'custom': args.shape} if args.shape is not None else {}
        names = args.names + list(extra)
        unknown = [n for n in names if n != 'real' and n not in tiny.SHAPES and n not in extra]
        if unknown:
            raise common.LabError('no such sample: %s' % ', '.join(unknown))
        result = {}
        everything = not names
        if everything:
            names = list(tiny.SHAPES) + ([] if args.tiny_only else ['real'])
        result['disks'] = disks(names, args.clusters, extra)
        if everything:
            result['media'] = media(not args.tiny_only, args.clusters)
            result['repository'] = REPOSITORY
        if args.show:
            print(json.dumps(result, indent=1))
        else:
            for name, info in result['disks'].items():
                print('%s %s' % (name, info['disk']))
            for tag, where in result.get('media', {}).items():
                print('%s:%s %s' % (REPOSITORY, tag, where))
    return common.command_line(work)
