# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The object that an image is imported from: sent, or found, or gone on with; shared where the cloud wants an address; removed.

Its name holds the SHA-256 of the content and a nonce, so no two runs ever send to one object. What is another run's is used only where that run
has said that it is to stay, or has surely ended.
"""

from __future__ import annotations

import dataclasses
import datetime

from ..clouds.oracle import upload
from ..common.progress import silent
from .oracle_formats import SUFFIXES

PREFIX = "ocne-images/"
_KEEP, _PART_SIZE = "keep", "part-size"    # metadata of an object
_PAST = 3600                               # seconds that a pre-authenticated request is good for after the last moment that it is needed


@dataclasses.dataclass
class Terms:
    """How objects are sent. compartment: OCID, of a bucket that is to be made where it is missing, else None. part_size: bytes, None for the usual.

    adopt_after: seconds after which an object or upload of the same content that another run began counts as left behind. keep: the object stays.
    seconds: how long its import may take.
    """

    bucket: str
    compartment: str = None
    part_size: int = None
    parallel: int = upload.PARALLEL
    adopt_after: float = 6 * 3600
    keep: bool = False
    seconds: float = 3600


@dataclasses.dataclass
class Sent:
    """An object that is there, whole. sent, kept: bytes that this run sent, and that the cloud had already."""

    namespace: str
    bucket: str
    name: str
    sent: int = 0
    kept: int = 0

    def described(self):
        """Where it is, as plain data."""
        return {"namespace": self.namespace, "bucket": self.bucket, "name": self.name}


class ImageObject:
    """The object of one image (targets.base.Image), as its journal entry knows it.

    send(url, part_size, there): sends the file from where it is, by parts to url + number, and returns {number: MD5, base64} of all of them;
    there: {number: [bytes, MD5]} of those that the cloud has. None for a file that is read here.
    """

    def __init__(self, storage, terms, entry, image, progress=None, send=None):
        self._storage, self._terms, self._entry, self._image = storage, terms, entry, image
        self._progress, self._send = progress or silent(), send

    # --- there, whole --------------------------------------------------------------------------------

    def bring(self):
        """Sent: what is there already, gone on with, or sent. Raises ImageError."""
        storage, entry = self._storage, self._entry
        storage.need_bucket(self._terms.bucket, self._terms.compartment)
        if entry["complete"] and not self._whole():
            entry.save(object=None, upload=None, complete=None)
        if not entry["object"]:
            self._adopt()
        elif not entry["upload"]:
            # begun, and killed before that was written down
            begun = [one for one in storage.uploads(self._terms.bucket, entry["object"]) if one.object == entry["object"]]
            entry.save(upload=begun[0].upload_id if begun else None)
        if not entry["object"]:
            entry.save(object=f"{PREFIX}{self._image.content}/{entry.nonce}{SUFFIXES[self._image.format]}", owned=True)
        made = {"sent": 0, "kept": self._image.size}
        if not entry["complete"]:
            made = self._through_share() if self._send else self._from_here()
            entry.save(complete=True)
        return Sent(storage.namespace, self._terms.bucket, entry["object"], made["sent"], made["kept"])

    def _whole(self):
        there = self._storage.head(self._terms.bucket, self._entry["object"])
        return there is not None and there.size == self._image.size

    def _from_here(self):
        """Send the file, or the rest of it."""
        entry, where = self._entry, (self._terms.bucket, self._entry["object"])
        part_size = upload.part_size_of(self._image.size, entry["part_size"] or self._terms.part_size)
        return upload.upload(
            self._storage, *where, self._image.read_path, entry["upload"], part_size, self._terms.parallel, self._progress,
            {_KEEP: str(self._terms.keep).lower(), _PART_SIZE: str(part_size)}, "application/octet-stream",
            lambda upload_id, part_size: entry.save(upload=upload_id, part_size=part_size))

    def _through_share(self):
        """Have it sent from where it is, by an address that is good for this one object."""
        storage, entry, where = self._storage, self._entry, (self._terms.bucket, self._entry["object"])
        if entry["upload"]:
            # its address was told once, to a run that is over
            storage.abort(*where, entry["upload"])
            entry.save(upload=None)
        share = self._share("ObjectWrite")
        try:
            upload_id, url = storage.begin_shared(self._terms.bucket, share)
            part_size = upload.part_size_of(self._image.size, self._terms.part_size)
            entry.save(upload=upload_id, part_size=part_size)
            md5s = self._send(url, part_size, {})
            upload.complete(storage, *where, upload_id, self._image.size, md5s)
        finally:
            # its label stays written down: one of it that came late is removed with the object
            storage.unshare(self._terms.bucket, share.identity)
        return {"sent": self._image.size, "kept": 0}

    # --- another run's -------------------------------------------------------------------------------

    def _adopt(self):
        """Take what another run left behind, or said that it is to stay; what is left behind and not taken is removed."""
        storage, bucket, prefix = self._storage, self._terms.bucket, f"{PREFIX}{self._image.content}/"
        for one in storage.objects(bucket, prefix):
            there = storage.head(bucket, one.name)
            stays = there is not None and there.metadata.get(_KEEP) == "true"
            if there is None or not (stays or self._old(one.created)):
                continue
            if not self._entry["object"] and self._is_ours(there):
                self._entry.save(object=one.name, owned=not stays, complete=True)
            elif not stays:
                storage.delete(bucket, one.name)
        if self._send:
            return
        for one in sorted(storage.uploads(bucket, prefix), key=lambda one: one.time_created, reverse=True):
            if not self._old(one.time_created):
                continue
            if self._entry["object"]:
                storage.abort(bucket, one.object, one.upload_id)
            else:
                self._entry.save(object=one.object, upload=one.upload_id, owned=True)

    def _old(self, created):
        now = datetime.datetime.now(datetime.timezone.utc)
        return created is not None and (now - created).total_seconds() > self._terms.adopt_after

    def _is_ours(self, there):
        """Whether an object has the bytes of the image. What is not read here is known by its name and size."""
        if there.size != self._image.size:
            return False
        if self._send:
            return True
        size = there.metadata.get(_PART_SIZE, "")
        return upload.same(there, self._image.read_path, int(size) if size.isdigit() else None)

    # --- an address for it ---------------------------------------------------------------------------

    def share_for_reading(self, name=None):
        """The address by which the cloud can read it, a secret. name: of an object that is not ours. Raises ImageError."""
        return self._share("ObjectRead", name).url

    def _share(self, access, name=None):
        entry = self._entry
        label = f"ocne-images-{entry.nonce}-{len(entry['shares'] or [])}"
        entry.save(shares=[*(entry["shares"] or []), label], shared=name or entry["object"])
        return self._storage.share(self._terms.bucket, name or entry["object"], access, self._terms.seconds + _PAST, label)

    # --- gone ----------------------------------------------------------------------------------------

    def clear(self):
        """Remove what is of no more use: addresses, an unfinished upload, and the object, unless it is to stay. Then the entry is over."""
        clear(self._storage, self._terms.bucket, self._entry, self._terms.keep)


def clear(storage, bucket, entry, keep=False):
    """Remove from a bucket what a journal entry tells of; keep: but not its object. Raises ImageError; what is still there stays written down."""
    name = entry["object"]
    if entry["shares"]:
        labels = set(entry["shares"])
        for share in storage.shares(bucket, entry["shared"]):
            if share.label in labels:
                storage.unshare(bucket, share.identity)
        entry.save(shares=[])
    if name and entry["owned"]:
        # also where the object is whole: a request to begin it that was given up and made again may have reached the cloud after all
        for one in storage.uploads(bucket, name):
            storage.abort(bucket, one.object, one.upload_id)
        if not (keep and entry["complete"]):
            storage.delete(bucket, name)
    entry.remove()
