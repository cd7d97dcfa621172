# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The pod builder: files a Job names are brought into the pod, the work program runs there, and what it made comes back.

The program is started detached and its output read by offset, so a lost connection costs a reconnect, not the Job.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import os
import secrets

from ...agent.protocol import EXIT_HEADER, RUNNING, STATE_HEADER, STOPPED
from ...common import advice
from ...common.errors import ImageError
from ...common.lifeline import surely
from ...common.progress import Progress
from ...work import job as wire
from ...work import program
from .. import local
from ..remote import package
from ..remote.client import ConnectionLost
from ..remote.workspace import Workspace, name_of, workspace_name
from . import boot_media
from .session import Session
from .source_transfer import SourceTransfer

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
        self._progress = Progress(emit)
        self._session = Session(params, self._progress)
        self._workspace = Workspace(self._session, self._progress)
        self._sources = SourceTransfer(self, self._session, self._workspace, params["source_transfer"], emit)
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
            return self._sources.run(job, on_event, lock)
        return self.work(job, on_event)

    def work(self, job, on_event):
        """Do a Job in the pod: its files there, the work, what it made back."""
        work, sent = program.kind_of(job), copy.deepcopy(job.options)
        places = self._places(sent, job.staging)
        inputs = work.inputs(sent)
        self._session.open(find=functools.partial(self._sources.first_to_mount, inputs))
        self._workspace.make_room(inputs)
        bases = self._workspace.bring(inputs, functools.partial(self._sources.pull, on_event))
        with self.done(job.kind, sent, on_event) as done:
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

    @contextlib.contextmanager
    def done(self, kind, sent, on_event):
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
        answer, offset, rest = wire.Answer(on_event), 0, b""
        while True:
            try:
                response = self._session.ask("GET", f"/v1/jobs/{name}/output?offset={offset}&wait={_WAIT}")
            except ImageError as error:
                # evicted, out of memory, gone with its node: what it was at
                error.details.update(last=answer.last_event)
                raise
            offset += len(response.body)
            *lines, rest = (rest + response.body).split(b"\n")
            for line in lines:
                answer.read(line)
            state = response.headers.get(STATE_HEADER)
            if state != RUNNING:
                break
        if state == STOPPED:   # not by us: the pod is ending
            error = self._session.client.ended(_ENDING) or ImageError("the work was stopped in the builder pod", self._session.where, advice.RUN_AGAIN)
            error.details.update(last=answer.last_event)
            raise error
        if not answer.complete:
            raise self._without_result(name, int(response.headers.get(EXIT_HEADER) or 0), answer.last_event)
        return answer.result()

    def _without_result(self, name, status, last):
        """The ImageError of a program that has ended without a result."""
        try:
            words = self._session.client.request("GET", f"/v1/jobs/{name}/errors").body.decode("utf-8", "replace").strip()
        except ConnectionLost:
            words = ""
        return ImageError(f"the work program ended without a result ({'signal' if status < 0 else 'exit status'} {abs(status)})", self._session.where,
                          "look for a lack of memory (pod_overrides: resources), then run the task again", stderr=words[-_LAST_WORDS:], last=last)
