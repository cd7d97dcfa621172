# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The builder image of the lab: Debian's tools for the work on images, and a libguestfs appliance made and tested here.

It runs as any user, with a read-only root file system: it writes to HOME and TMPDIR only, which the pod gives it.
"""
import argparse
import json
import os
import shutil
import signal
import time
from pathlib import Path

import common
from cluster import debian, images, lab

HERE = Path(__file__).resolve().parent
INIT = HERE / 'appliance-init'
NAME = 'ocne/builder'
APPLIANCE = 'usr/lib/ocne-lab/appliance'
SETTINGS = {'Env': ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'LC_ALL=C.UTF-8', 'LIBGUESTFS_BACKEND=direct',
                    'LIBGUESTFS_PATH=/' + APPLIANCE],
            'User': '1000', 'Cmd': ['/bin/sh']}
SLACK = 32 << 20                # what the appliance itself writes to its root: little, and not here but into an overlay
# What the work does with an image, in short; prints how long the launch took.
TRIAL = '''import guestfs, os, time
g = guestfs.GuestFS(python_return_dict=True)
disk = os.environ["TMPDIR"] + "/disk"
with open(disk, "wb") as f: f.truncate(1 << 30)
g.add_drive_opts(disk, format="raw")
begin = time.monotonic()
g.launch()
took = time.monotonic() - begin
g.part_init("/dev/sda", "gpt")
g.part_add("/dev/sda", "p", 2048, 204799)
g.part_add("/dev/sda", "p", 204800, -2048)
g.mkfs("vfat", "/dev/sda1")
g.mkfs("xfs", "/dev/sda2", label="root")
g.set_uuid_random("/dev/sda2")
assert g.findfs_label("root") == "/dev/sda2"
g.mount("/dev/sda2", "/")
g.mkdir("/efi")
g.mount("/dev/sda1", "/efi")
g.write("/efi/a", b"a")
g.write("/b", b"b")
g.setxattr("security.selinux", "system_u:object_r:etc_t:s0", 27, "/b")
assert g.read_file("/efi/a") + g.read_file("/b") == b"ab"
g.umount_all()
g.shutdown()
print("launched in %.1f s" % took)
'''


def _base():
    """The layer of packages, as a folder with its tree packed in it."""
    final = common.cache_dir() / 'cluster' / ('builder-base-' + common.recipe_key('base', HERE / 'debian.py'))
    if not final.exists():
        with common.workspace('builder-base') as work:
            common.say('builder image: Debian packages; this takes some minutes')
            (work / 'made').mkdir()
            debian.tree(work / 'tree', work)
            debian.pack(work / 'tree', work / 'made/layer.tar')
            common.publish(work / 'made', final)
    return final / 'layer.tar'


def _supermin(tree):
    """libguestfs' own appliance, at its size: supermin makes a sparse file of 4 GB."""
    folder = tree / APPLIANCE
    folder.mkdir(parents=True)
    common.run(['chroot', tree, 'supermin', '--build', '--copy-kernel', '--format', 'ext2', '--host-cpu', 'x86_64',
                '/usr/lib/x86_64-linux-gnu/guestfs/supermin.d', '-o', '/' + APPLIANCE])
    root = folder / 'root'
    common.run(['resize2fs', '-M', root])
    common.run(['resize2fs', root, '%dK' % ((root.stat().st_size + SLACK) >> 10)])
    # the library takes the folder for an appliance by this file
    (folder / 'README.fixed').write_text('made by the lab of ocne.images, with supermin\n', encoding='utf-8')
    for path in folder.iterdir():
        path.chmod(0o644)


def _set_init(tree, init):
    """Replace /init in the appliance's root; no mount is needed."""
    root = tree / APPLIANCE / 'root'
    for request in ('rm /init', 'write %s /init' % init, 'set_inode_field /init mode 0100755'):
        common.run(['debugfs', '-w', '-R', request, root])


def _trial(tree):
    """Launch the appliance as a pod would: some user, no KVM, nothing to write to but one folder. Returns what it says."""
    folder = tree / 'tmp/trial'
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    os.chown(folder, 1000, 0)
    (folder / 'trial.py').write_text(TRIAL, encoding='utf-8')
    script = 'tree=$1; shift; mount -t proc proc "$tree/proc" && exec timeout --kill-after=5 180 chroot --userspec=1000:0 "$tree" env -i "$@"'
    env = SETTINGS['Env'] + ['HOME=/tmp/trial', 'TMPDIR=/tmp/trial']
    try:
        return common.run(debian.ISOLATED + ['sh', '-c', script, 'sh', tree] + env + ['python3', '/tmp/trial/trial.py'], stop=signal.SIGKILL).strip()
    finally:
        shutil.rmtree(folder)


def _appliance(base, work):
    """The layer of the appliance: the quick one where it works, else libguestfs' own. Returns (tar, which)."""
    tree = work / 'tree'
    tree.mkdir()
    common.say('builder image: appliance')
    common.run(['tar', '--extract', '--file', base, '--numeric-owner', '--directory', tree])
    debian.devices(tree)
    _supermin(tree)
    shutil.copy(tree / APPLIANCE / 'root', work / 'ordinary')
    _set_init(tree, INIT)
    which = 'quick'
    try:
        said = _trial(tree)
    except common.LabError as error:
        common.say('builder image: the quick appliance does not work here, taking libguestfs\' own: %s' % error)
        which = 'ordinary'
        shutil.move(work / 'ordinary', tree / APPLIANCE / 'root')
        said = _trial(tree)
    common.say('builder image: the %s appliance %s' % (which, said))
    debian.pack(tree, work / 'appliance.tar', './' + str(Path(APPLIANCE).parent))
    return work / 'appliance.tar', which


def layout():
    """The image as an OCI layout, built where the cache lacks it: (folder, description)."""
    lab.need_root()
    key = common.recipe_key(SETTINGS, HERE / 'debian.py', HERE / 'builder_image.py', INIT)
    final = common.cache_dir() / 'cluster' / ('builder-' + key)
    if not (final / 'about.json').exists():
        common.need({'resize2fs': 'e2fsprogs', 'debugfs': 'e2fsprogs'})
        with common.lock('builder-image'):
            if not (final / 'about.json').exists():
                base = _base()
                with common.workspace('builder-image') as work:
                    begin = time.monotonic()
                    (work / 'oci').mkdir()
                    appliance, which = _appliance(base, work)
                    digest = images.layout_of(work / 'oci', NAME + ':' + key, [base, appliance], SETTINGS)
                    (work / 'oci/about.json').write_text(json.dumps({'key': key, 'digest': digest, 'appliance': which}), encoding='utf-8')
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
