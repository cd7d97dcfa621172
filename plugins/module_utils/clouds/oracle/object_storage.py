# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Object Storage: namespace, buckets, objects, unfinished uploads, pre-authenticated requests. upload.py sends a file.

Every request is made again after a fault that may pass; what is made twice nowhere is asked for first where its answer was lost.
"""

from __future__ import annotations

import datetime
import json
from urllib.parse import quote

from ...common.errors import ImageError
from . import faults, sdk
from .faults import CloudFault

_LOOK_SECONDS = 10      # for each region that a missing bucket is looked for in


class Object:
    """What the cloud tells of an object. size: bytes; md5: base64, None where it came in parts; multipart_md5: then that of theirs, "...-N"."""

    def __init__(self, name, size, etag, md5, multipart_md5, metadata=None, created=None):
        self.name, self.size, self.etag, self.md5, self.multipart_md5 = name, size, etag, md5, multipart_md5
        self.metadata, self.created = metadata or {}, created


class Share:
    """A pre-authenticated request. url is a secret, and told only where it was made; expires: a datetime."""

    def __init__(self, identity, label, name, expires, url=None):
        self.identity, self.label, self.name, self.expires, self.url = identity, label, name, expires, url

    def __repr__(self):
        return f"Share({self.label}, {self.name})"


class Storage:
    """The buckets of a session's region. Not for several threads at once. Raises CloudFault and ImageError.

    namespace: another one than that of the tenancy. retry_seconds: how long each request is tried.
    """

    def __init__(self, session, retry_seconds=faults.RETRY_SECONDS, namespace=None):
        self.session, self.retry_seconds = session, retry_seconds
        self._models = sdk.load().object_storage.models
        self._client, self._namespace = session.object_storage(), namespace

    @property
    def namespace(self):
        """The name of the tenancy's namespace; one request, once."""
        if self._namespace is None:
            self._namespace = self._ask(self._client.get_namespace, doing="asking for the namespace of Object Storage").data
        return self._namespace

    def _ask(self, function, *args, doing, where=None, found=None, **more):
        return faults.call(function, *args, doing=doing, where=where, retry_seconds=self.retry_seconds, found=found, **more)

    # --- buckets -------------------------------------------------------------------------------------

    def bucket(self, name):
        """A bucket as the SDK has it (compartment_id, name, ...), or None where there is none that we may see."""
        try:
            return self._ask(self._client.get_bucket, self.namespace, name, doing="looking for the bucket", where=name).data
        except CloudFault as fault:
            if fault.missing:
                return None
            raise

    def need_bucket(self, name, compartment=None):
        """(bucket, whether it was made): one that is there, or, where a compartment is given, made in it. Raises ImageError where there is none."""
        there = self.bucket(name)
        if there:
            return there, False
        if compartment is None:
            region = self._region_of(name)
            if region:
                raise ImageError(f"the bucket is in the region {region}, not in {self.session.region}", name,
                                 "name one in the region of the image, or set region to that of the bucket")
            raise ImageError(f"there is no such bucket in the region {self.session.region}, or this user may not see it", name,
                             "check bucket and region, set create_bucket, or have a policy give access to it")
        details = self._models.CreateBucketDetails(name=name, compartment_id=compartment, public_access_type="NoPublicAccess")
        try:
            return self._ask(self._client.create_bucket, self.namespace, details, doing="making the bucket", where=name,
                             found=lambda: _Answer.of(self.bucket(name))).data, True
        except CloudFault as fault:
            there = self.bucket(name) if fault.status == 409 else None
            if there:
                return there, False
            raise

    def _region_of(self, name):
        """The first other region of the tenancy that has a bucket of that name, or None. Only for an error."""
        if self.session.endpoint("object_storage") or not self.session.tenancy:
            return None
        try:
            listed = faults.call(self.session.identity().list_region_subscriptions, self.session.tenancy, doing="listing regions",
                                 retry_seconds=_LOOK_SECONDS)
        except ImageError:
            return None
        for region in listed.data:
            if region.region_name != self.session.region:
                try:
                    faults.call(self.session.object_storage(region.region_name).head_bucket, self.namespace, name, doing="looking for the bucket",
                                retry_seconds=_LOOK_SECONDS)
                    return region.region_name
                except ImageError:
                    continue
        return None

    # --- objects -------------------------------------------------------------------------------------

    def head(self, bucket, name):
        """The Object of that name, or None."""
        try:
            headers = self._ask(self._client.head_object, self.namespace, bucket, name, doing="looking for the object",
                                where=_place(bucket, name)).headers
        except CloudFault as fault:
            if fault.missing:
                return None
            raise
        return Object(name, int(headers["content-length"]), headers.get("etag"), headers.get("content-md5"), headers.get("opc-multipart-md5"),
                      {key.lower()[len("opc-meta-"):]: value for key, value in headers.items() if key.lower().startswith("opc-meta-")})

    def objects(self, bucket, prefix=""):
        """The Objects whose names begin so, by name."""
        start = None
        while True:
            more = {"start": start} if start else {}
            page = self._ask(self._client.list_objects, self.namespace, bucket, doing="listing objects", where=bucket, prefix=prefix,
                             fields="name,size,etag,md5,timeCreated", **more).data
            for one in page.objects:
                parts = "-" in (one.md5 or "")
                yield Object(one.name, one.size, one.etag, None if parts else one.md5, one.md5 if parts else None, created=one.time_created)
            start = page.next_start_with
            if not start:
                return

    def delete(self, bucket, name):
        """Remove an object; False where there is none."""
        return self._remove(self._client.delete_object, self.namespace, bucket, name, doing="removing the object", where=_place(bucket, name))

    def _remove(self, function, *args, doing, where):
        again = []
        try:
            self._ask(function, *args, doing=doing, where=where, found=lambda: again.append(True))
            return True
        except CloudFault as fault:
            if fault.missing:
                # the answer to the first attempt may have been lost
                return bool(again)
            raise

    # --- unfinished uploads --------------------------------------------------------------------------

    def uploads(self, bucket, prefix=""):
        """The unfinished uploads of objects whose names begin so: the SDK's, with object, upload_id and time_created."""
        return [one for one in faults.pages(self._client.list_multipart_uploads, self.namespace, bucket, doing="listing uploads", where=bucket,
                                            retry_seconds=self.retry_seconds) if one.object.startswith(prefix)]

    def begin(self, bucket, name, metadata=None, content_type=None):
        """The id of a new upload of an object. The name must be nobody else's: one of that name whose answer was lost is found by it."""
        def found():
            there = [one for one in self.uploads(bucket, name) if one.object == name]
            return _Answer.of(there[0] if there else None)
        details = self._models.CreateMultipartUploadDetails(
            object=name, content_type=content_type, metadata={f"opc-meta-{key}": value for key, value in (metadata or {}).items()} or None)
        return self._ask(self._client.create_multipart_upload, self.namespace, bucket, details, doing="beginning the upload",
                         where=_place(bucket, name), found=found).data.upload_id

    def parts(self, bucket, name, upload_id):
        """{number: part} of what the cloud has of an upload: the SDK's, with etag, md5 and size. Raises CloudFault (missing)."""
        return {one.part_number: one for one in faults.pages(
            self._client.list_multipart_upload_parts, self.namespace, bucket, name, upload_id, doing="listing the parts of the upload",
            where=_place(bucket, name), retry_seconds=self.retry_seconds, limit=1000)}

    def commit(self, bucket, name, upload_id, parts, exclude, found):
        """Make an object of {number: etag}. found: as for faults.call(), whether it is there already. Returns the answer's headers."""
        chosen = [self._models.CommitMultipartUploadPartDetails(part_num=number, etag=etag) for number, etag in sorted(parts.items())]
        details = self._models.CommitMultipartUploadDetails(parts_to_commit=chosen, parts_to_exclude=sorted(exclude) or None)
        return self._ask(self._client.commit_multipart_upload, self.namespace, bucket, name, upload_id, details, doing="completing the upload",
                         where=_place(bucket, name), found=found).headers

    def abort(self, bucket, name, upload_id):
        """Give an upload up, with all its parts; False where there is none."""
        return self._remove(self._client.abort_multipart_upload, self.namespace, bucket, name, upload_id, doing="giving the upload up",
                            where=_place(bucket, name))

    # --- pre-authenticated requests ------------------------------------------------------------------

    def share(self, bucket, name, access, seconds, label):
        """A new Share of one object: access is ObjectRead or ObjectWrite, for so many seconds. The label must be nobody else's."""
        def found():
            # its URL is told once: one whose answer was lost is of no use
            for one in self.shares(bucket, name):
                if one.label == label:
                    self.unshare(bucket, one.identity)
        expires = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0) + datetime.timedelta(seconds=seconds)
        details = self._models.CreatePreauthenticatedRequestDetails(name=label, access_type=access, object_name=name, time_expires=expires)
        made = self._ask(self._client.create_preauthenticated_request, self.namespace, bucket, details, doing="making a pre-authenticated request",
                         where=_place(bucket, name), found=found).data
        url = None if self.session.endpoint("object_storage") else getattr(made, "full_path", None)
        url = url or self._client.base_client.endpoint.rstrip("/") + made.access_uri
        self.session.secrets.update((url, made.access_uri))
        return Share(made.id, label, name, expires, url)

    def shares(self, bucket, prefix=""):
        """The Shares of objects whose names begin so, without their URLs."""
        return [Share(one.id, one.name, one.object_name, one.time_expires) for one in faults.pages(
            self._client.list_preauthenticated_requests, self.namespace, bucket, doing="listing pre-authenticated requests", where=bucket,
            retry_seconds=self.retry_seconds, **({"object_name_prefix": prefix} if prefix else {}))]

    def unshare(self, bucket, identity):
        """Remove a Share; False where there is none."""
        # the method for it of older releases of the SDK leaves the slash as it is that such an id may have
        return self._remove(self._client.base_client.call_api, "/n/{namespaceName}/b/{bucketName}/p/" + quote(identity, safe=""), "DELETE",
                            {"namespaceName": self.namespace, "bucketName": bucket}, None, {"accept": "application/json"},
                            doing="removing a pre-authenticated request", where=bucket)

    def begin_shared(self, bucket, share):
        """(upload id, URL) of a new upload through a Share for writing.

        Whoever has the URL, which is a secret, PUTs part N to it and N appended; upload.complete() ends it.
        """
        def found():
            there = [one for one in self.uploads(bucket, share.name) if one.object == share.name]
            for one in there:
                self.abort(bucket, one.object, one.upload_id)
        answer = self._ask(self._put_multipart, share.url, doing="beginning the upload", where=_place(bucket, share.name), found=found)
        url = self._client.base_client.endpoint.rstrip("/") + answer["accessUri"]
        if not self.session.endpoint("object_storage"):
            url = share.url[:share.url.index("/p/")] + answer["accessUri"]
        self.session.secrets.update((url, answer["accessUri"]))
        return answer["uploadId"], url

    def _put_multipart(self, url):
        http = self._client.base_client.session
        answer = http.request("PUT", url, data=b"", headers={"opc-multipart": "true"}, timeout=self._client.base_client.timeout)
        try:
            data = json.loads(answer.content)
        except ValueError:
            data = {}
        if answer.status_code >= 300 or not data:
            raise sdk.load().exceptions.ServiceError(answer.status_code, data.get("code"), answer.headers, data.get("message") or "")
        return data


class _Answer:
    """Something that was found, in the form of the SDK's answers."""

    def __init__(self, data):
        self.data, self.headers = data, {}

    @classmethod
    def of(cls, data):
        return None if data is None else cls(data)


def _place(bucket, name):
    return f"{bucket}/{name}"
