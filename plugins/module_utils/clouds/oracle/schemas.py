# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The capability schema of an image: what of firmware, launch mode and devices instances of it may have. The import itself cannot set it."""

from __future__ import annotations

import functools

from ...common.errors import ImageError
from . import faults, images, sdk
from .changes import Change

_PARAVIRTUALIZED = "PARAVIRTUALIZED"
#: the one value that each capability of our images has; with another firmware they do not boot
CAPABILITIES = {
    "Compute.Firmware": "UEFI_64",
    "Compute.LaunchMode": _PARAVIRTUALIZED,
    "Storage.BootVolumeType": _PARAVIRTUALIZED,
    "Storage.RemoteDataVolumeType": _PARAVIRTUALIZED,
    "Storage.LocalDataVolumeType": _PARAVIRTUALIZED,
    "Network.AttachmentType": _PARAVIRTUALIZED,
}
_NAME = "ocne.images"


class Schemas:
    """The capability schemas of a Session. retry_seconds: how long each request is tried. Raises CloudFault."""

    def __init__(self, session, retry_seconds=faults.RETRY_SECONDS):
        self._oci, self._compute = sdk.load(), session.compute()
        self._ask, self._pages = (functools.partial(function, retry_seconds=retry_seconds) for function in (faults.call, faults.pages))

    def current_version(self):
        """The name of the current version of the global schema, which those of images narrow. Raises ImageError where there is none."""
        for known in self._pages(self._compute.list_compute_global_image_capability_schemas, doing="looking for the global capability schema"):
            return known.current_version_name
        raise ImageError("the cloud has no global capability schema", todo="import a .oci archive, which says by itself how its image is launched")

    def of(self, image):
        """{capability: {"values", "default"}} of an image (OCID); None where it has no schema."""
        schema = self._find(image)
        return None if schema is None else _plain(schema.schema_data)

    def ensure(self, image, check_mode=False, capabilities=None):
        """Have an image (dictionary) its schema: made where it has none, corrected where it differs, else only read (Change).

        Capabilities that somebody else has set stay. So does the version that a schema was made with, which cannot be changed: each knows ours.
        """
        identity, wanted = image["id"], self._descriptors(CAPABILITIES if capabilities is None else capabilities)
        schema = self._find(identity)
        before = _plain(schema.schema_data) if schema else {}
        after = {**before, **_plain(wanted)}
        if before == after:
            return Change(before, after)
        if not check_mode and schema is None:
            self._create(image, wanted)
        elif not check_mode:
            details = self._oci.core.models.UpdateComputeImageCapabilitySchemaDetails(schema_data={**schema.schema_data, **wanted})
            self._ask(self._compute.update_compute_image_capability_schema, schema.id, details,
                      doing="correcting the capability schema of the image", where=identity)
        return Change(before, after)

    def _find(self, image):
        """The schema with its data, or None."""
        for summary in self._pages(self._compute.list_compute_image_capability_schemas, image_id=image,
                                   doing="looking for the capability schema of the image", where=image):
            return self._ask(self._compute.get_compute_image_capability_schema, summary.id, doing="reading the capability schema of the image",
                             where=image).data
        return None

    def _create(self, image, wanted):
        details = self._oci.core.models.CreateComputeImageCapabilitySchemaDetails(
            compartment_id=image["compartment_id"], image_id=image["id"], display_name=_NAME, schema_data=wanted,
            compute_global_image_capability_schema_version_name=self.current_version())
        self._ask(self._compute.create_compute_image_capability_schema, details, opc_retry_token=images.new_token(),
                  doing="giving the image its capability schema", where=image["id"])

    def _descriptors(self, capabilities):
        kind = self._oci.core.models.EnumStringImageCapabilitySchemaDescriptor
        return {name: kind(source="IMAGE", values=[value], default_value=value) for name, value in capabilities.items()}


def _plain(data):
    """Descriptors as data that can be compared and shown."""
    return {name: {"values": sorted(getattr(about, "values", None) or [], key=str), "default": about.default_value}
            for name, about in sorted((data or {}).items())}
