#!/usr/bin/python
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tells what is in a disk image."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ocne_image_info
short_description: Tell what is in a disk image
version_added: 0.1.0
author:
  - ocne.images contributors (@oracle-cne)
description:
  - Tells the format of a disk image, its partitions, boot entries, kernel arguments, ostree deployment, and files, as the
    system that boots from it would see them.
  - The image is never changed, and no lock is taken on it, so a virtual machine can start from it meanwhile. While one
    runs on it the module works too. It then returns RV(in_use=true), and a warning, because what it reads may be of different moments.
  - File systems are opened in the libguestfs appliance, not by the kernel of the host. With O(contents=false) no appliance is needed.
  - The format of the image is stated, never guessed. An image that refers to other files (an external data file, a parent, VMDK extents
    in other folders), that is encrypted, marked as corrupt, cut off, or larger than 16 TiB for its guest is refused. Of one that has a backing file only the
    format is told, with O(contents=false).
requirements:
  - qemu-img (package C(qemu-utils) on Debian, C(qemu-img) on Oracle Linux and Fedora)
  - libguestfs with its Python binding, and for XFS on Debian C(libguestfs-xfs), unless O(contents=false)
extends_documentation_fragment:
  - ocne.images.attributes.info
  - ocne.images.builder
options:
  src:
    description:
      - The image, on the host where the module runs.
    type: path
    required: true
  src_format:
    description:
      - The format of O(src). Another one than the file has is an error.
      - V(vpc) is the format of Virtual PC and Hyper-V, known as VHD.
    type: str
    choices: [qcow2, raw, vmdk, vdi, vhdx, vpc]
    default: qcow2
  contents:
    description:
      - Whether to look into the image. Without that only the format is told, in an instant.
    type: bool
    default: true
  files:
    description:
      - Paths in the image to describe, with the members of folders. A symbolic link is described, not followed.
      - Paths here and in O(read) are those of the booted system. V(/etc) and V(/usr) are in the ostree deployment, V(/var) is the one of its state root,
        V(/boot) the boot partition. Links on the way are followed as that system would follow them, and never lead out of it.
    type: list
    elements: str
    default: []
  read:
    description:
      - Paths of regular files in the image to read. Symbolic links are followed.
    type: list
    elements: str
    default: []
  max_read_size:
    description:
      - Files of O(read) that are larger than this, in bytes, are not read; RV(read[].error) says so.
    type: int
    default: 1048576
  check:
    description:
      - Check the tables of the image with C(qemu-img check) and return RV(integrity). A corrupt image is told, it is no failure of the task.
    type: bool
    default: false
  cache:
    description:
      - Whether what was told of this image before, with the same options, may be told again without opening it, while neither its size, times nor inode have
        changed. Nothing is kept of images that a virtual machine runs on, nor with O(read).
      - Answers are kept in C(ocne-images/inspections) in the cache folder of the user (C($XDG_CACHE_HOME), or C(~/.cache)), for that user only.
    type: bool
    default: true
notes:
  - Python 3.9 or newer is needed on the host where the module runs.
seealso:
  - module: ocne.images.ocne_image_customize
  - module: ocne.images.ocne_image_convert
"""

EXAMPLES = r"""
- name: Look into a boot image
  ocne.images.ocne_image_info:
    src: /srv/images/boot.qcow2
    files:
      - /etc/machine-id
      - /etc/NetworkManager/dispatcher.d
    read:
      - /etc/os-release
  register: image

- name: Show its kernel arguments
  ansible.builtin.debug:
    var: image.boot_entries[0].kernel_arguments

- name: Its size only
  ocne.images.ocne_image_info:
    src: /srv/images/boot.vmdk
    src_format: vmdk
    contents: false
  register: geometry

- name: Is it sound
  ocne.images.ocne_image_info:
    src: /srv/images/boot.qcow2
    contents: false
    check: true
  register: image
  failed_when: image.integrity.state != "clean"
"""

RETURN = r"""
path:
  description: The image.
  returned: success
  type: str
  sample: /srv/images/boot.qcow2
format:
  description: Its format, as C(qemu-img) names it.
  returned: success
  type: str
  sample: qcow2
subformat:
  description: The variant of a VMDK, VDI, VHDX or VHD; else null.
  returned: success
  type: str
  sample: null
virtual_size:
  description: The size that a guest sees, in bytes.
  returned: success
  type: int
  sample: 16106127360
file_size:
  description: The length of its files, in bytes.
  returned: success
  type: int
  sample: 791937024
actual_size:
  description: What its files take on the disk, in bytes. The holes of sparse files do not count.
  returned: success
  type: int
  sample: 791937024
cluster_size:
  description: The size of its clusters, grains or blocks, in bytes; null where it has none.
  returned: success
  type: int
  sample: 65536
compression_type:
  description: How compressed clusters of a qcow2 are compressed (zlib or zstd). It need not have any.
  returned: success
  type: str
  sample: zlib
backing_file:
  description: The name of the backing file in its header, or null. Only with O(contents=false) can it be another.
  returned: success
  type: str
  sample: null
snapshots:
  description: The number of internal snapshots of a qcow2.
  returned: success
  type: int
  sample: 0
dirty:
  description: Whether a qcow2 was not closed cleanly.
  returned: success
  type: bool
  sample: false
extents:
  description: Names of further files beside it that belong to it (VMDK).
  returned: success
  type: list
  elements: str
  sample: []
in_use:
  description: Whether another process, such as a virtual machine, has it open for writing.
  returned: success
  type: bool
  sample: false
integrity:
  description: What C(qemu-img check) found.
  returned: with O(check=true)
  type: dict
  sample: {state: clean, reason: null, corruptions: 0, leaks: 0, check_errors: 0, total_clusters: 245760, allocated_clusters: 12084,
           compressed_clusters: 0}
  contains:
    state:
      description: One of V(clean), V(leaks) (space is wasted, nothing is wrong), V(corrupt), and V(unknown).
      type: str
      returned: always
    reason:
      description: Why the state is not known.
      type: str
      returned: always
partitions:
  description: Its partitions, in the order of their numbers.
  returned: with O(contents=true)
  type: list
  elements: dict
  sample: [{number: 2, name: boot, label: boot, uuid: 01615615-bc23-5874-95a6-b9fab215fd60, filesystem: xfs,
            type: 0fc63daf-8483-4772-8e79-3d69d8477de4, start: 257949696, size: 511705088, start_sector: 503808, sectors: 999424}]
  contains:
    number:
      description: Its number.
      type: int
      returned: always
    name:
      description: Its name in the partition table.
      type: str
      returned: always
    label:
      description: The label of the file system.
      type: str
      returned: always
    uuid:
      description: The UUID of the file system.
      type: str
      returned: always
    filesystem:
      description: The kind of file system, empty where none is known.
      type: str
      returned: always
    type:
      description: The GUID of its type.
      type: str
      returned: always
    start:
      description: Where it begins, in bytes.
      type: int
      returned: always
    size:
      description: Its size, in bytes.
      type: int
      returned: always
    start_sector:
      description: Where it begins, in sectors of 512 bytes.
      type: int
      returned: always
    sectors:
      description: Its size, in sectors of 512 bytes.
      type: int
      returned: always
ostree:
  description: The ostree deployment that boots, or null in an image without ostree.
  returned: with O(contents=true)
  type: dict
  sample: {osname: ock, commit: b8586628b27a5597db0f252f833a2d5922ed66a5bb01ce6908e4e08238343201, serial: 0, version: "1.33"}
  contains:
    osname:
      description: The name of its state root.
      type: str
      returned: always
    commit:
      description: The checksum of its commit.
      type: str
      returned: always
    serial:
      description: The number of the deployment among those of one commit.
      type: int
      returned: always
    path:
      description: Where it is in the root partition.
      type: str
      returned: always
    version:
      description: Its version, from C(usr/lib/os-release) - OSTREE_VERSION, IMAGE_VERSION, VERSION or VERSION_ID, the first that is there.
      type: str
      returned: always
    os_release:
      description: All of C(usr/lib/os-release).
      type: dict
      returned: always
    deployments:
      description: All deployments in the image, with osname, commit and serial.
      type: list
      elements: dict
      returned: always
boot_entries:
  description: The boot loader's entries, the default one first.
  returned: with O(contents=true)
  type: list
  elements: dict
  contains:
    name:
      description: The entry's file name.
      type: str
      returned: always
    path:
      description: Where it is in the booted system.
      type: str
      returned: always
    default:
      description: Whether it is what boots.
      type: bool
      returned: always
    fields:
      description: Its other keys, such as title, version, linux and initrd. One that repeats has a list.
      type: dict
      returned: always
    kernel_arguments:
      description: The kernel arguments, in order, each as it is written.
      type: list
      elements: str
      returned: always
    ostree:
      description: The deployment that it boots (osname, commit, serial), or null.
      type: dict
      returned: always
ignition:
  description: What is set for Ignition by the default boot entry; null where there is no boot entry.
  returned: with O(contents=true)
  type: dict
  sample: {platform: qemu, embedded: false}
  contains:
    platform:
      description: The platform id on the kernel command line, or null.
      type: str
      returned: always
    embedded:
      description: Whether a configuration is embedded in the initramfs, at its end; null where the initramfs is missing.
      type: bool
      returned: always
fstab:
  description: The lines of C(/etc/fstab), or null where there is none.
  returned: with O(contents=true)
  type: list
  elements: dict
  sample: [{device: UUID=d6bff87f-d06d-5575-9a31-5d2ca7ca3edd, mountpoint: /, type: xfs, options: [defaults], dump: 0, pass: 0}]
machine_id:
  description:
    - The state of C(/etc/machine-id) - V(present), V(missing), V(empty) or V(uninitialized); null where there is no root partition.
    - Only a missing or an uninitialized one makes the first boot a first boot to systemd.
  returned: with O(contents=true)
  type: str
  sample: missing
files:
  description: What O(files) asked for, in the same order.
  returned: with O(contents=true)
  type: list
  elements: dict
  sample: [{path: /etc/fstab, exists: true, type: file, mode: "0644", uid: 0, gid: 0, size: 187, mtime: 1700000000,
            selinux: "system_u:object_r:etc_t:s0"}]
  contains:
    path:
      description: The path that was asked for.
      type: str
      returned: always
    exists:
      description: Whether there is something.
      type: bool
      returned: always
    type:
      description: One of file, directory, link, character device, block device, fifo, socket.
      type: str
      returned: where it exists
    mode:
      description: The permissions, in octal.
      type: str
      returned: where it exists
    uid:
      description: The number of the owner.
      type: int
      returned: where it exists
    gid:
      description: The number of the group.
      type: int
      returned: where it exists
    size:
      description: The size in bytes.
      type: int
      returned: where it exists
    mtime:
      description: When it was changed, in seconds since 1970.
      type: int
      returned: where it exists
    selinux:
      description: Its SELinux label, or null.
      type: str
      returned: where it exists
    target:
      description: Where a link leads.
      type: str
      returned: for links
    members:
      description: The names in a folder, at most a thousand.
      type: list
      elements: str
      returned: for folders
    truncated:
      description: Whether the folder has more than those.
      type: bool
      returned: for folders
    error:
      description: Why nothing can be told of the path, such as a loop of symbolic links.
      type: str
      returned: on a fault of this path
read:
  description: What O(read) asked for, in the same order.
  returned: with O(contents=true)
  type: list
  elements: dict
  sample: [{path: /etc/os-release, exists: true, size: 50, content: "ID=ock\n", encoding: text}]
  contains:
    path:
      description: The path that was asked for.
      type: str
      returned: always
    exists:
      description: Whether there is something.
      type: bool
      returned: always
    size:
      description: The size in bytes.
      type: int
      returned: where it exists
    content:
      description: The content, or null where it was not read.
      type: str
      returned: always
    encoding:
      description: How RV(read[].content) is written - V(text) for UTF-8, else V(base64).
      type: str
      returned: always
    error:
      description: Why it was not read.
      type: str
      returned: on a fault of this path
error:
  description: The fault in parts for programs.
  returned: failure
  type: dict
  contains:
    what:
      description: What went wrong.
      type: str
    where:
      description: What it concerns, such as an image, a folder, a pod or an API server; else null.
      type: str
    todo:
      description: What can be done about it, or null.
      type: str
    details:
      description: Facts, such as the exit status and the words of a tool, or the status and reason of the API server.
      type: dict
"""

import contextlib
import os
import stat
import tempfile

from ansible_collections.ocne.images.plugins.module_utils.artifact.staging import staging_folder
from ansible_collections.ocne.images.plugins.module_utils.builders.kubernetes.options import BUILDER_SPEC
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.platforms.disk_formats import IMAGES
from ansible_collections.ocne.images.plugins.module_utils.task.inspect_cache import Inspections
from ansible_collections.ocne.images.plugins.module_utils.task.module import run_module


@contextlib.contextmanager
def scratch():
    """A staging folder for the appliance's overlay and sockets.

    It is below a folder of this user's own, where the next run finds what a kill left.
    """
    folder = os.path.join(tempfile.gettempdir(), f"ocne-images-{os.geteuid()}")
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, 0o700)
    status = os.lstat(folder)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise ImageError("it is not a folder of this user alone", folder,
                         "remove it, or set TMPDIR to another folder in the task's environment")
    try:
        with staging_folder(os.path.join(folder, "info")) as staging:
            yield staging
    finally:
        with contextlib.suppress(OSError):   # another run is in there
            os.rmdir(folder)


def body(m):
    params = m.params
    src = m.source(params["src"])
    options = {name: params[name] for name in ("src_format", "contents", "check", "files", "read", "max_read_size")}
    if not params["contents"] and (params["files"] or params["read"]):
        raise ImageError("files and read need a look into the image", todo="leave out contents: false")
    if params["max_read_size"] < 0:
        raise ImageError("max_read_size is negative", todo="give a number of bytes")
    # a file's content is not kept in a second place: it can be a secret
    before = Inspections(src, options) if params["cache"] and not params["read"] and os.path.exists(src) else None
    values = before.known() if before else None
    if values is None:
        with scratch() as staging:
            values = m.build("inspect", dict(options, src=src), staging).values
        if before and not m.check:
            before.keep(values)
    for warning in values.pop("warnings"):
        m.warn(f"{src}: {warning}")
    return dict(values, path=src, changed=False)


def main():
    run_module(dict(
        BUILDER_SPEC,
        src=dict(type="path", required=True),
        src_format=dict(choices=list(IMAGES), default="qcow2"),
        contents=dict(type="bool", default=True),
        files=dict(type="list", elements="str", default=[]),
        read=dict(type="list", elements="str", default=[]),
        max_read_size=dict(type="int", default=1 << 20),
        check=dict(type="bool", default=False),
        cache=dict(type="bool", default=True),
    ), body, files=False)


if __name__ == "__main__":
    main()
