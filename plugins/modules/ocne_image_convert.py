#!/usr/bin/python
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Converts a disk image to another format."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ocne_image_convert
short_description: Convert a disk image to another format, or pack it for Oracle's cloud
version_added: 0.1.0
author:
  - ocne.images contributors (@oracle-cne)
description:
  - Converts a boot image, or any other disk image, to the format that a virtualization platform wants.
  - With O(format=pca_archive) it packs a qcow2 image into the archive that Oracle's cloud imports together with firmware, launch options and shapes.
  - Does nothing where the destination was made of the same source with the same options, as its record says.
  - The format of the source is stated, never guessed. A source that refers to other files (a backing file, an external data
    file, a parent, VMDK extents in other folders), that is encrypted, marked as corrupt, cut off, or larger than 16 TiB for its guest is refused.
  - What was made is checked before it is published - its header, its size for the guest, and its tables where C(qemu-img check)
    knows the format (qcow2, VMDK, VDI, VHDX).
requirements:
  - qemu-img (package C(qemu-utils) on Debian, C(qemu-img) on Oracle Linux and Fedora), but for O(format=pca_archive)
extends_documentation_fragment:
  - ocne.images.artifact
  - ocne.images.builder
  - ocne.images.attributes
  - ansible.builtin.files
options:
  src:
    description:
      - The image to convert, on the host where the module runs. It is not changed.
      - A VMDK of several files is named by its descriptor; the extents must be beside it.
    type: path
    required: true
  src_format:
    description:
      - The format of O(src). Another one than the file has is an error.
      - V(vpc) is the format of Virtual PC and Hyper-V, known as VHD.
    type: str
    choices: [qcow2, raw, vmdk, vdi, vhdx, vpc]
    default: qcow2
  dest:
    description:
      - Where the new image goes.
      - In a folder that exists, or with a C(/) at its end, it is named after O(src), with the suffix of O(format).
      - It cannot be O(src) itself.
    type: path
    required: true
  format:
    description:
      - The format of the new image. V(raw) is sparse.
      - V(pca_archive) is the C(.oci) archive that Oracle Private Cloud Appliance and Oracle Cloud Infrastructure import - C(output.QCOW2), which is O(src)
        byte for byte, and C(image_metadata.json), as a tar that is compressed by gzip. On a Private Cloud Appliance it is the only
        way to tell firmware and shapes. It needs O(architecture) and O(src_format=qcow2).
      - An image whose clusters are compressed with zstd is refused there, as a cloud may not read it. Convert it first, with O(format=qcow2).
      - V(pca_archive) is only written. What imports it is M(ocne.images.ocne_oci_image_import); no other module takes it as a source.
    type: str
    choices: [qcow2, raw, vmdk, vdi, vhdx, vpc, pca_archive]
    required: true
  architecture:
    description:
      - The processors that the image is for, which decide its shapes. Needed by O(format=pca_archive), and only for it.
      - V(x86_64) is the same as V(amd64), V(aarch64) the same as V(arm64).
    type: str
    choices: [amd64, arm64, x86_64, aarch64]
  cloud:
    description:
      - The cloud that a V(pca_archive) is for, which decides its launch options and shapes - V(pca), a Private Cloud Appliance,
        which is the default there, or V(oci), Oracle Cloud Infrastructure.
    type: str
    choices: [oci, pca]
  operating_system:
    description:
      - The name of the operating system that a V(pca_archive) gives its image. The default is V(Oracle Linux) there.
    type: str
  operating_system_version:
    description:
      - The version of the operating system that a V(pca_archive) gives its image. The default is V(8) there.
    type: str
  shapes:
    description:
      - The shapes that the image of a V(pca_archive) can be launched on, in place of those that O(cloud) has for O(architecture). An empty list
        names none.
    type: list
    elements: str
  schema_version:
    description:
      - The name of a version of the global image capability schema of Oracle Cloud Infrastructure (as C(oci compute global-image-capability-schema list)
        shows it). With it the archive also makes firmware and launch mode capabilities of the image, so that nobody can launch it with others.
      - Needs O(format=pca_archive) and O(cloud=oci). Without it the archive names no capabilities.
    type: str
  compression:
    description:
      - How the clusters of a qcow2 image are compressed. Needs O(format=qcow2).
      - V(zlib) is read everywhere. V(zstd) is several times as fast to write and to read, but QEMU before 5.1, and with it some
        platforms, cannot read it; whether the image import of Oracle Cloud Infrastructure does is not known.
      - A VMDK with O(subformat=streamOptimized) is always compressed, by itself.
    type: str
    choices: [none, zlib, zstd]
    default: none
  subformat:
    description:
      - The variant of a VMDK, VHDX or VHD image.
      - With O(format=vmdk), one of V(monolithicSparse) (the default, as in C(qemu-img)), V(monolithicFlat), V(twoGbMaxExtentSparse), V(twoGbMaxExtentFlat)
        and V(streamOptimized), which OVA files hold. Both flat ones and both of at most two GiB are a descriptor, at O(dest), and
        extents beside it, whose names are made of that of O(dest) and some letters. Keep them together.
      - With O(format=vhdx) and O(format=vpc), V(dynamic) (the default) or V(fixed).
    type: str
    choices: [monolithicSparse, monolithicFlat, twoGbMaxExtentSparse, twoGbMaxExtentFlat, streamOptimized, dynamic, fixed]
  adapter_type:
    description:
      - The disk controller that a VMDK image asks for. Needs O(format=vmdk).
      - The default is V(lsilogic) there, which is what VMware wants for most systems.
    type: str
    choices: [ide, buslogic, lsilogic, legacyESX]
  hwversion:
    description:
      - The version of the virtual hardware that a VMDK image asks for. Needs O(format=vmdk). The default is that of C(qemu-img), 4.
    type: int
  verify:
    description:
      - Proves that the content of the image at the destination equals that of O(src), for a guest, by C(qemu-img compare) with both
        formats stated. All formats and subformats get this same proof; it reads both images once.
      - An archive (O(format=pca_archive)) is unpacked to its end instead, and the SHA-256 of the image in it compared with that of O(src).
      - An image that was made without this option is compared with O(src) by the first run that has it.
      - Besides, every run with it reads what is at the destination and compares it with the checksum in its record, and O(src) too, also
        where size and times say that they were not touched.
seealso:
  - module: ocne.images.ocne_image_info
  - module: ocne.images.ocne_image_customize
  - module: ocne.images.ocne_oci_image_import
notes:
  - The free space is looked at before work begins. Where the image is not compressed, the allocated part of the source must fit. Of an
    image that will be compressed a tenth of that must fit, because nothing more is certain.
"""

EXAMPLES = r"""
- name: A VMDK for vSphere
  ocne.images.ocne_image_convert:
    src: /srv/images/boot.qcow2
    dest: /srv/images/boot.vmdk
    format: vmdk

- name: What an OVA holds
  ocne.images.ocne_image_convert:
    src: /srv/images/boot.qcow2
    dest: /srv/images/boot-stream.vmdk
    format: vmdk
    subformat: streamOptimized
    hwversion: 13

- name: A small qcow2 for current versions of QEMU, proven equal
  ocne.images.ocne_image_convert:
    src: /srv/images/boot.qcow2
    dest: /srv/images/small/
    format: qcow2
    compression: zstd
    verify: true

- name: From Hyper-V to a sparse raw image
  ocne.images.ocne_image_convert:
    src: /srv/images/disk.vhdx
    src_format: vhdx
    dest: /srv/images/disk.raw
    format: raw
    mode: "0640"

- name: What a Private Cloud Appliance imports, proven equal
  ocne.images.ocne_image_convert:
    src: /srv/images/boot.qcow2
    dest: /srv/images/boot-pca.oci
    format: pca_archive
    architecture: amd64
    verify: true

- name: What Oracle Cloud Infrastructure imports, for two shapes of Arm and under a name of its own
  ocne.images.ocne_image_convert:
    src: /srv/images/boot.qcow2
    dest: /srv/images/boot-arm.oci
    format: pca_archive
    architecture: arm64
    cloud: oci
    operating_system: Oracle Cloud Native Environment
    operating_system_version: "1.33"
    shapes: [VM.Standard.A1.Flex, VM.Standard.A2.Flex]
    schema_version: 34dd2cea-aff2-4f45-b8f6-1cb5290bfab2
"""

RETURN = r"""
path:
  description: Where the image is.
  returned: success
  type: str
  sample: /srv/images/boot.vmdk
dest:
  description: The same as RV(path).
  returned: success
  type: str
  sample: /srv/images/boot.vmdk
format:
  description: Its format, as C(qemu-img) names it, or C(pca_archive).
  returned: success
  type: str
  sample: vmdk
subformat:
  description: Its variant, or null for a format that has none.
  returned: success
  type: str
  sample: monolithicSparse
compression:
  description: How it is compressed - none, zlib or zstd; an archive by gzip, whatever the image in it is.
  returned: success
  type: str
  sample: none
metadata:
  description: What C(image_metadata.json) of the archive says.
  returned: with O(format=pca_archive)
  type: dict
  sample:
    version: 2
    externalLaunchOptions:
      firmware: UEFI_64
      networkType: PARAVIRTUALIZED
      bootVolumeType: PARAVIRTUALIZED
      remoteDataVolumeType: PARAVIRTUALIZED
      localDataVolumeType: PARAVIRTUALIZED
      launchOptionsSource: CUSTOM
      pvAttachmentVersion: 1
      pvEncryptionInTransitEnabled: false
      consistentVolumeNamingEnabled: false
    imageCapabilityData: null
    imageCapsFormatVersion: null
    operatingSystem: Oracle Linux
    operatingSystemVersion: "8"
    additionalMetadata:
      sourcePublicImageId: null
      shapeCompatibilities:
        - {internalShapeName: VM.PCAStandard.E5.Flex, ocpuConstraints: null, memoryConstraints: null}
virtual_size:
  description: The size that a guest sees, in bytes.
  returned: success
  type: int
  sample: 16106127360
size:
  description: The length of the file at O(dest), in bytes. The holes of a sparse file count.
  returned: when the image is there
  type: int
  sample: 535822336
sha256:
  description:
    - SHA-256 of the file at O(dest).
    - Null for images that are as long as their disk (raw, fixed VHDX and VHD, flat VMDK), where it would take many times as long as the
      conversion, most of it for zeros. M(ansible.builtin.stat) gives it where it is needed.
  returned: when the image is there
  type: str
  sample: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
digest:
  description:
    - The checksum by which later runs know the file. It is RV(sha256), or begins with C(sparse-sha256:) and counts only the
      blocks that are not zeros.
  returned: when the image is there
  type: str
  sample: sparse-sha256:3bb99f887548e32e37dc8cfdb7cde664a4128c040093137d55d27f964787936d
extents:
  description: Further files beside RV(path) that belong to it, for a VMDK of several files.
  returned: when the image is there
  type: list
  elements: dict
  sample: []
  contains:
    name:
      description: The file's name.
      type: str
      returned: always
    size:
      description: Its length in bytes.
      type: int
      returned: always
    sha256:
      description: Its checksum, in the form of RV(digest).
      type: str
      returned: always
verified:
  description: Whether the content was compared with the source's, by this run or an earlier one (O(verify)).
  returned: success
  type: bool
  sample: false
reason:
  description: Why the image was made anew, or would be in check mode.
  returned: changed
  type: str
  sample: it does not exist
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

import os

from ansible_collections.ocne.images.plugins.module_utils.artifact.record import Record, examine
from ansible_collections.ocne.images.plugins.module_utils.artifact.source import WorkspaceSource
from ansible_collections.ocne.images.plugins.module_utils.artifact.staging import Staging
from ansible_collections.ocne.images.plugins.module_utils.builders.kubernetes.options import BUILDER_SPEC
from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle import launch_metadata
from ansible_collections.ocne.images.plugins.module_utils.common.canonical import without_defaults
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError, from_os_error
from ansible_collections.ocne.images.plugins.module_utils.files import digests
from ansible_collections.ocne.images.plugins.module_utils.platforms import architectures, disk_formats
from ansible_collections.ocne.images.plugins.module_utils.platforms.disk_formats import FORMATS, IMAGES
from ansible_collections.ocne.images.plugins.module_utils.task.module import ARTIFACT_SPEC, run_module
from ansible_collections.ocne.images.plugins.module_utils.work import convert

_KIND = "ocne_image_convert"
#: options of archives -> what they are there where nobody says; architecture must be said
_ARCHIVE = {"architecture": None, "cloud": launch_metadata.PCA, "operating_system": "Oracle Linux", "operating_system_version": "8", "shapes": None,
            "schema_version": None}


def recipe(params):
    """The convert.Recipe of a task. Raises ImageError for what does not go together."""
    kind, compression = params["format"], params["compression"]
    row = disk_formats.checked(kind, params["subformat"], among=FORMATS)
    if compression not in ("none", *row.compressions):
        others = [other for other, its in FORMATS.items() if compression in its.compressions]
        raise ImageError(f"compression {compression} does not go with format {kind}",
                         todo=f"leave compression out; a compressed {kind} image has subformat: {row.self_compressed[0]}"
                         if row.self_compressed else f"leave compression out, or use format: {' or '.join(others)}")
    for name, possible in (("adapter_type", "adapters"), ("hwversion", "hwversion"), *((name, "packs") for name in _ARCHIVE)):
        if params[name] is not None and not getattr(row, possible):
            others = [other for other, its in FORMATS.items() if getattr(its, possible)]
            raise ImageError(f"{name} does not go with format {kind}", todo=f"leave {name} out; it is for {' and '.join(others)} only")
    if params["hwversion"] is not None and not 1 <= params["hwversion"] <= 99:
        raise ImageError(f"hwversion {params['hwversion']} does not exist",
                         todo="use a version of VMware's virtual hardware, such as 13")
    return convert.Recipe(params["src_format"], kind, compression, params["subformat"] or row.default_subformat,
                          params["adapter_type"] or row.default_adapter, params["hwversion"], metadata(params) if row.packs else None)


def metadata(params):
    """What the metadata of an archive says, as plain data. Raises ImageError."""
    kind, packed = params["format"], FORMATS[params["format"]].packs
    if params["src_format"] != packed:
        raise ImageError(f"format {kind} holds a {packed} image as it is, and src_format is {params['src_format']}",
                         todo=f"convert the source first, by ocne_image_convert with format: {packed}")
    about = {name: default if params[name] is None else params[name] for name, default in _ARCHIVE.items()}
    if about["architecture"] is None:
        raise ImageError(f"format {kind} needs to know the architecture of the image", todo="state it in the task: architecture: amd64, or arm64")
    if about["schema_version"] is not None and about["cloud"] != launch_metadata.OCI:
        raise ImageError(f"schema_version does not go with cloud {about['cloud']}",
                         todo=f"leave schema_version out; it is for cloud: {launch_metadata.OCI} only")
    return launch_metadata.launch_metadata(**dict(about, architecture=architectures.image_name(about["architecture"])))


def job_options(wanted):
    """What of the convert.Options a convert.Recipe decides."""
    text = launch_metadata.encoded(wanted.metadata).decode() if wanted.metadata else None
    return dict(vars(wanted), metadata=text)


def default_name(src, target):
    stem, suffix = os.path.splitext(os.path.basename(src))
    return (stem if suffix in (".img", *disk_formats.SUFFIXES) else stem + suffix) + FORMATS[target].suffix


def refuse_source(m, src, dest):
    """ImageError where writing the destination would change the source."""
    old = m.record(dest)
    goes = [dest] + [os.path.join(os.path.dirname(dest), extent["name"]) for extent in (old.extents if old else [])]
    if any(m.same(path, src) for path in goes):
        raise ImageError("the destination is the source", dest, "choose another dest: the source is never changed")


def source_is(m, held, record, verify):
    """Whether the source is the one that the record tells of. Reads only what was touched since, and notes the touch."""
    if isinstance(held, WorkspaceSource):
        return record.source == {"files": [held.record.sha256]}
    src = held.path
    files, folder = record.values.get("source_files") or [], os.path.dirname(src)
    noted = []
    try:
        for number, known in enumerate(files):
            path = os.path.join(folder, known["name"]) if number else src
            status = digests.stat_of(path)
            if verify or status != known["stat"]:
                mine = examine(path, verify, m.progress, readonly=True)[0]
                digest = mine.sha256 if mine else digests.digest_file(path, known["sha256"], m.progress)
                if digest != known["sha256"]:
                    return False
            noted.append(dict(known, stat=status))
    except FileNotFoundError:
        return False
    except OSError as error:
        raise from_os_error(error, "reading the source image", src) from error
    if not files or record.source != {"files": [known["sha256"] for known in files]}:
        return False
    record.values["source_files"] = noted
    return True


def returned(record, dest):
    """The values that a run tells of the image at `dest`."""
    plain = not record.sha256.startswith(digests.SPARSE_PREFIX)
    values = {name: record.values.get(name) for name in ("subformat", "compression", "size", "extents", "verified")}
    return dict(values, path=dest, dest=dest, format=record.format, virtual_size=record.virtual_size, digest=record.sha256,
                sha256=record.sha256 if plain else None, **told(record))


def told(record):
    """{"metadata": of an archive}, nothing of an image."""
    return {name: record.options[name] for name in ("metadata",) if name in record.options}


def beside(dest):
    """The place of a staging folder, where none is needed: only its file system is looked at."""
    return Staging(os.path.join(os.path.dirname(dest), ".none"), None)


def keep(m, held, dest, record, wanted):
    """The image is up to date: prove what is not proven yet, and bring the record up to date."""
    before = m.record(dest)
    if m.params["verify"] and not record.values.get("verified"):
        m.build("convert", dict(job_options(wanted), src=held.path, read_path=held.read_path, name=os.path.basename(dest), existing=dest), beside(dest))
        record.values["verified"] = True
    if not m.check and before and record.values != before.values:
        m.write_record(dest, record)


def body(m):
    params = m.params
    wanted = recipe(params)
    options = without_defaults(wanted)
    src = m.source(params["src"])
    held = m.hold_open(src)
    dest = m.destination(params["dest"], default_name(src, params["format"]))
    refuse_source(m, src, dest)
    record, reason = m.current(dest)
    if record and (record.kind, record.options) != (_KIND, options):
        record, reason = None, "it was made with other options"
    elif record and not source_is(m, held, record, params["verify"]):
        record, reason = None, "its source has changed"
    if record:
        keep(m, held, dest, record, wanted)
        return dict(returned(record, dest), changed=m.attributes(dest, False))

    work = dict(job_options(wanted), src=src, read_path=held.read_path, name=os.path.basename(dest), verify=params["verify"])
    before = m.record(dest)
    values = {"subformat": wanted.subformat, "verified": params["verify"],
              "compression": FORMATS[wanted.format].own_compression(wanted.subformat) or wanted.compression}
    if m.check:
        m.dry_run()
        result = m.build("convert", work, beside(dest))
        source = {"files": [file["sha256"] for file in result.values["source_files"]]}
        after = Record(_KIND, source, options, "", wanted.format, result.values["virtual_size"], {})
        answer = dict(values, path=dest, dest=dest, format=wanted.format, virtual_size=after.virtual_size, **told(after))
    else:
        with m.staging(dest) as staging:
            result = m.build("convert", work, staging)
            made, = result.artifacts
            # another host has another inode
            result.values["source_files"][0]["stat"] = held.stat
            source = {"files": [file["sha256"] for file in result.values["source_files"]]}
            values.update(size=made.size, extents=made.values["extents"], source_files=result.values["source_files"])
            after = Record(_KIND, source, options, made.sha256, made.format, made.virtual_size, values)
            m.publish(made, dest, after)
        answer = returned(after, dest)
    for warning in result.values["warnings"]:
        m.warn(warning)
    answer.update(changed=True, reason=reason)
    if m.wants_diff:
        answer["diff"] = m.diff(before, after, dest, convert.Recipe)
    return answer


def main():
    run_module(dict(
        ARTIFACT_SPEC,
        **BUILDER_SPEC,
        src=dict(type="path", required=True),
        src_format=dict(choices=list(IMAGES), default="qcow2"),
        dest=dict(type="path", required=True),
        format=dict(choices=list(FORMATS), required=True),
        compression=dict(choices=["none", *disk_formats.COMPRESSIONS], default="none"),
        subformat=dict(choices=list(disk_formats.SUBFORMATS)),
        adapter_type=dict(choices=list(disk_formats.ADAPTERS)),
        hwversion=dict(type="int"),
        architecture=dict(choices=list(architectures.EITHER_NAMES)),
        cloud=dict(choices=[launch_metadata.OCI, launch_metadata.PCA]),
        operating_system=dict(),
        operating_system_version=dict(),
        shapes=dict(type="list", elements="str"),
        schema_version=dict(),
    ), body)


if __name__ == "__main__":
    main()
