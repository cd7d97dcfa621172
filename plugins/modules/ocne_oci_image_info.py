#!/usr/bin/python
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tells of custom images of Oracle Cloud Infrastructure."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ocne_oci_image_info
short_description: Tell of custom images in Oracle Cloud Infrastructure
version_added: 0.1.0
author:
  - ocne.images contributors (@oracle-cne)
description:
  - Tells which custom images are in a compartment, or of one image by its OCID, with the shapes that instances of it may have, and with its capability
    schema, which says among other things whether it boots by UEFI.
  - Only read requests are made. Images of the platform, and those of compartments below the one that is named, are left out.
  - What is not there is no error, the list of images is empty then. Neither is it told apart from what the user may not see, as the cloud does not tell it.
extends_documentation_fragment:
  - ocne.images.attributes.info
  - ocne.images.oracle
options:
  compartment:
    description:
      - The compartment of the images, by its OCID or by its path from the tenancy, such as V(parent/child).
      - Either this or O(image_id) is needed.
    type: str
  image_id:
    description:
      - The OCID of an image. One that was removed is still told for a while, as V(DELETED).
    type: str
  display_name:
    description:
      - Only images of this name.
    type: str
  freeform_tags:
    description:
      - Only images that have all of these freeform tags.
    type: dict
  lifecycle_state:
    description:
      - Only images in this state. Without it all but those that are V(DELETED).
    type: str
    choices: [PROVISIONING, IMPORTING, AVAILABLE, EXPORTING, DISABLED, DELETED]
  details:
    description:
      - Whether shapes and capability schema are told, too. They take up to three requests for each image, or more where lists have several pages.
    type: bool
    default: true
notes:
  - With O(compartment) as OCID and O(details=false) a thousand images take one request.
seealso:
  - module: ocne.images.ocne_oci_image_import
"""

EXAMPLES = r"""
- name: Which images are ready
  ocne.images.ocne_oci_image_info:
    compartment: kubernetes/images
    lifecycle_state: AVAILABLE
    details: false
  register: ready

- name: The Arm images of this version, the newest first, with their shapes
  ocne.images.ocne_oci_image_info:
    compartment: kubernetes/images
    display_name: ock
    freeform_tags:
      ocne/architecture: arm64
      ocne/kubernetes: "1.33"
    config_profile_name: DEFAULT
  register: found

- name: One image
  ocne.images.ocne_oci_image_info:
    image_id: "{{ found.images[0].id }}"
  register: one

- name: It boots by UEFI
  ansible.builtin.assert:
    that:
      - one.images[0].capability_schema['Compute.Firmware']['values'] == ['UEFI_64']
"""

RETURN = r"""
compartment_id:
  description: The OCID of O(compartment).
  returned: with O(compartment)
  type: str
  sample: ocid1.compartment.oc1..aaaaaaaaexample
images:
  description:
    - The images, the newest first, with the names of Oracle's API for all that it tells. Some of that is below.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: The OCID of the image.
      type: str
      sample: ocid1.image.oc1.iad.aaaaaaaaexample
    display_name:
      description: Its name.
      type: str
      sample: ock
    compartment_id:
      description: The OCID of its compartment.
      type: str
      sample: ocid1.compartment.oc1..aaaaaaaaexample
    lifecycle_state:
      description: V(PROVISIONING) and V(IMPORTING) are those of an image that is still to come, V(AVAILABLE) and V(EXPORTING) those of one that is ready.
      type: str
      sample: AVAILABLE
    time_created:
      description: When it was made (RFC 3339).
      type: str
      sample: "2026-01-31T12:00:00.512000+00:00"
    operating_system:
      description: What it says of its operating system.
      type: str
      sample: Oracle Linux
    operating_system_version:
      description: What it says of the version of that.
      type: str
      sample: "8"
    size_in_mbs:
      description: The size of its disk in MiB, or null while it is not known.
      type: int
      sample: 15360
    launch_mode:
      description: How instances of it are launched.
      type: str
      sample: PARAVIRTUALIZED
    launch_options:
      description: The same in parts. The firmware here is that of the import, that of the capability schema is what counts.
      type: dict
      sample: {"firmware": "BIOS", "boot_volume_type": "PARAVIRTUALIZED"}
    freeform_tags:
      description:
        - Its freeform tags. C(ocne/architecture) is V(amd64) or V(arm64), and C(ocne/kubernetes) the version of Kubernetes that it is for, as C(ocne) has
          them, too.
        - By three more M(ocne.images.ocne_oci_image_import) knows again what it has imported. C(ocne-images/recipe) is a digest of all that decides
          what is in the image, from the record beside its file, C(ocne-images/content) the SHA-256 of the file, and C(ocne-images/source) a digest of
          the object or address that an image without a file came from.
      type: dict
      sample: {"ocne/architecture": "arm64", "ocne/kubernetes": "1.33"}
    defined_tags:
      description: Its defined tags, by namespace and key.
      type: dict
      sample: {"Operations": {"CostCenter": "42"}}
    capability_schema:
      description:
        - With O(details), the capabilities that the schema of the image sets, each with its values and its default. Null where it has no schema, as while it
          is imported.
      type: dict
      sample: {"Compute.Firmware": {"values": ["UEFI_64"], "default": "UEFI_64"}}
    shapes:
      description: With O(details), the shapes of instances that it may be launched on, none while it is imported.
      type: list
      elements: str
      sample: [BM.Standard.A1.160, VM.Standard.A1.Flex, VM.Standard.A2.Flex]
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

from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle import images
from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle.faults import CloudFault
from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle.identity import compartment, region_of
from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle.schemas import Schemas
from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle.session import SPEC, Session
from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle.shapes import Shapes
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.task.module import run_module

#: what can be asked for beside a compartment
FILTERS = ("display_name", "freeform_tags", "lifecycle_state")


def by_identity(session, known, identity):
    """The image of an OCID in a list, or an empty list. Raises ImageError for one of another region, which is not to be seen from this one."""
    image = known.get(identity)
    region = None if image else region_of(identity)
    if region not in (None, session.region):
        raise ImageError(f"the image is one of the region {region}, and that of the task is {session.region}", identity, f"set region to {region}")
    return [image] if image else []


def with_details(m, session, known, found):
    """Images (dictionaries of images.Images) with their schemas and shapes."""
    schemas, shapes, told = Schemas(session), Shapes(session), []
    m.progress.phase("read shapes and schemas", len(found), "steps")
    for number, image in enumerate(found):
        try:
            # before it is there it has none
            there = image["lifecycle_state"] not in (*images.COMING, images.DELETED)
            told.append(dict(image, shapes=shapes.of(image["id"]) if there else [], capability_schema=schemas.of(image["id"]) if there else None))
        except CloudFault as fault:
            # it was removed meanwhile; what is there, and its details may not be seen, is a fault
            now = known.get(image["id"]) if fault.missing else image
            if now and now["lifecycle_state"] != images.DELETED:
                raise
        m.progress.update(number + 1)
    return told


def body(m):
    params, answer = m.params, {"changed": False}
    session = Session(params)
    m.mask(session.secrets)
    known = images.Images(session)
    if params["image_id"]:
        found = by_identity(session, known, params["image_id"])
    else:
        answer["compartment_id"] = compartment(session, params["compartment"])
        tags = {key: str(value) for key, value in (params["freeform_tags"] or {}).items()}
        found = known.find(answer["compartment_id"], params["display_name"], tags, params["lifecycle_state"])
    return dict(answer, images=with_details(m, session, known, found) if params["details"] else found)


def main():
    run_module(dict(
        SPEC,
        compartment=dict(type="str"),
        image_id=dict(type="str"),
        display_name=dict(type="str"),
        freeform_tags=dict(type="dict"),
        lifecycle_state=dict(type="str", choices=[*images.COMING, *images.USABLE, "DISABLED", images.DELETED]),
        details=dict(type="bool", default=True),
    ), body, files=False, required_one_of=[("compartment", "image_id")],
        mutually_exclusive=[("image_id", name) for name in ("compartment", *FILTERS)])


if __name__ == "__main__":
    main()
