#!/usr/bin/python
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Makes a custom image of Oracle Cloud Infrastructure of an image file."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ocne_oci_image_import
short_description: Import an image file to Oracle Cloud Infrastructure as a custom image
version_added: 0.1.0
author:
  - ocne.images contributors (@oracle-cne)
description:
  - Makes a custom image of an image file, from which instances are launched. The file is uploaded to Object Storage in parts and in parallel,
    and imported from there. The image gets a capability schema that says UEFI, the shapes of its architecture, and tags. The object is
    removed again.
  - Does nothing where the compartment has an image of the same recipe (as the record beside O(src) tells it) or, where there is no record,
    of the same content. What has drifted (name, tags, schema, shapes) is corrected in place.
  - A run that was stopped, killed or cut off is gone on with by the next one, which sends no part again that the service has, and imports nothing twice.
    What is under way is written down beside O(src), in a hidden folder whose name ends in C(.ocne-import), or in C(~/.local/state/ocne-images) where
    that folder cannot be written.
  - With O(state=absent), removes custom images.
requirements:
  - The Python package C(oci), Oracle's SDK, for the interpreter of the module host
extends_documentation_fragment:
  - ocne.images.oracle
  - ocne.images.builder
  - ocne.images.attributes
options:
  state:
    description: Whether the image is to be there.
    type: str
    choices: [present, absent]
    default: present
  src:
    description:
      - The image file, on the host where the module runs. It is not changed. One of O(src), O(object) and O(url) is needed with O(state=present).
      - With a builder pod in O(builder), the pod sends the file, by an address that is good for this one object for a limited time. C(workspace:NAME)
        names an image that an earlier task has left in the pod.
    type: path
  object:
    description: An object that is there already. It is never removed.
    type: dict
    suboptions:
      bucket:
        description: Its bucket.
        type: str
        required: true
      name:
        description: Its name.
        type: str
        required: true
      namespace:
        description: The namespace of the bucket. The default is that of the tenancy.
        type: str
  url:
    description:
      - The address of an object, or of a pre-authenticated request that reads one. It is kept secret.
      - An image that was imported from an address is known by it, without the secret part. For another content at the same address use O(force).
    type: str
  src_format:
    description:
      - The format of the image. Another one than a file has is an error. Of a VMDK, V(monolithicSparse) and V(streamOptimized) are imported.
      - V(pca_archive) is the C(.oci) archive that M(ocne.images.ocne_image_convert) makes, the only one for a Private Cloud Appliance. It says
        by itself how instances are launched.
    type: str
    choices: [qcow2, vmdk, pca_archive]
    default: qcow2
  architecture:
    description: The processor architecture of the image. V(x86_64) means V(amd64), V(aarch64) means V(arm64). Needed with O(state=present).
    type: str
    choices: [amd64, arm64, x86_64, aarch64]
  compartment:
    description:
      - The compartment of the image, by its OCID or by its path from the tenancy, such as C(parent/child).
      - Needed, unless O(image_id) says which image.
    type: str
  bucket:
    description: The bucket for the object.
    type: str
    default: ocne-images
  create_bucket:
    description: Make the bucket, in O(compartment), where there is none.
    type: bool
    default: false
  display_name:
    description: The name of the image. With O(state=absent), of the images to remove.
    type: str
    default: ock
  kubernetes_version:
    description: The version of Kubernetes that the image is for, which becomes its tag C(ocne/kubernetes).
    type: str
  operating_system:
    description: What the image says of its operating system.
    type: str
    default: Oracle Linux
  operating_system_version:
    description: What the image says of the version of its operating system.
    type: str
    default: "8"
  launch_mode:
    description: How instances are launched. It is told at the import, and cannot be changed later. Arm images have only V(PARAVIRTUALIZED).
    type: str
    choices: [PARAVIRTUALIZED, NATIVE, EMULATED]
    default: PARAVIRTUALIZED
  capability_schema:
    description:
      - Whether the image gets a capability schema that says UEFI and paravirtualized devices. Without it the image does not boot.
      - It is not used with O(src_format=pca_archive).
    type: bool
    default: true
  add_shapes:
    description: Names of shapes that the image is to have, beside those of its architecture.
    type: list
    elements: str
    default: []
  remove_shapes:
    description: Names of shapes that the image is not to have.
    type: list
    elements: str
    default: []
  freeform_tags:
    description:
      - Tags of the image, beside those of this collection (C(ocne/architecture), C(ocne/kubernetes), C(ocne-images/recipe),
        C(ocne-images/content), C(ocne-images/source)). Tags that are not named here stay as they are.
      - With O(state=absent), only images that have all of these are removed.
    type: dict
    default: {}
  defined_tags:
    description: Defined tags of the image, by namespace and key. Those that are not named here stay as they are.
    type: dict
    default: {}
  parallel_uploads:
    description: How many parts are sent at once.
    type: int
    default: 8
  part_size:
    description: The size of a part in bytes. The default is 16 MiB, or more where that would make too many of them.
    type: int
  keep_object:
    description: Whether the object stays in the bucket after the import. A later import of the same content uses it.
    type: bool
    default: false
  adopt_after:
    description:
      - The age in hours from which an object or an unfinished upload of the same content in O(bucket) counts as left behind where another host's run has
        begun it. It is gone on with, or removed. What this host has begun is known beside O(src), whatever its age.
    type: float
    default: 6
  wait:
    description:
      - Whether to wait until the image is ready. If not, the run ends when the import has begun, and the next run of the same task goes on
        with waiting, and then with schema, shapes and clean-up.
    type: bool
    default: true
  wait_timeout:
    description: How long to wait for the import, or for the removal of an image, in seconds. The import goes on in the cloud, and the next run waits again.
    type: int
    default: 3600
  wait_interval:
    description: How often the cloud is asked how far it is, in seconds.
    type: int
    default: 10
  retry_seconds:
    description: For how long a request is made again where that may help (too many requests, trouble in the cloud, a broken connection), in seconds.
    type: int
    default: 300
  force:
    description: Import the image, whatever is there already.
    type: bool
    default: false
  verify:
    description: Read the file and compare it with the checksum in its record, also where size and times say that it was not touched.
    type: bool
    default: false
  image_id:
    description: The OCID of the image to remove. Only with O(state=absent).
    type: str
  keep:
    description:
      - How many of the images of O(display_name) and O(freeform_tags) to keep with O(state=absent), the newest ones. Images that are
        still being imported are left alone then.
    type: int
    default: 0
notes:
  - With O(state=absent) and without O(image_id), only images with the tag C(ocne/architecture) count, as this collection and C(ocne) give it.
  - In check mode only read requests are made.
seealso:
  - module: ocne.images.ocne_image_customize
  - module: ocne.images.ocne_image_convert
  - module: ocne.images.ocne_oci_image_info
"""

EXAMPLES = r"""
- name: The image of this version, in the compartment images of the compartment kubernetes
  ocne.images.ocne_oci_image_import:
    src: /srv/images/boot.qcow2-1.33-amd64.oci
    architecture: amd64
    kubernetes_version: "1.33"
    compartment: kubernetes/images
    create_bucket: true
  register: imported

- name: An Arm image of a fixed set of shapes, with a login of its own
  ocne.images.ocne_oci_image_import:
    src: /srv/images/boot.qcow2-1.33-arm64.oci
    architecture: arm64
    compartment: kubernetes/images
    display_name: ock-arm64
    remove_shapes: [BM.Standard.A1.160]
    defined_tags: {Operations: {CostCenter: "42"}}
    config_file_location: ~/.oci/config
    config_profile_name: DEFAULT

- name: Begin an import and do not wait
  ocne.images.ocne_oci_image_import:
    src: /srv/images/boot.vmdk
    src_format: vmdk
    architecture: amd64
    compartment: kubernetes/images
    display_name: ock-vmdk
    wait: false

- name: An object that is there already
  ocne.images.ocne_oci_image_import:
    object: {bucket: golden, name: boot.qcow2}
    architecture: amd64
    compartment: kubernetes/images
    display_name: ock-golden

- name: Keep the two newest images
  ocne.images.ocne_oci_image_import:
    state: absent
    compartment: kubernetes/images
    display_name: ock
    freeform_tags: {ocne/architecture: amd64}
    keep: 2

- name: Remove one image
  ocne.images.ocne_oci_image_import:
    state: absent
    image_id: "{{ imported.image_id }}"
"""

RETURN = r"""
image_id:
  description: The OCID of the image; null in check mode where it is not there yet.
  returned: with O(state=present)
  type: str
  sample: ocid1.image.oc1.iad.aaaaaaaaexample
image:
  description: The image as Oracle's SDK tells of it.
  returned: with O(state=present), where it is there
  type: dict
  sample: {"display_name": "ock", "lifecycle_state": "AVAILABLE"}
lifecycle_state:
  description: Its state. V(PROVISIONING) and V(IMPORTING) are those of one that is still to come.
  returned: with O(state=present), where it is there
  type: str
  sample: AVAILABLE
compartment_id:
  description: The OCID of the compartment.
  returned: where a compartment is given
  type: str
  sample: ocid1.compartment.oc1..aaaaaaaaexample
work_request_id:
  description: The OCID of the work request of the import, or null where this run has begun none.
  returned: with O(state=present)
  type: str
  sample: ocid1.coreservicesworkrequest.oc1.iad.aaaaaaaaexample
object:
  description: The object that the image was imported from. It is gone unless O(keep_object).
  returned: where this run has imported from an object of a bucket
  type: dict
  sample: {"namespace": "example", "bucket": "ocne-images", "name": "ocne-images/9f86d0.../5ccd4d0d1b6a1f0e.qcow2"}
uploaded:
  description: Bytes that this run has sent.
  returned: with O(state=present)
  type: int
  sample: 535822336
not_sent_again:
  description: Bytes that the cloud had already, of a run before.
  returned: with O(state=present)
  type: int
  sample: 0
content:
  description: SHA-256 of the file, which is the tag C(ocne-images/content); null where there is no file.
  returned: with O(state=present)
  type: str
  sample: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
capability_schema:
  description: The capabilities of the image, each with its values and its default.
  returned: where the image is ready and has one of this collection
  type: dict
  sample: {"Compute.Firmware": {"values": ["UEFI_64"], "default": "UEFI_64"}}
shapes:
  description: The shapes of the image.
  returned: where the image is ready
  type: list
  elements: str
  sample: [VM.Standard.A1.Flex, VM.Standard.A2.Flex, BM.Standard.A1.160]
corrected:
  description: What was corrected, or would be in check mode - image (name, tags, operating system), capability_schema, shapes.
  returned: with O(state=present)
  type: list
  elements: str
  sample: []
removed:
  description: The OCIDs of the images that were removed, or would be in check mode.
  returned: with O(state=absent)
  type: list
  elements: str
  sample: []
reason:
  description: Why an image was imported, or would be in check mode.
  returned: when an image is imported
  type: str
  sample: there is no such image in the compartment
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

import json
import os
import re

from ansible_collections.ocne.images.plugins.module_utils.artifact.record import examine
from ansible_collections.ocne.images.plugins.module_utils.artifact.source import WorkspaceSource, identity
from ansible_collections.ocne.images.plugins.module_utils.artifact.staging import Staging
from ansible_collections.ocne.images.plugins.module_utils.builders.kubernetes.options import BUILDER_SPEC
from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle.identity import compartment
from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle.session import SPEC, Session
from ansible_collections.ocne.images.plugins.module_utils.common.canonical import digest_of
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.platforms import architectures
from ansible_collections.ocne.images.plugins.module_utils.targets import oracle_formats
from ansible_collections.ocne.images.plugins.module_utils.targets.base import Image
from ansible_collections.ocne.images.plugins.module_utils.targets.journal import Journal
from ansible_collections.ocne.images.plugins.module_utils.targets.oracle import OracleCloud, Settings
from ansible_collections.ocne.images.plugins.module_utils.targets.oracle_object import Terms
from ansible_collections.ocne.images.plugins.module_utils.task.module import run_module
from ansible_collections.ocne.images.plugins.module_utils.work import send
from ansible_collections.ocne.images.plugins.module_utils.work.disk import headers, oci_archive

_HOUR = 3600   # seconds
#: option -> the least that it can be
_LEAST = {"parallel_uploads": 1, "part_size": 1, "adopt_after": 0, "wait_timeout": 0, "wait_interval": 1, "retry_seconds": 0, "keep": 0}


# --- which image ---------------------------------------------------------------------------------


def facts_of(path, kind, where):
    """(what the header of a file says, its size in bytes), as targets.base.Image has them. Raises ImageError."""
    if kind == "pca_archive":
        header = oci_archive.read(path, where).header
    else:
        header = headers.read_header(path, kind, where, allow_backing=kind == "qcow2")
    return {name: getattr(header, name) for name in ("subformat", "compression_type", "virtual_size", "backing_file")}, os.path.getsize(path)


def facts_in_pod(m, held, kind):
    """The same of an image in the workspace of a builder pod."""
    if kind == "pca_archive":   # made there by our own hand
        return {}, held.record.values["size"]
    told = m.build("inspect", {"src": held.path, "src_format": kind, "contents": False}, Staging("", None)).values
    return told, told["file_size"]


def file_image(m, architecture):
    """targets.base.Image of src."""
    kind, held = m.params["src_format"], m.hold_open(m.source(m.params["src"]))
    if isinstance(held, WorkspaceSource):
        facts, size = facts_in_pod(m, held, kind)
        return Image(held.path, kind, architecture, facts, size, held.record.sha256, held.record.recipe)
    # the extents that a VMDK names are beside its path
    facts, size = facts_of(held.path if kind == "vmdk" else held.read_path, kind, held.path)
    record = examine(held.path, m.params["verify"], m.progress, readonly=m.check)[0]
    content = identity(held.path, m.progress, read_path=held.read_path)
    return Image(held.path, kind, architecture, facts, size, content, record and record.recipe, read_path=held.read_path)


def image_of(m, session):
    """targets.base.Image of the task. Raises ImageError."""
    params, architecture = m.params, architectures.image_name(m.params["architecture"])
    if params["src"]:
        return file_image(m, architecture)
    if params["object"]:
        named = {name: value for name, value in params["object"].items() if value is not None}
        return Image(f"{named['bucket']}/{named['name']}", params["src_format"], architecture, source=digest_of(dict(named, region=session.region)))
    plain = re.sub(r"/p/[^/]+/", "/p/-/", params["url"])
    return Image(plain, params["src_format"], architecture, source=digest_of({"url": plain}))


# --- present -------------------------------------------------------------------------------------


def target_of(m, session, image):
    """The OracleCloud for an image; None as image: for removing."""
    params, taken = m.params, m.params["object"] or {}
    place = compartment(session, params["compartment"], params["retry_seconds"]) if params["compartment"] else None
    terms = Terms(
        taken.get("bucket") or params["bucket"], place if params["create_bucket"] else None, params["part_size"], params["parallel_uploads"],
        params["adopt_after"] * _HOUR, params["keep_object"], params["wait_timeout"])
    settings = Settings(
        place, terms, params["display_name"], params["kubernetes_version"], params["operating_system"], params["operating_system_version"],
        params["launch_mode"], params["freeform_tags"], params["defined_tags"], params["capability_schema"], params["add_shapes"],
        params["remove_shapes"], taken.get("namespace"), taken.get("name"), params["url"], params["force"], params["wait"], params["wait_timeout"],
        params["wait_interval"], params["retry_seconds"])
    journal = image and Journal(image.where if image.read_path else None, image.source or image.content)
    return OracleCloud(session, settings, journal, m.progress, sender(m, session, image) if m.remote and image and image.content else None, m.warn)


def sender(m, session, image):
    """The file goes to the cloud from the builder pod (targets.oracle_object.ImageObject, send)."""
    def send_it(url, part_size, there):
        m.mask(session.secrets)
        options = {"src": image.where, "read_path": image.read_path, "src_format": None if image.format == "pca_archive" else image.format, "url": url,
                   "part_size": part_size, "size": image.size, "there": there, "parallel": m.params["parallel_uploads"],
                   "connect_timeout": m.params["connect_timeout"], "read_timeout": m.params["read_timeout"], "retry_seconds": m.params["retry_seconds"],
                   "ca_cert": session.bundle}
        return send.numbered(m.build("send", options, Staging("", None)).values["md5s"])
    return send_it


def present(m, session):
    image = image_of(m, session)
    target = target_of(m, session, image)
    try:
        return make(m, target, image)
    finally:
        target.close()


def make(m, target, image):
    found = target.check(image)
    answer = {"image_id": None, "compartment_id": target.settings.compartment, "work_request_id": None, "uploaded": 0, "not_sent_again": 0,
              "content": image.content, "corrected": [], "changed": False}
    new = found is None
    if new:
        answer.update(changed=True, reason="force is set" if m.params["force"] else "there is no such image in the compartment")
    if m.check and new and m.remote:
        m.dry_run()
    if not m.check:
        target.take_up(image)
        found = found or bring(target, image, answer)
        if not found.ready and m.params["wait"]:
            found = target.wait(image, found)
            answer["changed"] = True
    changes = {}
    if found is not None and found.ready:
        found.image, changes = target.correct(image, found.image, m.check)
        answer.update({name: change.after for name, change in changes.items() if name != "image"})
        answer["corrected"] = [] if new else [name for name, change in changes.items() if change.changed]
        answer["changed"] |= bool(answer["corrected"])
        if not m.check:
            answer["changed"] |= target.finish()
    if found is not None:
        answer.update(image_id=found.image["id"], image=found.image, lifecycle_state=found.image["lifecycle_state"])
    if m.wants_diff:
        answer["diff"] = difference(m, *(sides(m, image, new, changes)))
    return answer


def bring(target, image, answer):
    """Upload and import; Found of the image, which may still be under way."""
    uploaded = target.upload(image)
    if uploaded.sent:
        answer.update(object=uploaded.sent.described(), uploaded=uploaded.sent.sent, not_sent_again=uploaded.sent.kept)
    begun = target.register(image, uploaded)
    answer["work_request_id"] = begun.work_request
    return begun


def sides(m, image, new, changes):
    """(before, after) of a diff: all of an image that is imported, and what changes of one that is there."""
    changed = {name: change for name, change in changes.items() if change.changed}
    after = {name: change.after for name, change in changed.items()}
    if new:
        named = {name: m.params[name] for name in ("display_name", "compartment", "kubernetes_version", "operating_system", "operating_system_version")}
        return {}, {**named, "source": image.where, "content": image.content, "architecture": image.architecture, **after}
    return {name: change.before for name, change in changed.items()}, after


def difference(m, before, after):
    def text(values):
        return json.dumps(values, indent=2, sort_keys=True, default=str) + "\n" if values else ""
    header = f"image {m.params['display_name']}"
    return {"before_header": header, "after_header": header, "before": text(before), "after": text(after)}


# --- absent --------------------------------------------------------------------------------------


def absent(m, session):
    target = target_of(m, session, None)
    found = target.unwanted(m.params["image_id"], m.params["freeform_tags"], m.params["keep"])
    if not m.check:
        for image in found:
            target.remove(image)
    answer = {"removed": [image["id"] for image in found], "changed": bool(found)}
    if target.settings.compartment:
        answer["compartment_id"] = target.settings.compartment
    if m.wants_diff:
        answer["diff"] = difference(m, {image["id"]: image["display_name"] for image in found}, {})
    return answer


def body(m):
    """One run: the values of exit_json."""
    params = m.params
    for name, least in _LEAST.items():
        if params[name] is not None and params[name] < least:
            raise ImageError(f"{name} is {params[name]}", todo=f"set it to {least} or more")
    if params["state"] == "present" and params["image_id"]:
        raise ImageError("image_id is for removing an image", todo="leave it out, or set state: absent")
    session = Session(params)
    try:
        return present(m, session) if params["state"] == "present" else absent(m, session)
    finally:
        m.mask(session.secrets)


def main():
    run_module(
        dict(
            SPEC,
            **BUILDER_SPEC,
            state=dict(choices=["present", "absent"], default="present"),
            src=dict(type="path"),
            object=dict(type="dict", options=dict(bucket=dict(type="str", required=True), name=dict(type="str", required=True),
                                                  namespace=dict(type="str"))),
            url=dict(type="str", no_log=True),
            src_format=dict(choices=list(oracle_formats.SOURCE_TYPES), default="qcow2"),
            architecture=dict(choices=list(architectures.EITHER_NAMES)),
            compartment=dict(type="str"),
            bucket=dict(type="str", default="ocne-images"),
            create_bucket=dict(type="bool", default=False),
            display_name=dict(type="str", default="ock"),
            kubernetes_version=dict(type="str"),
            operating_system=dict(type="str", default="Oracle Linux"),
            operating_system_version=dict(type="str", default="8"),
            launch_mode=dict(choices=list(oracle_formats.LAUNCH_MODES), default="PARAVIRTUALIZED"),
            capability_schema=dict(type="bool", default=True),
            add_shapes=dict(type="list", elements="str", default=[]),
            remove_shapes=dict(type="list", elements="str", default=[]),
            freeform_tags=dict(type="dict", default={}),
            defined_tags=dict(type="dict", default={}),
            parallel_uploads=dict(type="int", default=8),
            part_size=dict(type="int"),
            keep_object=dict(type="bool", default=False),
            adopt_after=dict(type="float", default=6),
            wait=dict(type="bool", default=True),
            wait_timeout=dict(type="int", default=3600),
            wait_interval=dict(type="int", default=10),
            retry_seconds=dict(type="int", default=300),
            force=dict(type="bool", default=False),
            verify=dict(type="bool", default=False),
            image_id=dict(type="str"),
            keep=dict(type="int", default=0),
        ), body, files=False,
        required_if=[("state", "present", ("compartment", "architecture")), ("state", "present", ("src", "object", "url"), True),
                     ("state", "absent", ("compartment", "image_id"), True)],
        mutually_exclusive=[("src", "object", "url")])


if __name__ == "__main__":
    main()
