#!/usr/bin/python
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Boot media image in, boot image out."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ocne_boot_image
short_description: Pull the boot image out of a boot media image
version_added: 0.1.0
description:
  - Takes the virtual disk out of a boot media image, a container image that holds one disk at C(disk/boot.qcow2), as Oracle Cloud Native
    Environment publishes them, and KubeVirt's container disks alike.
  - The layers are streamed, never unpacked to disk, and every byte is checked against the digests of the image before the disk
    appears at its destination.
  - With a tag, an unchanged image is found out by one request for its manifest. With a digest in O(source), nothing at all is asked for
    when the disk at O(dest) comes from that digest.
author: ocne.images contributors (@oracle-cne)
options:
  source:
    description:
      - The boot media image, as C(containers-transports(5\)) writes references. Without a transport, it is one in a registry
        (C(docker://)).
      - Also V(oci:PATH[:TAG]), V(oci-archive:PATH[:TAG]), V(docker-archive:PATH[:REFERENCE]), V(dir:PATH), V(containers-storage:REFERENCE)
        (podman's own) and V(docker-daemon:REFERENCE). Paths are on the host where the module runs.
      - It may have a tag, a digest (C(@sha256:...)), or both, and then the digest is what counts.
      - The default is C(container-registry.oracle.com/olcne/ock:<version>), with O(version).
    type: str
  version:
    description:
      - The Kubernetes version of the boot media image to pull from Oracle's registry. Not used with O(source).
      - Quote it. To YAML, an unquoted C(1.30) is the number 1.3.
    type: str
    default: "1.33"
  architecture:
    description:
      - The processor architecture of the boot image. V(x86_64) means V(amd64), V(aarch64) means V(arm64).
      - The default is that of the host where the module runs.
    type: str
    choices: [amd64, arm64, x86_64, aarch64]
  path:
    description: Where the disk is inside the boot media image.
    type: str
    default: disk/boot.qcow2
  format:
    description: The format of that disk. It is never guessed from the content; a disk of another format is refused.
    type: str
    choices: [qcow2, raw, vmdk, vdi, vhdx, vpc]
    default: qcow2
  dest:
    description:
      - Where the boot image goes. In a folder, it gets the name that it has inside the boot media image.
      - The folder must exist.
    type: path
    required: true
  retries:
    description:
      - How often a request or transfer is tried again when it failed in a way that may pass by itself (a refused or broken connection, a
        time-out, an answer such as 503 or 429), with growing pauses between. Faults that stay, such as a missing image or wrong
        credentials, fail at once.
    type: int
    default: 3
requirements:
  - skopeo 1.9 or newer, on the host where the module runs
  - zstd, for images whose layers are compressed with it
extends_documentation_fragment:
  - ocne.images.registry
  - ocne.images.artifact
  - ocne.images.builder
  - ocne.images.attributes
  - ansible.builtin.files
seealso:
  - module: ocne.images.ocne_image_customize
  - module: ocne.images.ocne_image_info
  - name: containers-transports(5)
    description: How references to container images are written.
    link: https://github.com/containers/image/blob/main/docs/containers-transports.5.md
"""

EXAMPLES = r"""
- name: Pull the boot image of the default version, for the architecture of this host
  ocne.images.ocne_boot_image:
    dest: /var/lib/images/

- name: Pull the boot image of a version for Arm
  ocne.images.ocne_boot_image:
    version: "1.32"
    architecture: arm64
    dest: /var/lib/images/ock-1.32-arm64.qcow2

- name: Pull from a mirror that asks for a password and has a certificate of its own authority
  ocne.images.ocne_boot_image:
    source: registry.example.com:5000/olcne/ock:1.33
    registry:
      username: puller
      password: "{{ registry_password }}"
      ca_cert: /etc/pki/example-ca.pem
    dest: /var/lib/images/boot.qcow2

- name: Pull exactly this image, and ask nobody when it is there already
  ocne.images.ocne_boot_image:
    source: container-registry.oracle.com/olcne/ock@sha256:7f5d0b9a4a6e0e4f2c7a6b8a3c1d2e3f405162738495a6b7c8d9eaf001122334
    dest: /var/lib/images/boot.qcow2

- name: Take the disk out of an archive that was carried here
  ocne.images.ocne_boot_image:
    source: oci-archive:/media/usb/ock-1.33.tar
    dest: /var/lib/images/boot.qcow2
    mode: "0640"
"""

RETURN = r"""
dest:
  description: The path of the boot image.
  returned: success
  type: str
  sample: /var/lib/images/boot.qcow2
path:
  description: The same as RV(dest).
  returned: success
  type: str
  sample: /var/lib/images/boot.qcow2
source:
  description: The boot media image, as it was read.
  returned: success
  type: str
  sample: docker://container-registry.oracle.com/olcne/ock:1.33
architecture:
  description: The processor architecture of the boot image.
  returned: success
  type: str
  sample: amd64
image_digest:
  description: The digest of what the reference names (an index, where the image is there for several architectures). Pin it to get the same again.
  returned: success
  type: str
  sample: sha256:dab47c8740a9f269a6a8433b89213380a6c91e3e81863fdf12a80c57849f5dbe
manifest_digest:
  description: The digest of the manifest for this architecture.
  returned: success, except in check mode where the boot image would change
  type: str
  sample: sha256:b1c1a11d9a945b8f7fd49000568714eb8e778b09fb39dc1c99f0c84d199d8a8f
layer_digest:
  description: The digest of the layer that holds the disk. Null where a cluster has mounted an image of several layers.
  returned: success, except in check mode where the boot image would change
  type: str
  sample: sha256:b40bdf01777f787319e9eba60169b85a5273e434afdb2a2c6e7027a1482d5bc2
format:
  description: The format of the boot image.
  returned: success
  type: str
  sample: qcow2
size:
  description: The size of the file, in bytes.
  returned: success, except in check mode where the boot image would change
  type: int
  sample: 495255552
virtual_size:
  description: The size of the disk as a machine sees it, in bytes.
  returned: success, except in check mode where the boot image would change
  type: int
  sample: 16106127360
sha256:
  description: The SHA-256 checksum of the file.
  returned: success, except in check mode where the boot image would change
  type: str
  sample: d7bd1f219ba699cae53549d2f6a5ab2e2e82b74aec48f6b5f38c662003be1662
labels:
  description: The labels of the boot media image, such as its version.
  returned: success, except in check mode where the boot image would change
  type: dict
  sample: {"org.opencontainers.image.version": "1.33"}
source_transfer:
  description: How the image has reached the builder pod. V(image_volume) where the cluster has mounted it, V(pull) where the pod has pulled it,
    V(push) where this host has.
  returned: with a builder pod, where the boot image has changed
  type: str
  sample: image_volume
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
import platform
import tempfile

from ansible_collections.ocne.images.plugins.module_utils.artifact.record import Record
from ansible_collections.ocne.images.plugins.module_utils.artifact.staging import Staging
from ansible_collections.ocne.images.plugins.module_utils.builders.kubernetes.options import BUILDER_SPEC
from ansible_collections.ocne.images.plugins.module_utils.common.canonical import without_defaults
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.files import digests
from ansible_collections.ocne.images.plugins.module_utils.platforms import architectures
from ansible_collections.ocne.images.plugins.module_utils.platforms.disk_formats import IMAGES
from ansible_collections.ocne.images.plugins.module_utils.task.module import ARTIFACT_SPEC, run_module
from ansible_collections.ocne.images.plugins.module_utils.task.options import REGISTRY_SPEC, access, registry_options
from ansible_collections.ocne.images.plugins.module_utils.work import boot_image
from ansible_collections.ocne.images.plugins.module_utils.work.containers import reference

_KIND = "ocne_boot_image"
_DEFAULT_SOURCE = "docker://container-registry.oracle.com/olcne/ock:{version}"


def _architecture(wanted):
    name = architectures.image_name(wanted or platform.machine())
    if name not in architectures.NAMES:
        raise ImageError(f"there are no boot images for the architecture of this host ({name})",
                         todo=f"set architecture to {' or '.join(architectures.NAMES)}")
    return name


@dataclasses.dataclass
class Facts:
    """What is known of a source without asking anybody: goes into the record, and a later run compares it."""

    reference: str
    digest: str             # None: the reference has none
    archive: dict = None    # artifact.stat_of() of an archive


def _facts(image):
    facts = Facts(image.text, image.digest)
    if image.archive:
        with contextlib.suppress(OSError):   # skopeo tells what is wrong with it
            facts.archive = digests.stat_of(image.archive)
    return facts


def _known(record):
    """The digests that stand for what is at the destination: of the index and of the manifest for the architecture."""
    return [record.source["digest"], record.values["manifest_digest"]]


def current_by_pin(facts, record):
    """Whether a record's disk is surely from what `facts` name: the same pin, or an archive that nobody touched."""
    if facts.digest:
        return facts.digest in _known(record)
    return bool(facts.archive) and (facts.archive, facts.reference) == (record.source.get("archive"), record.source["reference"])


@contextlib.contextmanager
def _workplace(m, dest):
    """A staging folder; in check mode one elsewhere, as nothing is written beside the destination then."""
    if m.check:
        with tempfile.TemporaryDirectory(prefix="ocne-images-") as path:
            yield Staging(path, None)
    else:
        with m.staging(dest) as staging:
            yield staging


def seen(m, job, record, staging):
    """The Result of one request from this host, where that tells that there is nothing to do: then no pod is needed. Else None."""
    if record and m.remote and not m.check:
        try:
            result = m.run_locally("boot_image", job, staging)
            return None if result.values["changed"] else result
        except ImageError:   # this host need not reach the registry, or have skopeo
            pass
    return None


def body(m):
    """One run: the values of exit_json."""
    image = reference.parse(m.params["source"] or _DEFAULT_SOURCE.format(version=m.params["version"]))
    inside = m.params["path"].strip("/")
    dest = m.destination(m.params["dest"], os.path.basename(inside))
    recipe = boot_image.Recipe(_architecture(m.params["architecture"]), inside, m.params["format"])
    options = without_defaults(recipe)
    answer = {"dest": dest, "path": dest, "source": image.text, "architecture": recipe.architecture, "format": recipe.format}
    facts, before, record = _facts(image), m.record(dest), m.current(dest)[0]
    if record and (record.kind != _KIND or record.options != options):
        record = None
    if record and current_by_pin(facts, record):
        if facts.digest:
            answer["image_digest"] = facts.digest
        return dict(record.values, **dict(answer, changed=m.attributes(dest, False)))
    registry = registry_options(m.params)
    job = dict(options, source=image.text, registry=registry, retries=m.params["retries"],
               known=_known(record) if record else [])
    with _workplace(m, dest) as staging:
        result = seen(m, job, record, staging) or m.build("boot_image", job, staging)
        facts.digest, way = result.values["image_digest"], result.values.pop("source_transfer", None)
        source = without_defaults(facts)
        if not result.values.pop("changed"):
            if (record.source, record.access) != (source, access(registry)) and not m.check:
                # the same content by another name, in another index, from a new file, or reached in another way
                record.source, record.access = source, access(registry)
                record.values["image_digest"] = facts.digest
                m.write_record(dest, record)
            answer["image_digest"] = facts.digest
            return dict(record.values, **dict(answer, changed=m.attributes(dest, False)))
        values = dict(result.values, changed=True)
        if m.check:
            m.dry_run()
            after = Record(_KIND, source, options, "", recipe.format, 0, {})
        else:
            made = result.artifacts[0]
            values.update(size=made.size, virtual_size=made.virtual_size, sha256=made.sha256)
            after = Record(_KIND, source, options, made.sha256, made.format, made.virtual_size,
                           {name: value for name, value in values.items() if name != "changed"}, access=access(registry))
            m.publish(made, dest, after)
            if way:
                answer["source_transfer"] = way
    if m.wants_diff:
        values["diff"] = m.diff(before, after, dest, boot_image.Recipe)
    return dict(values, **answer)


def main():
    run_module(dict({
        "source": {"type": "str"},
        "version": {"type": "str", "default": "1.33"},
        "architecture": {"type": "str", "choices": list(architectures.EITHER_NAMES)},
        "path": {"type": "str", "default": "disk/boot.qcow2"},
        "format": {"type": "str", "choices": list(IMAGES), "default": "qcow2"},
        "dest": {"type": "path", "required": True},
        "retries": {"type": "int", "default": 3},
    }, **REGISTRY_SPEC, **ARTIFACT_SPEC, **BUILDER_SPEC), body)


if __name__ == "__main__":
    main()
