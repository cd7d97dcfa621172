# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The pod builder: files a Job names are brought into the pod, the work program runs there, and what it made comes back.

The program is started detached and its output read by offset, so a lost connection costs a reconnect, not the Job.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import re
import secrets
import tempfile

from .. import artifact
from ..errors import ImageError, from_os_error
from ..progress import Progress
from ..work import extents, formats, program
from ..work import job as wire
from . import kube, kube_channel, local, options, package, pod_life, pod_spec, transfer
from .channel import PATIENCE, ChannelLost, patiently

_WAIT = 20        # seconds an answer with nothing new may take: a heartbeat that keeps idle connections open
_PATIENCE_AT_END = 20   # seconds that the removal of a pod is tried
_LAST_WORDS = 4000


#: begins a path that is a name in the workspace of a builder pod
WORKSPACE = "workspace:"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,150}")
_BY_DIGEST = re.compile(r"(sparse-sha256-)?[0-9a-f]{64}")


def workspace_name(path):
    """NAME of workspace:NAME, None for another path. Raises ImageError."""
    if not path.startswith(WORKSPACE):
        return None
    name = path[len(WORKSPACE):]
    if not _NAME.fullmatch(name) or _BY_DIGEST.fullmatch(name) or name.endswith(artifact.RECORD_SUFFIX):
        raise ImageError("it is not a name in a workspace", path, "use letters, digits, dots, hyphens and underscores")
    return name


def _name(digest):
    """The name in the pod of a file with this digest."""
    return digest.replace(":", "-")


def _missing(cluster, name, what):
    return ImageError(what, f"builder {name}, namespace {cluster.namespace}", "make it with ocne_builder (state: present), or set builder.create")


class PodBuilder:
    """One pod, for the Jobs of one task; made when the first of them needs it. Close it: a pod of its own goes then."""

    def __init__(self, params, tell):
        self._params, self._tell, self._progress = params, tell, Progress(tell)
        self._cluster = self._pod = self._channel = self._status = self._own = self._limit = None
        self._relative = {}    # name of an artifact: its path below the Job's staging folder in the pod

    # --- the pod -------------------------------------------------------------------------------------

    def _open(self, make=True):
        """Reach the pod. make: False where one that does not exist yet is not to be made; then returns False."""
        if self._channel:
            return True
        params = self._params
        self._cluster = self._cluster or kube.Cluster(params, params.get("namespace"))
        name, token = params.get("name"), None
        if name:
            job = self._cluster.get("jobs", name)
            there = job is not None and pod_life.active(job)
            if not there and params["create"]:
                if not make:
                    return False
                if job:
                    pod_life.remove(self._cluster, name)
                token = pod_life.create(self._cluster, name, options.wish(params))
            elif not there:
                raise _missing(self._cluster, name, "there is no such builder" if job is None else "the builder has ended")
        else:
            name = self._own = pod_life.new_name()
            token = pod_life.create(self._cluster, name, options.wish(params))
        self._pod, self._channel, self._status = kube_channel.ready(self._cluster, name, token, params["wait_timeout"], self._progress)
        self._limit = pod_spec.workspace_limit(self._cluster.get("pods", self._pod))
        self._cluster.patience = PATIENCE
        return True

    def rehearse(self):
        """In check mode: ask the API server whether it would admit the pod that the task would make. Raises ImageError."""
        cluster, name = kube.Cluster(self._params, self._params.get("namespace")), self._params.get("name")
        if name and cluster.get("jobs", name):
            return
        if name and not self._params["create"]:
            raise _missing(cluster, name, "there is no such builder")
        pod_life.try_out(cluster, pod_life.wanted_job(cluster, name or pod_life.new_name(), options.wish(self._params)))

    def close(self):
        """Remove the pod if it is this task's own."""
        if self._channel:
            self._channel.close_all()
        if self._own:
            name, self._own = self._own, None
            # what was built is good, whatever becomes of the pod: else idle_timeout ends it
            self._cluster.patience = _PATIENCE_AT_END
            with contextlib.suppress(ImageError):
                pod_life.remove(self._cluster, name, 0)

    # --- a Job ---------------------------------------------------------------------------------------

    def run(self, job, on_event, lock=None):
        """Do a Job in the pod; its artifacts come to job.staging. Returns a Result. Raises ImageError.

        In check mode what would make something only looks: that is done here, where its source is, and makes no pod.
        """
        work = program.kind_of(job)
        if job.check and not work.READS_ONLY:
            return local.run(job, on_event, lock)
        self._open()
        data, digest = package.program()
        if digest not in self._status["programs"]:
            self._ask("PUT", f"/v1/programs/{digest}", data)
            self._status["programs"].append(digest)
        sent = copy.deepcopy(job.options)
        places = self._places(sent, job.staging)
        inputs = work.inputs(sent)
        self._make_room(inputs)
        bases = self._push(inputs)
        name = f"{job.kind.replace('_', '-')}-{secrets.token_hex(6)}"
        request = {"program": digest, "interpreter": None, "job": dict(kind=job.kind, options=sent, staging="", check=False, protocol=job.protocol)}
        try:
            staging = self._ask_json("PUT", f"/v1/jobs/{name}", request)["staging"]
            result = self._follow(name, on_event)
            for item in result.artifacts:
                place = places.get(item.name, job.staging)
                kept = workspace_name(place)
                if kept:
                    self._leave(name, staging, item, kept)
                    continue
                self._fetch(name, staging, item, place, bases.get(work.base_of(sent, item.name)))
                if not self._own and not item.extents:
                    self._keep(name, item)
        finally:
            if not self._own:   # its own pod goes as a whole
                self._forget(name)
        return result

    def _forget(self, name):
        with contextlib.suppress(ImageError):   # the pod's deadline ends it
            self._channel.request("DELETE", f"/v1/jobs/{name}", timeout=30)

    def _ask(self, method, path, body=None):
        return patiently(lambda: self._channel.request(method, path, body, timeout=60), on_wait=self._waiting)

    def _ask_json(self, method, path, data):
        # the agent knows the same request again by its bytes
        body = json.dumps(data).encode()
        return patiently(lambda: self._channel.request(method, path, body, {"Content-Type": "application/json"}), on_wait=self._waiting).json()

    def _waiting(self, _error, _seconds):
        self._progress.phase("wait for the connection to the builder")

    @staticmethod
    def _places(sent, staging):
        """{name of an artifact: where it is to come}, of outputs that have places of their own on this host."""
        found = {}
        for output in sent.get("outputs") or []:
            found[output["name"]] = output.pop("staging", None) or staging
        return found

    # --- files ---------------------------------------------------------------------------------------

    def _push(self, inputs):
        """Bring the files that a Job's options name; {its path: (where it is read here, its name in the pod)}."""
        bases = {}
        for item in inputs:
            path, opened = item.path, item.holder.pop("opened", None) if item.image else None
            kept = workspace_name(path)
            if kept:
                item.moved(os.path.join(self._status["workspace"], "files", kept))
                continue
            if item.image and formats.guard(opened or path, item.image, path, allow_backing=True).extents:
                raise ImageError("an image of several files cannot be sent to a builder pod", path, "convert it on this host first (builder: local)")
            try:
                digest = artifact.identity(path, self._progress, sparse=item.image == "raw", opened=opened)
            except FileNotFoundError as error:
                raise from_os_error(error, "reading a file for the builder", path) from error
            name = _name(digest)
            transfer.push(self._channel, path, name, digest, self._progress, opened)
            item.moved(os.path.join(self._status["workspace"], "files", name))
            bases[path] = (opened or path, name)
        return bases

    def _fetch(self, name, staging, item, place, base):
        """Bring an Artifact, all its files, to `place`; its path is changed to what it is here."""
        folder = os.path.dirname(item.path)
        self._relative[item.name] = os.path.relpath(item.path, staging)
        digests = [item.sha256, *(extent["sha256"] for extent in item.values.get("extents", []))]
        for number, (file, digest) in enumerate(zip([os.path.basename(item.path), *item.extents], digests)):
            relative = os.path.relpath(os.path.join(folder, file), staging)
            local_base, remote_base = base if base and not number else (None, None)
            transfer.fetch(self._channel, f"jobs/{name}/{relative}", os.path.join(place, file), digest, self._progress, local_base, remote_base)
        item.path = os.path.join(place, os.path.basename(item.path))

    def _keep(self, name, item):
        """What was made stays in the pod under the name that a later task would send it by, which then sends nothing."""
        with contextlib.suppress(ImageError):   # it is sent again, no more
            self._channel.json("POST", f"/v1/files/{_name(item.sha256)}", {"source": f"jobs/{name}/{self._relative[item.name]}", "digest": item.sha256})

    # --- what stays in the workspace -----------------------------------------------------------------

    def _leave(self, name, staging, item, kept):
        """Give what a Job made its name in the workspace."""
        if item.extents:
            raise ImageError("an image of several files cannot be kept in a workspace", WORKSPACE + kept, "choose another subformat, or a dest on this host")
        source = f"jobs/{name}/{os.path.relpath(item.path, staging)}"
        self._ask_json("POST", f"/v1/files/{kept}", {"source": source, "digest": item.sha256})
        item.path = WORKSPACE + kept

    def record(self, name):
        """artifact.Record of what is in the workspace under this name; None where there is nothing, or it was changed. Raises ImageError."""
        if not self._params.get("name"):
            raise ImageError("a workspace is that of a named builder pod", WORKSPACE + name, "set builder.name")
        if not self._open(make=False):
            return None
        beside = name + artifact.RECORD_SUFFIX
        size = self._channel.json("GET", "/v1/status")["files"].get(beside)
        if not size:
            return None
        record = artifact.parse_record(self._ask("GET", f"/v1/files/{beside}/part?ranges={extents.as_text([(0, size)])}").body)
        if record and not self._channel.json("GET", f"/v1/files/{name}/received?digest={record.sha256}&needed=0")["done"]:
            record = None
        return record

    def write_record(self, name, record):
        """Keep a record beside what is in the workspace under this name."""
        self._open()
        with tempfile.NamedTemporaryFile() as file:
            file.write(artifact.record_text(record).encode())
            file.flush()
            transfer.push(self._channel, file.name, name + artifact.RECORD_SUFFIX, artifact.sha256_file(file.name)[0], Progress(lambda event: None))

    def _make_room(self, inputs):
        """See to it that the sources and as much again fit into the workspace: what goes beyond its limit, the cluster evicts. Raises ImageError."""
        files = self._channel.json("GET", "/v1/status")["files"]
        needed = 2 * sum(os.stat(item.path).st_blocks * 512 for item in inputs if os.path.exists(item.path))
        for name in [name for name in files if _BY_DIGEST.fullmatch(name)]:
            if needed + sum(files.values()) <= self._limit:
                return
            self._ask("DELETE", f"/v1/files/{name}")
            del files[name]
        needed += sum(files.values())
        if needed > self._limit:
            raise ImageError(f"the workspace of the builder has {self._limit} bytes, and this work needs about {needed}",
                             f"pod {self._pod}, namespace {self._cluster.namespace}", "make the builder with a larger workspace",
                             needed_bytes=needed, limit_bytes=self._limit)

    # --- its output ----------------------------------------------------------------------------------

    def _follow(self, name, on_event):
        """Read the program's lines until it has ended. Returns its Result. Raises ImageError."""
        offset, rest, last, data = 0, b"", None, None
        while True:
            try:
                answer = self._ask("GET", f"/v1/jobs/{name}/output?offset={offset}&wait={_WAIT}")
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
        if state == "stopped":   # not by us
            raise self._channel.ended() or ImageError("the work was stopped in the builder pod", f"pod {self._pod}, namespace {self._cluster.namespace}",
                                                      "run the task again", last=last)
        if data is None:
            status = int(answer.headers.get("X-Exit") or 0)
            try:
                words = self._channel.request("GET", f"/v1/jobs/{name}/errors").body.decode("utf-8", "replace").strip()
            except ChannelLost:
                words = ""
            raise ImageError(f"the work program ended without a result ({'signal' if status < 0 else 'exit status'} {abs(status)})",
                             f"pod {self._pod}, namespace {self._cluster.namespace}",
                             "look for a lack of memory (pod_overrides: resources), then run the task again", stderr=words[-_LAST_WORDS:], last=last)
        if "error" in data:
            raise ImageError.from_dict(data["error"])
        return wire.load_result(data["result"])
