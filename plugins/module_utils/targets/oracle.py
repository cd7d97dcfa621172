# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Oracle's cloud as a target: an image file becomes a custom image that instances are launched from."""

from __future__ import annotations

import dataclasses

from ..clouds.oracle import images as images_of
from ..clouds.oracle import shapes
from ..clouds.oracle.changes import Change
from ..clouds.oracle.faults import CloudFault
from ..clouds.oracle.images import ARCHITECTURE, CONTENT, KUBERNETES, RECIPE, SOURCE, Wanted
from ..clouds.oracle.object_storage import Storage
from ..clouds.oracle.schemas import Schemas
from ..clouds.oracle.work_requests import NotYet, Patience, follow
from ..common.errors import ImageError
from ..common.progress import silent
from . import oracle_formats, oracle_object
from .base import Target

#: what an entry of the journal is known by: where its object and its image are
_PLACE = ("region", "compartment", "bucket")
_STRANGE = 3   # of one that has nothing to do with an image


@dataclasses.dataclass
class Settings:
    """What the image is to be. compartment: OCID. freeform, defined: tags beside ours.

    namespace, object_name: of an object that is there already (in terms.bucket), and uri: an address of one, instead of a file.
    timeout: seconds for the import. anew: whether an image that is as good does not matter.
    """

    compartment: str
    terms: oracle_object.Terms
    name: str = "ock"
    kubernetes: str = None
    operating_system: str = None
    operating_system_version: str = None
    launch_mode: str = "PARAVIRTUALIZED"
    freeform: dict = dataclasses.field(default_factory=dict)
    defined: dict = dataclasses.field(default_factory=dict)
    capability_schema: bool = True
    add_shapes: list = dataclasses.field(default_factory=list)
    remove_shapes: list = dataclasses.field(default_factory=list)
    namespace: str = None
    object_name: str = None
    uri: str = None
    anew: bool = False
    wait: bool = True
    timeout: float = 3600
    interval: float = 10
    retry_seconds: float = 300


@dataclasses.dataclass
class Uploaded:
    """source: of the import (clouds/oracle/images); sent: oracle_object.Sent, None where no file was to be sent."""

    source: dict
    sent: oracle_object.Sent = None


@dataclasses.dataclass
class Found:
    """An image of the cloud (dictionary), and the OCID of the work request of its import, where this run has begun it."""

    image: dict
    work_request: str = None

    @property
    def ready(self):
        """Whether instances can be launched of it."""
        return self.image["lifecycle_state"] in images_of.USABLE


def _may_be_read(entry, found):
    """Whether an image that is still to come may be of an entry whose run never heard what became of its request for one."""
    return bool(found is not None and not found.ready and entry["token"] and not entry["image"])


class OracleCloud(Target):
    """See Target. journal: targets.journal.Journal of the image. send: as oracle_object.ImageObject has it. warn(text): what a user should know."""

    def __init__(self, session, settings, journal, progress=None, send=None, warn=None):
        self._session, self.settings, self._journal = session, settings, journal
        self._progress, self._send, self._warn = progress or silent(), send, warn or (lambda text: None)
        self._images, self._entry, self._object = images_of.Images(session, settings.retry_seconds), None, None
        self.storage = Storage(session, settings.retry_seconds, settings.namespace)

    # --- what is there -------------------------------------------------------------------------------

    def check(self, image):
        """Found, of an image that was made of the same, or None."""
        oracle_formats.check(image, self.settings.launch_mode)
        images_of.check_names(self.settings.name, self._tags(image), self.settings.defined)
        shapes.wanted([], image.architecture, self.settings.add_shapes, self.settings.remove_shapes)
        if self.settings.anew:
            return None
        there = images_of.choose(self._images.find(self.settings.compartment, tags=self._same(image)))
        return Found(there) if there else None

    def _tags(self, image):
        """All freeform tags that the image is to have."""
        ours = {ARCHITECTURE: image.architecture, KUBERNETES: self.settings.kubernetes, RECIPE: image.recipe, CONTENT: image.content, SOURCE: image.source}
        return {**self.settings.freeform, **{key: value for key, value in ours.items() if value is not None}}

    @staticmethod
    def _same(image):
        """The tags by which an image that is as good is known."""
        for key, value in ((RECIPE, image.recipe), (CONTENT, image.content), (SOURCE, image.source)):
            if value is not None:
                return {key: value, ARCHITECTURE: image.architecture}
        raise ValueError("an image without a digest")

    # --- what runs that are over have left -----------------------------------------------------------

    def _place(self):
        return {"region": self._session.region, "compartment": self.settings.compartment, "bucket": self.settings.terms.bucket}

    def _mine(self, entry):
        place = self._place()
        return all(entry[name] == place[name] for name in _PLACE)

    def take_up(self, image, found=None):
        """Go on with what a run of this image that is over has left behind, and remove what another content's has.

        Before all but check(), whose answer is found: what another build of the same recipe has begun is gone on with, too.
        """
        left = []
        for entry in self._journal.left():
            if self._mine(entry):
                left.append(entry)
            else:
                entry.release()
        for entry in sorted(left, key=lambda entry: self._strangeness(entry, image, found)):
            if self._entry is None and self._strangeness(entry, image, found) < _STRANGE:
                self._entry = entry
            else:
                self._drop(entry, found)
        if self._entry and self._entry["image"]:
            there = self._images.get(self._entry["image"])
            if there is None or there["lifecycle_state"] not in (*images_of.USABLE, *images_of.COMING):
                self._warn(f"the import that an earlier run began has come to nothing ({self._reason()}), and is begun anew")
                self._entry.save(image=None, work_request=None, token=None)

    @staticmethod
    def _strangeness(entry, image, found):
        """How little an entry has to do with this image; _STRANGE where nothing."""
        if found is not None and entry["image"] == found.image["id"]:
            return 0
        if (entry["content"], entry["source"]) == (image.content, image.source):
            return 1
        return 2 if _may_be_read(entry, found) else _STRANGE

    def _reason(self):
        """Why the image of the entry is not there."""
        if self._entry["work_request"]:
            try:
                follow(self._session, self._entry["work_request"], Patience(0))
            except ImageError as fault:
                return fault.what
        return f"its image {self._entry['image']} was removed"

    def _drop(self, entry, found):
        """Remove what an entry tells of, unless the cloud is still reading it."""
        there = self._images.get(entry["image"]) if entry["image"] else None
        if _may_be_read(entry, found) or there is not None and there["lifecycle_state"] in images_of.COMING:
            entry.release()
        else:
            oracle_object.clear(self.storage, entry["bucket"], entry, self.settings.terms.keep)

    def _begin(self, image):
        if self._entry is None:
            self._entry = self._journal.new(content=image.content, source=image.source, **self._place())
        if self._object is None:
            self._object = oracle_object.ImageObject(self.storage, self.settings.terms, self._entry, image, self._progress, self._send)

    # --- its bytes -----------------------------------------------------------------------------------

    def upload(self, image):
        """Uploaded: the file, sent or found; or only a look whether the object is there."""
        self._begin(image)
        settings = self.settings
        if settings.uri:
            return Uploaded(images_of.uri_source(settings.uri))
        if settings.object_name:
            there = self.storage.head(settings.terms.bucket, settings.object_name)
            if there is None:
                raise ImageError("there is no such object, or this user may not see it", image.where, "check namespace, bucket, name and region")
            return Uploaded(images_of.object_source(self.storage.namespace, settings.terms.bucket, settings.object_name))
        sent = self._object.bring()
        return Uploaded(images_of.object_source(sent.namespace, sent.bucket, sent.name), sent)

    # --- the image -----------------------------------------------------------------------------------

    def register(self, image, uploaded):
        """Found: the image whose import has begun, or that of another run that is as good."""
        self._begin(image)
        try:
            begun = self._create(image, uploaded.source)
        except CloudFault as fault:
            if not fault.passing:
                # it is not for want of another try, so nothing is left behind
                self._object.clear()
            raise
        self._entry.save(image=begun.image["id"], work_request=begun.work_request)
        return Found(begun.image, begun.work_request)

    def _create(self, image, source):
        settings = self.settings
        same = None if settings.anew else self._same(image)
        wanted = Wanted(
            settings.compartment, settings.name, source, oracle_formats.SOURCE_TYPES[image.format], settings.operating_system,
            settings.operating_system_version, settings.launch_mode, self._tags(image), settings.defined)
        try:
            return self._images.create(wanted, self._token(), same)
        except CloudFault as fault:
            if not images_of.needs_uri(fault) or "source_uri" in source:
                raise
        # an instance, or a function: for it the cloud reads no object by its name
        wanted.source = images_of.uri_source(self._object.share_for_reading(settings.object_name))
        self._entry.save(token=None)
        return self._images.create(wanted, self._token(), same)

    def _token(self):
        """The retry token of this import, written down before it is used."""
        if not self._entry["token"]:
            self._entry.save(token=images_of.new_token())
        return self._entry["token"]

    def wait(self, image, found):
        """Found, once it is ready."""
        self._begin(image)
        request = found.work_request or (self._entry["work_request"] if self._entry["image"] == found.image["id"] else None)
        patience = Patience(self.settings.timeout, self.settings.interval)
        try:
            return Found(self._images.wait(found.image, patience, self._progress, request), request)
        except (NotYet, CloudFault):
            raise
        except ImageError as fault:
            # the import has failed: its object is of no use to anybody
            try:
                self._object.clear()
            except ImageError as other:
                fault.details["not_removed"] = str(other)
            raise

    def finish(self):
        """What this run, and those that it has taken up, have in the cloud beside the image goes; returns whether there was anything."""
        if self._entry is None:
            return False
        anything = bool(self._entry["object"] or self._entry["shares"])
        oracle_object.clear(self.storage, self._entry["bucket"], self._entry, self.settings.terms.keep)
        self._entry = self._object = None
        return anything

    def close(self):
        """Leave what is still under way to the next run."""
        if self._entry is None:
            return
        if any(self._entry[what] for what in ("object", "shares", "image")):
            self._entry.release()
        else:
            self._entry.remove()

    # --- as it is to be ------------------------------------------------------------------------------

    def correct(self, image, there, check_mode=False):
        """(image, {what: Change}): name, tags, operating system, schema and shapes are made what they are to be, where they are not."""
        settings, identity = self.settings, there["id"]
        wanted = {"name": settings.name, "freeform": self._tags(image), "defined": settings.defined,
                  "operating_system": settings.operating_system, "operating_system_version": settings.operating_system_version}
        drift = images_of.drift(there, **wanted)
        made = {"image": Change({name: there[name] for name in drift}, drift)}
        if drift and not check_mode:
            there = self._images.update(identity, drift)
        # an archive has told shapes and capabilities by itself
        archive = image.format == "pca_archive"
        if settings.capability_schema and not archive:
            made["capability_schema"] = Schemas(self._session, settings.retry_seconds).ensure(there, check_mode)
        if not archive or settings.add_shapes or settings.remove_shapes:
            made["shapes"] = shapes.Shapes(self._session, settings.retry_seconds).ensure(
                identity, None if archive else image.architecture, settings.add_shapes, settings.remove_shapes, check_mode)
        return there, made

    # --- no longer wanted ----------------------------------------------------------------------------

    def unwanted(self, identity=None, tags=None, keep=0):
        """The images (dictionaries) that remove() is for: the one of that OCID, or those of the name and tags but the newest `keep` that are ready.

        Only those with the tag of an architecture count, as ocne and this collection give it; with keep those that are being imported stay.
        """
        if identity:
            there = self._images.get(identity)
            return [there] if there and there["lifecycle_state"] != images_of.DELETED else []
        found = [one for one in self._images.find(self.settings.compartment, self.settings.name, tags) if ARCHITECTURE in (one["freeform_tags"] or {})]
        if not keep:
            return found
        return [one for one in found if one["lifecycle_state"] not in images_of.COMING][keep:]

    def remove(self, found):
        """Remove one of unwanted(), and wait until it is gone."""
        self._images.delete(found["id"], Patience(self.settings.timeout, self.settings.interval))
