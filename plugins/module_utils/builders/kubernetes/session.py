# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The pod that a task works in: found or made, spoken to, removed if it is the task's own."""

from __future__ import annotations

import contextlib
import json

from ...common.errors import ImageError
from ...common.lifeline import surely
from ..remote.client import RETRY_SECONDS, retry_lost
from . import boot_media, clients, cluster, options, pod_life, pod_spec

_REMOVE_SECONDS = 20   # seconds that the removal of a pod is tried


class Session:
    """One pod, reached when it is first needed.

    params: the option `builder`. Once open: pod (its name), client, status (the agent's), limit (bytes of its workspace),
    own (whether the pod is this task's), mounted (the reference of the image that it has mounted, or None).
    """

    def __init__(self, params, progress):
        self.params, self._progress = params, progress
        self.cluster = self.pod = self.client = self.status = self.limit = self.mounted = self._own = None
        self.retry_seconds = RETRY_SECONDS   # seconds that a lost connection is waited for

    @property
    def own(self):
        return self._own is not None

    @property
    def where(self):
        """The pod, for messages."""
        return f"pod {self.pod}, namespace {self.cluster.namespace}"

    def open(self, make=True, find=None):
        """Reach the pod. make: False where one that does not exist yet is not to be made; then returns False. Raises ImageError.

        find(): the sources.Source that a pod to be made should mount, or None; not called where there is a pod.
        """
        if self.client:
            return True
        self.cluster = self.cluster or cluster.Cluster(self.params, self.params.get("namespace"))
        name = self.params.get("name")
        batch_job = self.cluster.get("jobs", name) if name else None
        if batch_job and pod_life.active(batch_job):
            self._reach(name, None)
        elif name and not self.params["create"]:
            raise self._missing("there is no such builder" if batch_job is None else "the builder has ended")
        elif not make:
            return False
        else:
            if batch_job:
                pod_life.remove(self.cluster, name)
            self._make(name, find() if find else None)
        made = self.cluster.get("pods", self.pod)
        self.limit, self.mounted = pod_spec.workspace_limit(made), pod_spec.mounted_image(made)
        # a pod that has heard nothing for so long has ended
        self.retry_seconds = min(RETRY_SECONDS, self.status["idle_timeout"])
        self.cluster.retry_seconds = self.retry_seconds
        return True

    def _make(self, given, source):
        """Make the pod; without the image to be mounted where that does not work, unless it was asked for."""
        pod_options, name = options.pod_options(self.params), given or pod_life.new_name()
        if not given:
            self._own = name
        made = False
        try:
            token = pod_life.create(self.cluster, name, pod_options, source)
            made = True
            self._reach(name, token)
        except BaseException as error:
            if made and given:
                # nothing waits for its deadline that nobody can use
                with contextlib.suppress(ImageError):
                    surely(lambda: pod_life.remove(self.cluster, name, 0))
            if not isinstance(error, ImageError) or not source or not boot_media.not_mountable(error, source):
                raise
            if self.params["source_transfer"] == "image_volume":
                raise ImageError(f"the cluster does not mount the boot media image: {error.what}", error.where, "let source_transfer be auto or pull",
                                 **error.details) from error
            self._progress.phase("make the builder pod again, as it cannot mount the image")
            pod_life.remove(self.cluster, name)
            self._make(given, None)

    def _reach(self, name, token):
        self.pod, self.client, self.status = clients.ready(self.cluster, name, token, self.params["wait_timeout"], self._progress)

    def _missing(self, what):
        return ImageError(what, f"builder {self.params['name']}, namespace {self.cluster.namespace}",
                          "make it with ocne_builder (state: present), or set builder.create")

    def dry_run(self):
        """In check mode: ask the API server whether it would admit the pod that the task would make. Raises ImageError."""
        self.cluster = self.cluster or cluster.Cluster(self.params, self.params.get("namespace"))
        name = self.params.get("name")
        if name and self.cluster.get("jobs", name):
            return
        if name and not self.params["create"]:
            raise self._missing("there is no such builder")
        pod_life.dry_run(self.cluster, pod_life.job_manifest(self.cluster, name or pod_life.new_name(), options.pod_options(self.params)))

    def close(self):
        """Remove the pod if it is this task's own."""
        surely(self._close)

    def _close(self):
        if self.client:
            self.client.close_all()
        if self._own:
            # what was built is good, whatever becomes of the pod: else idle_timeout ends it
            self.cluster.retry_seconds = _REMOVE_SECONDS
            with contextlib.suppress(ImageError):
                pod_life.remove(self.cluster, self._own, 0)
            self._own = None

    # --- requests ------------------------------------------------------------------------------------

    def ask(self, method, path, body=None, headers=None):
        """One request to the agent, again after a lost connection. Raises ImageError."""
        return retry_lost(lambda: self.client.request(method, path, body, headers, timeout=60), self.retry_seconds, self._waiting)

    def ask_json(self, method, path, data=None):
        # the agent knows the same request again by its bytes
        body = None if data is None else json.dumps(data).encode()
        return self.ask(method, path, body, {"Content-Type": "application/json"}).json()

    def has(self, name, digest):
        """Whether a file of this digest is in the workspace under this name."""
        return self.ask_json("GET", f"/v1/files/{name}/received?digest={digest}&needed=0")["done"]

    def files(self):
        """{name: size in bytes} of the workspace."""
        return self.ask_json("GET", "/v1/status")["files"]

    def allocated(self):
        """{name: bytes that it takes on the disk} of the workspace."""
        return self.ask_json("GET", "/v1/status")["allocated"]

    def _waiting(self, _error, _seconds):
        self._progress.phase("wait for the connection to the builder")
