# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Customize: the real sample for Oracle Cloud Infrastructure, against one guestfish script that knows where everything is."""

from __future__ import annotations

import dataclasses
import functools
import os
import shutil

from measure import Fault, pairs
from ours import artifact_sync, work
from tools import run

from ansible_collections.ocne.images.plugins.module_utils.files import digests
from ansible_collections.ocne.images.plugins.module_utils.platforms import profiles
from ansible_collections.ocne.images.plugins.module_utils.work.guest import recipe

_GOAL = 1.1
_BOOT, _ROOT, _EFI = "/dev/sda2", "/dev/sda3", "/dev/sda1"
_MOUNT = f"mount {_ROOT} /\nmount {_BOOT} /boot\nmount {_EFI} /boot/efi\n"


def options(bench):
    """The Job's options: the oci profile, clusters kept."""
    wanted = recipe.build({"compression": "keep"}, profiles.profile("oci"))
    output = {"name": "image", "recipe": dataclasses.asdict(wanted), "uuids": wanted.new_uuids(digests.sha256_file(bench.disk)[0])}
    return {"src": bench.disk, "src_format": "qcow2", "outputs": [output]}


class Peer:
    """The same edits by guestfish. `labels` of the new files are looked up beforehand, as all other facts of the image; `contents` is their folder."""

    def __init__(self, bench, job):
        output = job["outputs"][0]
        self._sample, self._files = bench.sample, [recipe.File(**item) for item in output["recipe"]["files"]]
        self._new, self._etc = output["uuids"], f"/{bench.sample['deployment']}/etc"
        self.contents, self.labels = bench.path("files"), None
        for number, item in enumerate(self._files):
            with open(f"{self.contents}/{number}", "wb") as file:
                file.write(item.data())
        self._texts = [f"/boot/{bench.sample['loader']}/entries/{name}" for name in bench.sample["entries"]]
        self._texts += [f"{self._etc}/fstab", "/boot/grub2/grub.cfg", "/boot/efi/EFI/redhat/grub.cfg"]

    def _target(self, item):
        return f"/{self._sample['deployment']}{item.path}"

    def script(self, folder):
        """What guestfish reads."""
        edits = " ".join(f"-e s/{self._sample[f'{name}_uuid']}/{uuid}/g" for name, uuid in self._new.items())
        lines = ["run", f"set-uuid {_BOOT} {self._new['boot']}", f"set-uuid {_ROOT} {self._new['root']}", *_MOUNT.splitlines()]
        for path in self._texts:
            lines += [f"download {path} {folder}/text", f"! sed -i {edits} -e s/ignition.platform.id=qemu/ignition.platform.id=oci/ {folder}/text",
                      f"upload {folder}/text {path}"]
        lines.append(f"rm {self._etc}/machine-id")
        for number, (item, label) in enumerate(zip(self._files, self.labels)):
            target = self._target(item)
            lines += [f"upload {self.contents}/{number} {target}", f"chmod 0{item.mode:o} {target}",
                      # one more: the NUL at the end of the string is part of a label
                      f"setxattr security.selinux {label} {len(label) + 1} {target}"]
        return "\n".join([*lines, "umount-all", "shutdown", ""])

    def run(self, folder):
        """A copy, the edits in it, and the copy on the disk."""
        image = f"{folder}/image.qcow2"
        run(["cp", self._sample["disk"], image])
        run(["guestfish", "--format=qcow2", "-a", image], input=self.script(folder))
        artifact_sync(image, folder)

    def look(self, image):
        """(labels of the new files, everything that the edits concern) of an image."""
        labels = [f"lgetxattr {self._target(item)} security.selinux" for item in self._files]
        facts = [f"vfs-uuid {device}" for device in (_EFI, _BOOT, _ROOT)] + [f"cat {path}" for path in self._texts]
        facts += [f"is-file {self._etc}/machine-id"]
        for path in [self._target(item) for item in self._files] + self._texts:
            facts += [f"checksum sha256 {path}", f"lgetxattrs {path}"] + [f"stat {path} | grep -E '(mode|uid|gid):'"]
        run(["qemu-img", "check", "-q", "-f", "qcow2", image])
        done = run(["guestfish", "--ro", "--format=qcow2", "-a", image],
                   input="\n".join(["run", *_MOUNT.splitlines(), *labels, "echo ;", *facts, ""]))
        first, _semicolon, rest = done.partition(";")
        return [label.strip() for label in first.split("\0") if label.strip()], rest

    def take_uuids(self, image):
        """Give the file systems from now on the UUIDs that they have in this image."""
        done = run(["guestfish", "--ro", "--format=qcow2", "-a", image], input=f"run\nvfs-uuid {_BOOT}\nvfs-uuid {_ROOT}\n")
        self._new = dict(zip(("boot", "root"), done.split()))

    def same(self, our, other):
        """Fault where the peer's image is not the same as ours, in all that was edited."""
        if self.look(f"{our}/image.qcow2") != self.look(f"{other}/image.qcow2"):
            raise Fault("customize: the two images differ")


def rows(bench):
    """One row."""
    job = options(bench)
    peer, first = Peer(bench, job), bench.path("customize-first")
    # also makes libguestfs' appliance, which it keeps
    work("customize", job, first)
    peer.labels = peer.look(os.path.join(first, "image.qcow2"))[0]
    shutil.rmtree(first)
    found = pairs(bench.pairs, functools.partial(work, "customize", job), peer.run, bench.path("customize"), "customize", peer.same)
    yield found.row("customize for oci, clusters as they are", "`cp` and one `guestfish` script with the same edits, same appliance", _GOAL)
