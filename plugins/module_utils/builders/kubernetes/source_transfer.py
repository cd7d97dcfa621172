# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a boot media image reaches the pod of a task: mounted by the cluster, pulled in the pod, or by way of this host."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import tempfile

from ...common.errors import ImageError
from ...work import boot_image
from ...work import job as wire
from .. import local
from ..remote.workspace import workspace_name
from . import boot_media, pod_spec


class SourceTransfer:
    """The option source_transfer of one builder. builder: it does a Job in its pod, by work() and done()."""

    def __init__(self, builder, session, workspace, way, emit):
        self._builder, self._session, self._workspace, self._way, self._emit = builder, session, workspace, way, emit

    def run(self, job, on_event, lock):
        """Get a disk out of an image in a registry, in the best way there is."""
        if self._way == "push":
            return self._here(job, on_event, lock)
        find = functools.cache(lambda: self._to_mount(job.options))
        if self._way != "pull":
            self._session.open(find=find)
            result = self._mounted(find() if self._session.mounted else None, job, on_event)
            if result:
                return result
        try:
            with boot_media.to_be_carried(job.options) as carried:
                result = self._builder.work(dataclasses.replace(job, options=carried), on_event)
        except ImageError as error:
            if self._way != "auto" or error.details.get("tool") != "skopeo":
                raise
            # from here the registry may be reached
            try:
                return self._here(job, on_event, lock)
            except ImageError as same:
                error.details["on_the_module_host"] = str(same)
                raise error from same
        result.values["source_transfer"] = "pull"
        return result

    def _to_mount(self, wanted):
        """The Source of a boot media image, asked for from here; None where that does not work, unless it must be mounted."""
        try:
            with tempfile.TemporaryDirectory(prefix="ocne-images-") as folder:
                return boot_media.of_job(wanted, lambda asked: local.run(wire.Job(boot_media.KIND, asked, folder, True), self._emit).values)
        except ImageError:
            if self._way == "image_volume":
                raise
            return None

    def _mounted(self, source, job, on_event):
        """The Result of a Job whose image the pod has mounted; None where it has not."""
        session = self._session
        if source and source.known(job.options["known"]):
            return wire.Result([], dict(source.values, changed=False))
        if source and source.fits(session.mounted, session.status["machine"]):
            try:
                result = self._builder.work(dataclasses.replace(job, options=source.mounted_at(pod_spec.SOURCE)), on_event)
                result.values["source_transfer"] = "image_volume"
                return result
            except ImageError as error:
                # an ordinary user of the pod need not be allowed to read it
                if self._way == "image_volume" or error.details.get("errno") not in ("EACCES", "EPERM"):
                    raise
        elif self._way == "image_volume":
            raise ImageError(f"the builder has not mounted this image ({session.mounted or 'none'})", session.where,
                             "it is mounted by a pod that is made for this task: leave out builder.name, or set builder.create and remove the pod first")
        return None

    def _here(self, job, on_event, lock):
        """Do a Job on this host; what is to be in the workspace is sent there."""
        kept = workspace_name(job.staging)
        if not kept:
            result = local.run(job, on_event, lock)
        else:
            with tempfile.TemporaryDirectory(prefix="ocne-images-") as folder:
                result = local.run(dataclasses.replace(job, staging=folder), on_event)
                for item in result.artifacts:
                    self._workspace.put(item, kept)
        result.values["source_transfer"] = "push"
        return result

    def first_to_mount(self, inputs):
        """What a pod to be made for a Job should mount: where the first image that came from a registry came from, or None."""
        if self._way in ("auto", "image_volume"):
            for item in inputs:
                source = boot_media.of_record(item.path) if item.image and not workspace_name(item.path) else None
                if source and boot_media.may_be_mounted(source):
                    return source
        return None

    def pull(self, on_event, path, digest, name):
        """Get an image that came from a registry into the workspace from there; returns whether it is there. Raises ImageError where it must be."""
        source = boot_media.of_record(path) if self._way != "push" else None
        if not source or source.sha256 != digest or self._session.has(name, digest):
            return False
        mounted = self._way != "pull" and source.fits(self._session.mounted, self._session.status["machine"])
        try:
            with contextlib.ExitStack() as stack:
                asked = source.mounted_at(pod_spec.SOURCE) if mounted else stack.enter_context(boot_media.to_be_carried(source.options))
                self._workspace.bring(boot_image.inputs(asked), None)
                done = stack.enter_context(self._builder.done(boot_media.KIND, asked, on_event))
                found = done.result.artifacts[0]
                if found.sha256 != digest:
                    raise ImageError("what the registry has is not what this image was made from", source.reference, "pull the boot image again")
                self._workspace.keep(done.file(found.path), name, digest)
        except ImageError:
            if self._way != "auto":
                raise
            return False
        return True
