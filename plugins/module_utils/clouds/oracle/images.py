# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Custom images: found, imported, waited for, renamed and tagged, removed. An image is a dictionary with the SDK's names of fields."""

from __future__ import annotations

import dataclasses
import functools
import re
import secrets

from ...common import advice
from ...common.errors import ImageError
from ...common.progress import silent
from . import faults, sdk, work_requests

#: tags that ocne gives, too
ARCHITECTURE, KUBERNETES = "ocne/architecture", "ocne/kubernetes"
#: digests by which an image is found again; a key of a tag has no period, so it is not ocne.images
RECIPE, CONTENT, SOURCE = "ocne-images/recipe", "ocne-images/content", "ocne-images/source"
#: states of an image that instances can be made of, and of one that is still to come; what is DISABLED or DELETED is neither
USABLE, COMING = ("AVAILABLE", "EXPORTING"), ("PROVISIONING", "IMPORTING")
DELETED = "DELETED"

# "Limits on Tags" in the tagging overview of the cloud's documentation
_FREEFORM_TAGS, _DEFINED_TAGS, _KEY = 10, 64, re.compile(r"[!-\-/-~]{1,100}")   # printable ASCII, neither space nor period
_VALUE = 256             # characters
_NAME = 255              # characters
_PAGE = 1000             # images; those of the platform are in the lists of every compartment, and are hundreds
#: of a retry token whose image has been removed since, or that was used for something else
_USED_UP = ("InvalidatedRetryToken", "InvalidRetryToken")


@dataclasses.dataclass
class Wanted:
    """An image that is to be imported.

    source: object_source() or uri_source(). source_image_type: "QCOW2", "VMDK", or None for a .oci archive. freeform: {key: value};
    defined: {namespace: {key: value}}.
    """

    compartment: str
    name: str
    source: dict
    source_image_type: str = None
    operating_system: str = None
    operating_system_version: str = None
    launch_mode: str = "PARAVIRTUALIZED"
    freeform: dict = dataclasses.field(default_factory=dict)
    defined: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Import:
    """One that has begun. work_request: its OCID, None where it is not known; created: whether it is ours, or was found."""

    image: dict
    work_request: str = None
    created: bool = True


def object_source(namespace, bucket, name):
    """An object, which the cloud reads as whoever asks for the import."""
    return {"namespace_name": namespace, "bucket_name": bucket, "object_name": name}


def uri_source(uri):
    """The https address of an object or of a pre-authenticated request, which is a secret."""
    return {"source_uri": uri}


def new_token():
    """A retry token, for one image that is wanted: for a day the cloud makes only one with it, however often it is asked."""
    return secrets.token_hex(16)


def needs_uri(fault):
    """Whether a CloudFault of create() is that of a principal for whom the cloud reads no object (an instance, a function)."""
    return fault.status == 400 and "objectName" in (fault.details.get("message") or "")


def check_names(name, freeform, defined):
    """Raises ImageError for a name or tags that the cloud does not accept, before anything is sent."""
    if not 1 <= len(name) <= _NAME:
        raise ImageError(f"the name of an image has 1 to {_NAME} characters, and this one has {len(name)}", todo="choose another display_name")
    if len(freeform) > _FREEFORM_TAGS:
        raise ImageError(f"there are {len(freeform)} freeform tags, and a resource has {_FREEFORM_TAGS} at most, those of ocne.images among them",
                         todo=f"leave some out; ocne.images needs {ARCHITECTURE}, {KUBERNETES}, {RECIPE}, {CONTENT} and {SOURCE}")
    for key in freeform:
        if not _KEY.fullmatch(key):
            raise ImageError(f"the key of a freeform tag cannot be {key!r}",
                             todo="use at most 100 characters, printable ones of ASCII, but no periods and spaces")
    if sum(len(values) for values in defined.values()) > _DEFINED_TAGS:
        raise ImageError(f"a resource has {_DEFINED_TAGS} defined tags at most", todo="leave some out")
    for tags in (freeform, *defined.values()):
        for key, value in tags.items():
            if len(str(value)) > _VALUE:
                raise ImageError(f"the value of tag {key} has {len(str(value))} characters", todo=f"use at most {_VALUE}")


def choose(images):
    """Of images that are as good as each other, newest first: one that is ready, else one that will be; None where there is none."""
    for states in (USABLE, COMING):
        for image in images:
            if image["lifecycle_state"] in states:
                return image
    return None


def drift(image, name=None, freeform=None, defined=None, **fields):
    """{field: value} of what update() has to change, {} where nothing. fields: others that an image can be told anew, operating_system, say.

    Tags that are not named here stay: the cloud adds its own, and so do other people.
    """
    changes = {field: value for field, value in dict(fields, display_name=name).items() if value is not None and image[field] != value}
    there = image["freeform_tags"] or {}
    if any(there.get(key) != value for key, value in (freeform or {}).items()):
        changes["freeform_tags"] = {**there, **freeform}
    there = image["defined_tags"] or {}
    merged = _with_defined(there, defined or {})
    if merged != there:
        changes["defined_tags"] = merged
    return changes


def _with_defined(there, wanted):
    """Defined tags with those that are wanted. Their namespaces and keys are the same in capitals, and a value is kept as text."""
    merged = {namespace: dict(values) for namespace, values in there.items()}
    for namespace, values in wanted.items():
        known = merged.setdefault(_same(merged, namespace), {})
        for key, value in values.items():
            key = _same(known, key)
            if str(known.get(key)) != str(value):
                known[key] = value
    return merged


def _same(names, wanted):
    return next((name for name in names if name.lower() == wanted.lower()), wanted)


class Images:
    """The custom images of a Session. retry_seconds: how long each request is tried. Raises CloudFault."""

    def __init__(self, session, retry_seconds=faults.RETRY_SECONDS):
        self._session, self._oci, self._compute = session, sdk.load(), session.compute()
        self._ask, self._pages = (functools.partial(function, retry_seconds=retry_seconds) for function in (faults.call, faults.pages))

    def find(self, compartment, name=None, tags=None, state=None):
        """Images of a compartment (OCID), newest first. tags: freeform ones that it must have. Without a state all but those that are DELETED."""
        query = {key: value for key, value in (("display_name", name), ("lifecycle_state", state)) if value is not None}
        found = [self._described(image) for image in
                 self._pages(self._compute.list_images, compartment, limit=_PAGE, doing="listing the images", where=compartment, **query)]
        return _selected(found, compartment, tags or {})

    def get(self, identity, retry_seconds=None):
        """An image by its OCID, None where there is none. One that was removed is still shown for a while, as DELETED."""
        try:
            answer = self._ask(self._compute.get_image, identity, doing="looking for the image", where=identity,
                               **({} if retry_seconds is None else {"retry_seconds": retry_seconds}))
        except faults.CloudFault as fault:
            if fault.missing:
                return None
            raise
        return self._described(answer.data)

    def create(self, wanted, token, same=None):
        """Have an image imported (Import). token: new_token(), the same one for each try to get this image.

        same: freeform tags by which one that is as good is looked for first; so there is no second one of a run that ended before it got its answer.
        """
        before = choose(self.find(wanted.compartment, tags=same)) if same else None
        if before:
            return Import(before, created=False)
        models = self._oci.core.models
        kind = models.ImageSourceViaObjectStorageUriDetails if "source_uri" in wanted.source else models.ImageSourceViaObjectStorageTupleDetails
        source = kind(source_image_type=wanted.source_image_type, operating_system=wanted.operating_system,
                      operating_system_version=wanted.operating_system_version, **wanted.source)
        details = models.CreateImageDetails(
            compartment_id=wanted.compartment, display_name=wanted.name, launch_mode=wanted.launch_mode, image_source_details=source,
            freeform_tags=wanted.freeform, defined_tags=wanted.defined)
        try:
            answer = self._create(details, token)
        except faults.CloudFault as fault:
            if fault.code not in _USED_UP:
                raise
            answer = self._create(details, new_token())
        return Import(self._described(answer.data), answer.headers.get("opc-work-request-id"))

    def _create(self, details, token):
        return self._ask(self._compute.create_image, details, opc_retry_token=token, doing="starting the import of the image",
                         where=details.display_name)

    def wait(self, image, patience, progress=None, work_request=None):
        """The image when it is ready; as it is, where it was that already. work_request: as create() has told; looked for where it is not known.

        progress: in percent where there is a work request. Raises work_requests.Ended where the import does not succeed,
        work_requests.NotYet where the time is over, ImageError for an image that is gone.
        """
        if work_request is None and image["lifecycle_state"] in USABLE:
            return image
        identity, progress, succeeded = image["id"], progress or silent(), False
        try:
            if work_request is None:
                work_request = work_requests.latest(self._session, image["compartment_id"], identity)
            if work_request:
                succeeded = bool(work_requests.follow(self._session, work_request, patience, progress, work_requests.IMPORTING, identity))
        except faults.CloudFault as fault:
            # the cloud forgets work requests after a while, and a policy may not show them; the image itself tells enough
            if not fault.missing:
                raise
        if not succeeded:
            progress.phase(work_requests.IMPORTING)
        while True:
            now = self.get(identity, max(1, patience.left))
            state = now["lifecycle_state"] if now else DELETED
            if state in USABLE:
                return now
            if state not in COMING:
                raise ImageError(f"the image is {state}: " + ("somebody has changed that since its import" if succeeded else
                                                              "its import has failed, or somebody has changed that"), identity, advice.RUN_AGAIN,
                                 image=identity, work_request=work_request, state=state)
            if not patience.left:
                raise work_requests.NotYet(f"the image is still {state} after {patience.timeout:.0f} s", identity,
                                           "run the task again, which goes on waiting, or raise wait_timeout", image=identity,
                                           work_request=work_request, percent=100.0 if succeeded else None, status=state)
            progress.update(0)
            patience.pause()

    def update(self, identity, changes):
        """Change an image in place, by what drift() says; the image after it."""
        details = self._oci.core.models.UpdateImageDetails(**changes)
        return self._described(self._ask(self._compute.update_image, identity, details, doing=f"changing {', '.join(sorted(changes))} of the image",
                                         where=identity).data)

    def delete(self, identity, patience):
        """Remove an image and wait until it is gone; False where there was none."""
        try:
            self._ask(self._compute.delete_image, identity, doing="removing the image", where=identity, found=lambda: self._gone(identity) or None)
        except faults.CloudFault as fault:
            if fault.missing:
                return False
            raise
        while not self._gone(identity):
            if not patience.left:
                raise work_requests.NotYet(f"the image is not gone after {patience.timeout:.0f} s", identity,
                                           "run the task again, or raise wait_timeout", image=identity)
            patience.pause()
        return True

    def _gone(self, identity):
        image = self.get(identity)
        return image is None or image["lifecycle_state"] == DELETED

    def _described(self, image):
        return self._oci.util.to_dict(image)


def _selected(images, compartment, tags):
    """Those of the compartment itself that have the tags, newest first."""
    own = [image for image in images if image["compartment_id"] == compartment
           and all((image["freeform_tags"] or {}).get(key) == value for key, value in tags.items())]
    return sorted(own, key=lambda image: image["time_created"], reverse=True)
