# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The pod builder: files a Job names are brought into the pod, the work program runs there, and what it made comes back.

The program is started detached and its output read by offset, so a lost connection costs a reconnect, not the Job.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import json
import os
import secrets
import tempfile

from ...common import advice
from ...common.errors import ImageError, from_wire
from ...common.lifeline import surely
from ...common.progress import Progress
from ...work import boot_image, program
from ...work import job as wire
from .. import local
from ..remote import package
from ..remote.client import ConnectionLost
from ..remote.workspace import Workspace, name_of, workspace_name
from . import boot_media, pod_spec
from .session import Session

_WAIT = 20        # seconds an answer with nothing new may take: a heartbeat that keeps idle connections open
_ENDING = 30      # seconds a cluster may take to tell why it ends a pod: as long as the pod may take to end
_LAST_WORDS = 4000


@dataclasses.dataclass
class Done:
    """A Job that has ended well in the pod."""

    name: str
    staging: str           # its folder there
    result: wire.Result

    def file(self, path):
        """How the agent names a file in that folder."""
        return f"jobs/{self.name}/{os.path.relpath(path, self.staging)}"


class PodBuilder:
    """One pod, for the Jobs of one task; made when the first of them needs it. Close it: a pod of its own goes then."""

    def __init__(self, params, emit):
        self._emit, self._progress = emit, Progress(emit)
        self._session, self._way = Session(params, self._progress), params["source_transfer"]
        self._workspace = Workspace(self._session, self._progress)
        self.dry_run, self.close = self._session.dry_run, self._session.close
        self.record, self.write_record = self._workspace.record, self._workspace.write_record

    # --- a Job ---------------------------------------------------------------------------------------

    def run(self, job, on_event, lock=None):
        """Do a Job in the pod; its artifacts come to job.staging. Returns a Result. Raises ImageError.

        In check mode what would make something only looks: that is done here, where its source is, and makes no pod.
        """
        if job.check and not program.kind_of(job).READS_ONLY:
            return local.run(job, on_event, lock)
        if boot_media.in_registry(job):
            return self._boot_image(job, on_event, lock)
        return self._work(job, on_event)

    def _boot_image(self, job, on_event, lock):
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
                result = self._work(dataclasses.replace(job, options=carried), on_event)
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
                result = self._work(dataclasses.replace(job, options=source.mounted_at(pod_spec.SOURCE)), on_event)
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

    def _work(self, job, on_event):
        """Do a Job in the pod: its files there, the work, what it made back."""
        work, sent = program.kind_of(job), copy.deepcopy(job.options)
        places = self._places(sent, job.staging)
        inputs = work.inputs(sent)
        self._session.open(find=functools.partial(self._first_source, inputs))
        self._workspace.make_room(inputs)
        bases = self._workspace.bring(inputs, functools.partial(self._pull, on_event))
        with self._done(job.kind, sent, on_event) as done:
            for item in done.result.artifacts:
                place = places.get(item.name, job.staging)
                kept = workspace_name(place)
                if kept:
                    self._workspace.leave(done, item, kept)
                    continue
                source = self._workspace.fetch(done, item, place, bases.get(work.base_of(sent, item.name)))
                if not self._session.own and not item.extents:
                    with contextlib.suppress(ImageError):   # a later task sends it again, no more
                        self._workspace.keep(source, name_of(item.sha256), item.sha256)
        return done.result

    def _first_source(self, inputs):
        """What a pod to be made for a Job should mount: where the first image that came from a registry came from, or None."""
        if self._way in ("auto", "image_volume"):
            for item in inputs:
                source = boot_media.of_record(item.path) if item.image and not workspace_name(item.path) else None
                if source and boot_media.may_be_mounted(source):
                    return source
        return None

    def _pull(self, on_event, path, digest, name):
        """Get an image that came from a registry into the workspace from there; returns whether it is there. Raises ImageError where it must be."""
        source = boot_media.of_record(path) if self._way != "push" else None
        if not source or source.sha256 != digest or self._session.has(name, digest):
            return False
        mounted = self._way != "pull" and source.fits(self._session.mounted, self._session.status["machine"])
        try:
            with contextlib.ExitStack() as stack:
                asked = source.mounted_at(pod_spec.SOURCE) if mounted else stack.enter_context(boot_media.to_be_carried(source.options))
                self._workspace.bring(boot_image.inputs(asked), None)
                done = stack.enter_context(self._done(boot_media.KIND, asked, on_event))
                found = done.result.artifacts[0]
                if found.sha256 != digest:
                    raise ImageError("what the registry has is not what this image was made from", source.reference, "pull the boot image again")
                self._workspace.keep(done.file(found.path), name, digest)
        except ImageError:
            if self._way != "auto":
                raise
            return False
        return True

    @contextlib.contextmanager
    def _done(self, kind, sent, on_event):
        """The Done of a Job with these options, until nothing of it is needed any more."""
        ask_json = self._session.ask_json
        data, digest = package.program()
        if digest not in self._session.status["programs"]:
            self._session.ask("PUT", f"/v1/programs/{digest}", data)
            self._session.status["programs"].append(digest)
        name = f"{kind.replace('_', '-')}-{secrets.token_hex(6)}"
        request = {"program": digest, "interpreter": None, "job": dict(kind=kind, options=sent, staging="", check=False, protocol=wire.PROTOCOL)}
        try:
            staging = ask_json("PUT", f"/v1/jobs/{name}", request)["staging"]
            yield Done(name, staging, self._follow(name, on_event))
        finally:
            if not self._session.own:   # its own pod goes as a whole
                with contextlib.suppress(ImageError):   # the pod's deadline ends it
                    surely(lambda: self._session.client.request("DELETE", f"/v1/jobs/{name}", timeout=30))

    @staticmethod
    def _places(sent, staging):
        """{name of an artifact: where it is to come}, of outputs that have places of their own on this host."""
        found = {}
        for output in sent.get("outputs") or []:
            found[output["name"]] = output.pop("staging", None) or staging
        return found

    # --- its output ----------------------------------------------------------------------------------

    def _follow(self, name, on_event):
        """Read the program's lines until it has ended. Returns its Result. Raises ImageError."""
        offset, rest, last, data = 0, b"", None, None
        while True:
            try:
                answer = self._session.ask("GET", f"/v1/jobs/{name}/output?offset={offset}&wait={_WAIT}")
            except ImageError as error:
                # evicted, out of memory, gone with its node: what it was at
                error.details.update(last=last)
                raise
            offset += len(answer.body)
            *lines, rest = (rest + answer.body).split(b"\n")
            for line in lines:
                try:
                    found = json.loads(line)
                except ValueError:
                    continue
                if "progress" in found:
                    last = found["progress"]
                    on_event(last)
                else:
                    data = found
            state = answer.headers.get("X-State")
            if state != "running":
                break
        if state == "stopped":   # not by us: the pod is ending
            error = self._session.client.ended(_ENDING) or ImageError("the work was stopped in the builder pod", self._session.where, advice.RUN_AGAIN)
            error.details.update(last=last)
            raise error
        if data is None:
            status = int(answer.headers.get("X-Exit") or 0)
            try:
                words = self._session.client.request("GET", f"/v1/jobs/{name}/errors").body.decode("utf-8", "replace").strip()
            except ConnectionLost:
                words = ""
            raise ImageError(f"the work program ended without a result ({'signal' if status < 0 else 'exit status'} {abs(status)})",
                             self._session.where,
                             "look for a lack of memory (pod_overrides: resources), then run the task again", stderr=words[-_LAST_WORDS:], last=last)
        if "error" in data:
            raise from_wire(data["error"])
        return wire.load_result(data["result"])
