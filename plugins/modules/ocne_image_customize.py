#!/usr/bin/python
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: ocne_image_customize
short_description: Customize a boot image for the platform it is to boot on
version_added: 0.1.0
author: ocne.images contributors (@oracle-cne)
description:
  - Makes, of one boot image, an image for a platform, or several images for several platforms. A boot image is a disk with an ostree-based system,
    such as M(ocne.images.ocne_boot_image) pulls.
  - Sets the Ignition platform and other kernel arguments, puts files into C(/etc), C(/var) and C(/boot), embeds an Ignition configuration, gives the file
    systems new UUIDs, and removes the machine ID.
  - The source is not modified, unless it is also the destination.
  - All outputs of a task are edited in one launch of the libguestfs appliance. What was asked for is read back, and each image is checked, before it takes
    its place. An output that is up to date is not made again, and one that cannot be made does not keep the others from being made.
options:
  src:
    description: The boot image to start from, on the host where the module runs.
    type: path
    required: true
  src_format:
    description: The format of O(src). It is never guessed.
    type: str
    choices: [qcow2, raw]
    default: qcow2
  dest:
    description:
      - Where the customized image goes; where this is a folder, it gets the name of O(src) in there.
      - Without it, and without O(outputs), O(src) itself is customized. It is replaced only when the new image is complete and checked.
    type: path
  platform: &platform
    description:
      - What the image is to boot on. Without it, nothing is changed that other options do not ask for.
      - V(qemu), V(openstack), V(kubevirt), V(vmware) and V(metal) set the Ignition platform of that name, and all but V(qemu) remove the machine ID.
        V(vmware) and V(metal) replace C(console=ttyS0) with C(console=tty0).
      - V(oci) is for Oracle Cloud Infrastructure. It also gives boot and root new UUIDs, and adds a NetworkManager dispatcher script that sets host name,
        C(/etc/hosts) and search list from DHCP or from the instance metadata service. C(/etc/oci-hostname.conf) switches parts of that off.
      - V(olvm) is for Oracle Linux Virtualization Manager. It sets the Ignition platform C(openstack), replaces C(console=ttyS0) with C(console=tty0),
        gives boot and root new UUIDs, and removes the machine ID.
      - A dictionary describes a platform of your own. Its keys are C(name), C(ignition_platform), C(kernel_arguments), C(files) and C(identity), each as the
        option of this module, and C(disk_format), C(disk_subformat) and C(disk_suffix), which the role P(ocne.images.vm_image#role) uses. These are what
        O(ocne.images.ocne_image_convert#module:format) and O(ocne.images.ocne_image_convert#module:subformat) take, by default V(qcow2) and what the format
        has by default, and the ending of a file name with its dot, such as V(.img), by default the format's own.
    type: raw
  ignition_provider: &ignition_provider
    description:
      - The value of the kernel argument C(ignition.platform.id), in place of what O(platform) says.
      - V(file) makes Ignition read only what is embedded. It is not needed for O(ignition_config), which Ignition reads on every platform.
    type: str
  kernel_arguments: &kernel_arguments
    description:
      - Changes to the kernel command line of every boot entry, after those of O(platform). The order of what is there is kept.
      - First arguments are deleted, then replaced, then appended. A value with spaces is written in double quotes, C(key="one two").
    type: dict
    suboptions:
      append:
        description: Arguments to add at the end; one that is there already, with the same value, is left where it is.
        type: list
        elements: str
      delete:
        description: Arguments to remove. C(key) removes all of that key, C(key=value) only those with that value.
        type: list
        elements: str
      replace:
        description:
          - "Pairs of an argument that goes, written as for O(kernel_arguments.delete), and the argument that takes its place, as in
            C(console=ttyS0: console=tty0) or C(crashkernel: crashkernel=512M)."
          - Where several match, the first is replaced and the others are removed. Where none does, nothing happens.
        type: dict
  files: &files
    description:
      - Files to put into the image, with the SELinux label that the image's own policy has for their path. Missing folders are made, with mode C(0755).
      - A file that O(platform) brings is replaced by one of the same path.
    type: list
    elements: dict
    suboptions:
      path:
        description:
          - The path in the booted system, below C(/etc), C(/var) or C(/boot). Everything else belongs to the ostree commit and is not changed.
          - A file below C(/etc) goes into every deployment that boots. A symbolic link of this name is replaced; links among its folders are followed as
            far as they stay below C(/etc), C(/var) and C(/boot).
        type: str
        required: true
      content:
        description: The content, as text. One of this, O(files[].content_base64) and O(files[].src) is needed.
        type: str
      content_base64:
        description: The content, in base64.
        type: str
      src:
        description: A file with the content, on the host where the module runs.
        type: path
      mode:
        description: The mode, as an octal number in quotes. A new file has V("0644") by default, one that is there keeps its own.
        type: raw
      owner:
        description: Name or number of the owner; names are looked up in the image. A new file is root's by default.
        type: str
      group:
        description: Name or number of the group; names are looked up in the image. A new file is root's by default.
        type: str
  ignition_config: &ignition_config
    description:
      - An Ignition configuration, as a dictionary or JSON text, to embed into the initramfs of every boot entry. Ignition reads it as C(user.ign), in addition
        to what the platform provides, and C(ignition.platform.id) stays what it is.
      - It replaces one that was embedded before; an empty one, V({}), removes it.
      - Whoever can read the image can read it.
    type: raw
  identity: &identity
    description: What makes the image different from others of the same source. Without it O(platform) decides, and without that everything is kept.
    type: dict
    suboptions:
      uuids:
        description:
          - The UUIDs of the file systems boot and root. With V(derived) they follow from O(src) and the options, so that the same task gives the same
            ones; with V(random) they are new in each image that is made.
          - Boot entries, C(/etc/fstab) and GRUB's files are kept in step.
          - New UUIDs rewrite the logs of the file systems, which makes an image that is not compressed larger by their size, some 130 MB.
        type: str
        choices: [derived, random, keep]
      machine_id:
        description: Whether C(/etc/machine-id) is removed, so that systemd sees a first boot and every machine gets its own.
        type: str
        choices: [remove, keep]
  compression:
    description:
      - How the image is written. V(keep) copies O(src) and leaves its clusters as they are, which is the fastest; what is edited is not compressed.
      - V(none), V(zlib) and V(zstd) write all of it anew, as qcow2. Older programs cannot read V(zstd).
    type: str
    choices: [keep, none, zlib, zstd]
    default: keep
  outputs:
    description:
      - Several images of one O(src), each with its own destination and options. An option that an output does not have is taken from the task.
      - They are edited in one launch of the appliance.
    type: list
    elements: dict
    suboptions:
      dest:
        description: Where this image goes, as O(dest). No two may be the same, and none may be O(src).
        type: path
        required: true
      platform: *platform
      ignition_provider: *ignition_provider
      kernel_arguments: *kernel_arguments
      files: *files
      ignition_config: *ignition_config
      identity: *identity
      compression:
        description: How this image is written, as O(compression).
        type: str
        choices: [keep, none, zlib, zstd]
notes:
  - Needs libguestfs with its Python binding and the xfs tools of its appliance (C(python3-guestfs) and C(libguestfs-xfs) on Debian, C(python3-libguestfs)
    and C(libguestfs-xfs) on Oracle Linux and Fedora), and C(qemu-img), on the host where the module runs. It needs no root.
  - Contents of files and Ignition configurations appear in no log, record or result, only their checksums do.
extends_documentation_fragment:
  - ocne.images.artifact
  - ocne.images.builder
  - ocne.images.attributes
  - ansible.builtin.files
seealso:
  - module: ocne.images.ocne_boot_image
  - module: ocne.images.ocne_image_convert
  - module: ocne.images.ocne_image_info
"""

EXAMPLES = r"""
- name: Make an image for Oracle Cloud Infrastructure
  ocne.images.ocne_image_customize:
    src: /var/tmp/boot.qcow2
    dest: /var/tmp/boot.qcow2-1.33-amd64.oci
    platform: oci

- name: Set kernel arguments, a file and an Ignition configuration of one's own
  ocne.images.ocne_image_customize:
    src: /var/tmp/boot.qcow2
    dest: /var/tmp/site.qcow2
    platform: olvm
    kernel_arguments:
      append:
        - console=ttyS0,115200
      delete:
        - rd.timeout
      replace:
        crashkernel: crashkernel=512M
    files:
      - path: /etc/chrony.conf
        src: /srv/site/chrony.conf
      - path: /etc/sudoers.d/site
        content: "%site ALL=(ALL) ALL\n"
        mode: "0440"
    ignition_config:
      ignition:
        version: "3.4.0"
      passwd:
        users:
          - name: ocne
            sshAuthorizedKeys:
              - "{{ lookup('ansible.builtin.file', '~/.ssh/id_ed25519.pub') }}"

- name: Remove an embedded Ignition configuration, in place
  ocne.images.ocne_image_customize:
    src: /var/tmp/site.qcow2
    ignition_config: {}

- name: Make images for three platforms at once
  ocne.images.ocne_image_customize:
    src: /var/tmp/boot.qcow2
    files:
      - path: /etc/motd
        content: "made by ocne.images\n"
    outputs:
      - dest: /var/tmp/images/ock-oci.qcow2
        platform: oci
      - dest: /var/tmp/images/ock-vmware.qcow2
        platform: vmware
      - dest: /var/tmp/images/ock-lab.qcow2
        platform:
          name: lab
          ignition_platform: qemu
          kernel_arguments:
            append:
              - systemd.log_level=debug
          identity:
            uuids: random
            machine_id: remove
        compression: zstd
"""

RETURN = r"""
path:
  description: The customized image.
  returned: without O(outputs)
  type: str
  sample: /var/tmp/boot.qcow2-1.33-amd64.oci
platform:
  description: The name of the platform.
  returned: without O(outputs)
  type: str
  sample: oci
reason:
  description: Why the image was made, or would be in check mode.
  returned: without O(outputs), when changed
  type: str
  sample: it does not exist
sha256:
  description: The checksum of the image, or null where RV(digest) is of another kind.
  returned: without O(outputs), when the image is there
  type: str
digest:
  description: How the record identifies the image. It is the SHA-256 checksum of the file, but for a raw image, where it leaves out what is empty.
  returned: without O(outputs), when the image is there
  type: str
size:
  description: The size of the file in bytes.
  returned: without O(outputs), when the image is there
  type: int
virtual_size:
  description: The size of the disk in bytes.
  returned: without O(outputs), when the image is there
  type: int
format:
  description: The format of the image.
  returned: without O(outputs)
  type: str
  sample: qcow2
kernel_command_lines:
  description: The kernel command line of each boot entry, the default one first.
  returned: without O(outputs), when the image is there
  type: list
  elements: dict
  contains:
    entry:
      description: The file name of the boot entry.
      type: str
      sample: ostree-1-ock.conf
    options:
      description: The kernel command line.
      type: str
uuids:
  description: The UUIDs of the file systems.
  returned: without O(outputs), when the image is there
  type: dict
  sample: {"boot": "3d0eeb4e-79f4-55d4-a595-3c431e92444d", "root": "c0064f3a-58c7-58e5-9515-1a2fd2f5c8c3"}
files:
  description: The paths of the files that were put into the image.
  returned: without O(outputs), when the image is there
  type: list
  elements: str
  sample: ["/etc/oci-hostname.conf", "/etc/NetworkManager/dispatcher.d/11-ocne-oci-hostname"]
machine_id_removed:
  description: Whether a machine ID was there and is not any more.
  returned: without O(outputs), when the image is there
  type: bool
ignition_config:
  description: Whether the image has an embedded Ignition configuration; null where the task did not say.
  returned: without O(outputs), when the image is there
  type: bool
outputs:
  description: The values above for each image, in the order of O(outputs), with C(changed).
    Where the task fails, only those that are as they should be.
  returned: with O(outputs)
  type: list
  elements: dict
failures:
  description: What could not be made, the destination with the error. All other images were made.
  returned: with O(outputs), when the task fails
  type: dict
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
import dataclasses
import os

from ansible_collections.ocne.images.plugins.module_utils.artifact.record import Record
from ansible_collections.ocne.images.plugins.module_utils.artifact.source import WorkspaceSource, identity
from ansible_collections.ocne.images.plugins.module_utils.builders.kubernetes.options import BUILDER_SPEC
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.files import digests
from ansible_collections.ocne.images.plugins.module_utils.platforms import profiles
from ansible_collections.ocne.images.plugins.module_utils.task.module import ARTIFACT_SPEC, run_module
from ansible_collections.ocne.images.plugins.module_utils.work.disk import headers
from ansible_collections.ocne.images.plugins.module_utils.work.guest import recipe

_KIND = "ocne_image_customize"
_EDITS = ("platform", "ignition_provider", "kernel_arguments", "files", "ignition_config", "identity", "compression")
_VALUES = ("kernel_command_lines", "uuids", "files", "machine_id_removed", "ignition_config")


@dataclasses.dataclass
class Plan:
    """One output: what is wanted, and what is there."""

    dest: str
    platform: str
    format: str
    recipe: recipe.Recipe
    options: dict                # canonical: what the record keeps
    in_place: bool
    before: object = None        # the record beside the destination, whatever it says
    record: object = None        # the same, where the image is up to date
    reason: str = None           # why it is not


def plans(m, src):
    """A Plan for each output, checked. Raises ImageError."""
    params, name = m.params, os.path.basename(src)
    made = []
    for output in params["outputs"] if params["outputs"] is not None else [{"dest": params["dest"] or src}]:
        options = {key: params[key] if output.get(key) is None else output[key] for key in _EDITS}
        profile = profiles.profile(options["platform"])
        wanted = recipe.build(options, profile)
        dest = m.destination(output["dest"], name)
        made.append(Plan(dest, profile.name, params["src_format"] if wanted.compression == "keep" else "qcow2", wanted,
                         dict(wanted.canonical(), src_format=params["src_format"]), m.same(dest, src)))
    if not made:
        raise ImageError("outputs is empty", todo="give one output at least, or leave outputs out and give dest")
    paths = [plan.dest for plan in made]
    if len(set(paths)) < len(paths):
        raise ImageError("two outputs have the same destination", next(path for path in paths if paths.count(path) > 1), "give each its own dest")
    if len(made) > 1 and any(plan.in_place for plan in made):
        raise ImageError("the source is also the destination of one of several outputs", src, "customize it in place in a task of its own")
    return made


def conceal(params):
    """Contents leave the options once the recipes are made: results show the options of a task."""
    for options in [params, *(params["outputs"] or [])]:
        if options.get("ignition_config"):
            options["ignition_config"] = "(concealed)"
        own = options["platform"].get("files") if isinstance(options.get("platform"), dict) else None
        for item in [*(options.get("files") or []), *(own if isinstance(own, list) else [])]:
            if isinstance(item, dict):
                for key in ("content", "content_base64"):
                    if item.get(key):
                        item[key] = "(concealed)"


class Source:
    """The source image; it is read only where no record and no unchanged stat tells its digest."""

    def __init__(self, m, path):
        self._m, self._held = m, m.hold_open(path)
        self.path, self.read_path, self.stat = path, self._held.read_path, self._held.stat
        self._digest = self._held.record.sha256 if isinstance(self._held, WorkspaceSource) else None

    def known_from(self, record):
        """Take the digest from the record of what was made of it, where the file was not touched since."""
        if self._digest is None and not self._m.params["verify"] and record.values.get("source_stat") == self.stat:
            self._digest = record.source.get("sha256")

    @property
    def recipe(self):
        if self._digest is None:
            self._digest = identity(self.path, self._m.progress, self._m.params["verify"],
                                    sparse=self._m.params["src_format"] == "raw", read_path=self.read_path)
        return {"sha256": self._digest}


def examine(m, plan, source):
    """Fill in what is at the destination, and why that will not do."""
    plan.before = m.record(plan.dest)
    record, plan.reason = m.current(plan.dest)
    if record is None:
        if plan.in_place and not m.params["force"]:
            plan.reason = "it was not made by this task"
    elif (record.kind, record.options) != (_KIND, plan.options):
        plan.reason = "it was made with other options"
    elif not plan.in_place:
        source.known_from(record)
        if record.source != source.recipe:
            plan.reason = "its source has changed"
    if plan.reason is None:
        plan.record = record


def build(m, source, stale):
    """Make and publish what is not up to date; returns {destination: ImageError} of what could not be made."""
    with contextlib.ExitStack() as stack:
        stagings = {plan.dest: stack.enter_context(m.staging(plan.dest)) for plan in stale}
        outputs = [{"name": plan.dest, "recipe": dataclasses.asdict(plan.recipe), "uuids": plan.recipe.new_uuids(source.recipe),
                    "staging": stagings[plan.dest].path} for plan in stale]
        try:
            job = {"src": source.path, "read_path": source.read_path, "src_format": m.params["src_format"], "outputs": outputs}
            result = m.build("customize", job, stagings[stale[0].dest])
        except ImageError as error:
            return {plan.dest: error for plan in stale}
        failures = {name: ImageError.from_dict(error) for name, error in result.failures.items()}
        made = {item.name: item for item in result.artifacts}
        for plan in stale:
            if plan.dest in made:
                item = made[plan.dest]
                values = dict(item.values, size=item.size, source_stat=source.stat)
                record = Record(_KIND, source.recipe, plan.options, item.sha256, item.format, item.virtual_size, values)
                try:
                    m.publish(item, plan.dest, record)
                    plan.record = record
                except ImageError as error:
                    failures[plan.dest] = error
        return failures


def returned(plan):
    """What a run tells of one output."""
    answer = {"path": plan.dest, "dest": plan.dest, "platform": plan.platform, "format": plan.format, "changed": plan.reason is not None}
    if plan.reason:
        answer["reason"] = plan.reason
    if plan.record:
        digest = plan.record.sha256
        answer.update({name: plan.record.values.get(name) for name in (*_VALUES, "size")}, virtual_size=plan.record.virtual_size,
                      digest=digest, sha256=None if digest.startswith(digests.SPARSE_PREFIX) else digest)
    return answer


def fail(m, failures, wanted):
    """Ends a run in which something could not be made: one sentence, and what became of each output."""
    if m.params["outputs"] is None:
        raise next(iter(failures.values()))
    (first, error), *others = failures.items()
    rest = f", and not {', '.join(name for name, _error in others)}" if others else ""
    fault = ImageError(f"{len(failures)} of {len(wanted)} images could not be made: {first} ({error.what}){rest}", todo=error.todo)
    done = [returned(plan) for plan in wanted if plan.dest not in failures]
    m.fail(fault, failures={name: item.as_dict() for name, item in failures.items()}, outputs=done, changed=any(item["changed"] for item in done))


def body(m):
    src = m.source(m.params["src"])
    wanted = plans(m, src)
    conceal(m.params)
    m.unmask()
    source = Source(m, src)
    if source.read_path:
        headers.read_header(source.read_path, m.params["src_format"], src)
    for plan in wanted:
        examine(m, plan, source)
    stale = [plan for plan in wanted if plan.reason]
    if stale and m.check:
        m.dry_run()
    elif stale:
        failures = build(m, source, stale)
        if failures:
            fail(m, failures, wanted)
    answers = [returned(plan) for plan in wanted]
    for plan, answer in zip(wanted, answers):
        if not plan.reason:
            answer["changed"] = m.attributes(plan.dest, False)
            note_source(m, plan, source)
    answer = {"outputs": answers} if m.params["outputs"] is not None else dict(answers[0])
    answer["changed"] = any(item["changed"] for item in answers)
    if m.wants_diff and stale:
        differences = [m.diff(plan.before, Record(_KIND, source.recipe, plan.options, "", plan.format, 0, {}), plan.dest, recipe.Recipe)
                       for plan in stale]
        answer["diff"] = differences if len(wanted) > 1 else differences[0]
    return answer


def note_source(m, plan, source):
    """A source that was only touched is not read again by the next run."""
    record = m.record(plan.dest)
    if record and not m.check and not plan.in_place and record.values.get("source_stat") != source.stat:
        record.values["source_stat"] = source.stat
        with contextlib.suppress(OSError):   # the next run reads it again, no more
            m.write_record(plan.dest, record)


def edit_spec():
    """The options that the task and each output have."""
    return dict(
        platform=dict(type="raw"),
        ignition_provider=dict(type="str"),
        kernel_arguments=dict(type="dict", options=dict(
            append=dict(type="list", elements="str"),
            delete=dict(type="list", elements="str"),
            replace=dict(type="dict"),
        )),
        files=dict(type="list", elements="dict", options=dict(
            path=dict(type="str", required=True),
            content=dict(type="str", no_log=True),
            content_base64=dict(type="str", no_log=True),
            src=dict(type="path"),
            mode=dict(type="raw"),
            owner=dict(type="str"),
            group=dict(type="str"),
        ), mutually_exclusive=[("content", "content_base64", "src")], required_one_of=[("content", "content_base64", "src")]),
        ignition_config=dict(type="raw", no_log=True),
        identity=dict(type="dict", options=dict(
            uuids=dict(choices=["derived", "random", "keep"]),
            machine_id=dict(choices=["remove", "keep"]),
        )),
    )


def main():
    run_module(dict(
        ARTIFACT_SPEC,
        **BUILDER_SPEC,
        src=dict(type="path", required=True),
        src_format=dict(choices=["qcow2", "raw"], default="qcow2"),
        dest=dict(type="path"),
        compression=dict(choices=list(recipe.COMPRESSIONS), default="keep"),
        outputs=dict(type="list", elements="dict", options=dict(
            edit_spec(), dest=dict(type="path", required=True), compression=dict(choices=list(recipe.COMPRESSIONS)))),
        **edit_spec(),
    ), body, mutually_exclusive=[("dest", "outputs")])


if __name__ == "__main__":
    main()
