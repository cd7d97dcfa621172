# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The life of a builder pod: made, ready or hopeless, found again, removed. Hopeless ones are told at once, in the cluster's own words."""

from __future__ import annotations

import getpass
import os
import secrets
import socket
import time

from ...common import advice
from ...common.errors import ImageError
from ...common.lifeline import surely
from ..remote import package
from . import pod_spec
from .cluster import ApiFault, admission_todo

_PAUSE = 0.3              # seconds between two looks at a pod that starts
_LOOK = 2                 # seconds between two looks at its events
_RETRY_SECONDS = 60            # seconds that an API server may be away meanwhile
_END_TIMEOUT = 2             # seconds that a Job may take to tell why it ends its pod
#: seconds without a node before that counts as hopeless: an autoscaler says within these that it makes one
_UNSCHEDULABLE = 15
#: what the scheduler says where nodes are full, not unfit: other pods may leave
_BUSY = "No preemption victims found"
_SCALING = ("TriggeredScaleUp", "Nominated")
#: reasons for which a container waits that pass by themselves
_PASSING = ("ContainerCreating", "PodInitializing", "ErrImagePull", None)
#: what a kubelet says that is older than its API server and does not know image volumes, after some 10 s, and again for ever
_UNKNOWN_VOLUME = "no volume plugin matched"
_PULL = ("ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "RegistryUnavailable", "ImageInspectError")


def new_name():
    """A name of its own for each pod: builds side by side never meet."""
    return f"ocne-builder-{secrets.token_hex(4)}"


def owner():
    """Who makes a pod, for people who look at the cluster."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):   # a user id without a name, as in a pod
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def selector(name=None):
    labels = [f"{key}={value}" for key, value in pod_spec.MANAGED_BY.items()]
    return ",".join([*labels, f"{pod_spec.LABEL}={name}" if name else pod_spec.LABEL])


def active(batch_job):
    """Whether a Job has not ended, nor is being removed."""
    ended = any(item["type"] in ("Complete", "Failed", "FailureTarget", "SuccessCriteriaMet") and item["status"] == "True"
                for item in (batch_job.get("status") or {}).get("conditions") or [])
    return not ended and not batch_job["metadata"].get("deletionTimestamp")


def dry_run(cluster, made):
    """Ask the API server for a dry run of the very pod: of a Job it would only warn. Returns that pod, None where it may not be asked. Raises ImageError."""
    try:
        return cluster.create("pods", pod_spec.pod_manifest(made), "trying out the builder pod", dry_run=True)
    except ApiFault as error:
        # whoever may make Jobs only still gets a pod
        if not (error.status == 403 and "cannot create resource" in error.message):
            raise
        return None


def job_manifest(cluster, name, pod_options, source=None):
    return pod_spec.job_manifest(name, cluster.namespace, pod_options, package.START, owner(), source)


def create(cluster, name, pod_options, source=None):
    """Make the Job and its Secrets; returns the token. They are the Job's from the start, so that they never outlive it.

    source: a boot media image to mount, sources.Source. Raises ImageError.
    """
    wanted = job_manifest(cluster, name, pod_options, source)
    tried = dry_run(cluster, wanted)
    if source and tried and pod_spec.mounted_image(tried) != source.reference:
        # what an API server does not know it leaves out
        raise ImageError("it has no image volumes", f"namespace {cluster.namespace}", mountable=False)
    made = cluster.create("jobs", wanted, f"making the builder {name}")
    # there is a cluster, and we may do this: what fails now passes
    cluster.retry_seconds = max(cluster.retry_seconds, _RETRY_SECONDS)
    token = secrets.token_urlsafe(32)
    try:
        # images are pulled once the other secret is there, too
        if source and source.login:
            cluster.create("secrets", pod_spec.pull_secret_manifest(made, source.login), f"making the pull secret of the builder {name}")
        cluster.create("secrets", pod_spec.secret_manifest(made, pod_options, token, package.program()[0]), f"making the secret of the builder {name}")
    except BaseException:
        surely(lambda: cluster.delete("jobs", name))
        raise
    return token


def remove(cluster, name, wait_timeout=60):
    """Remove a builder with all that is its; returns whether there was one. wait_timeout: seconds to wait until its name is free, 0: not at all."""
    if not cluster.delete("jobs", name, f"removing the builder {name}"):
        return False
    deadline = time.monotonic() + wait_timeout
    while wait_timeout and (cluster.get("jobs", name) or pods_of(cluster, name)):
        if time.monotonic() > deadline:
            raise ImageError(f"it was not gone after {wait_timeout} s", f"builder {name}", "look at it with kubectl describe job,pod")
        time.sleep(_PAUSE)
    return True


def pods_of(cluster, name, batch_job=None):
    """The pods of a builder, or only those of this very Job of it."""
    found = cluster.list("pods", labelSelector=f"{pod_spec.LABEL}={name}")
    return [pod for pod in found if batch_job is None or any(
        owning["uid"] == batch_job["metadata"]["uid"] for owning in pod["metadata"].get("ownerReferences") or [])]


def wait(cluster, name, timeout, progress):
    """Wait until the builder's container runs; returns its pod. Raises ImageError as soon as that is hopeless, or after `timeout` seconds."""
    progress.phase("start builder pod")
    began, unschedulable = time.monotonic(), None
    look = began + _LOOK
    while True:
        batch_job = cluster.get("jobs", name)
        if batch_job is None:
            raise ImageError("it is gone", f"builder {name}", "somebody or its deadline has removed it: run the task again")
        pods = pods_of(cluster, name, batch_job)
        pod = pods[0] if pods else None
        if pod is None:
            if not active(batch_job):
                raise ImageError(f"the pod did not start: {_last_condition(batch_job)}", f"builder {name}")
            _refused(cluster, name, batch_job)
        else:
            if _running(pod):
                progress.finish()
                return pod
            ended = ending(pod)
            if ended:
                raise ImageError(f"the pod ended before its work began: {ended}", _where(cluster, pod), after(ended))
            _stuck(cluster, pod)
            if pod_spec.mounted_image(pod) and time.monotonic() > look:
                _no_mount(cluster, pod)
                look = time.monotonic() + _LOOK
            why = _no_node(pod)
            if why is None or _BUSY in why:
                unschedulable = None
                if why:
                    progress.phase("wait for room on a node of the cluster")
            elif unschedulable is None:
                unschedulable = time.monotonic()
            elif time.monotonic() - unschedulable > _UNSCHEDULABLE and not _events(cluster, pod, _SCALING):
                raise ImageError(f"no node can take the pod: {why}", _where(cluster, pod),
                                 "look at architecture, workspace, kvm and pod_overrides (resources, selectors, tolerations)")
        if time.monotonic() - began > timeout:
            raise ImageError(f"the pod was not ready after {timeout} s{_latest(cluster, pod)}", _where(cluster, pod) if pod else f"builder {name}",
                             "raise wait_timeout, or look at it with kubectl describe pod")
        time.sleep(_PAUSE)


# --- why not -------------------------------------------------------------------------------------------


def _where(cluster, pod):
    return f"pod {pod['metadata']['name']}, namespace {cluster.namespace}"


def _statuses(pod):
    status = pod.get("status") or {}
    return [item for key in ("initContainerStatuses", "containerStatuses") for item in status.get(key) or []]


def _running(pod):
    return any(item["name"] == pod_spec.CONTAINER and "running" in (item.get("state") or {}) for item in _statuses(pod)) \
        and not pod["metadata"].get("deletionTimestamp")


def ending(pod):
    """Why a pod has ended, in one phrase; None where it has not."""
    status = pod.get("status") or {}
    if status.get("phase") not in ("Failed", "Succeeded") and not pod["metadata"].get("deletionTimestamp"):
        return None
    for item in _statuses(pod):
        ended = (item.get("state") or {}).get("terminated") or {}
        if ended.get("reason") == "OOMKilled":
            return "it ran out of memory (OOMKilled)"
        # where the kubelet has lost sight of a container, it says so in this place
        if ended.get("message") and ended.get("reason") != "ContainerStatusUnknown":
            return ended["message"].strip()
    if status.get("reason") or status.get("message"):
        return ": ".join(word.strip() for word in (status.get("reason"), status.get("message")) if word)
    disrupted = next((item for item in status.get("conditions") or [] if item["type"] == "DisruptionTarget" and item["status"] == "True"), None)
    if disrupted:
        return disrupted.get("message") or disrupted.get("reason")
    for item in _statuses(pod):
        ended = (item.get("state") or {}).get("terminated") or {}
        if ended:
            return f"{ended.get('reason', 'it ended')} (exit status {ended.get('exitCode')})"
    return "it was removed" if pod["metadata"].get("deletionTimestamp") else "it ended"


#: words of an ending -> what to do about it
_TODO = {
    "out of memory": "raise its memory (pod_overrides: resources), and run the task again",
    "EmptyDir volume": "make the builder with a larger workspace, and run the task again",
    "ephemeral local storage": "raise its ephemeral-storage (pod_overrides: resources), and run the task again",
}


def fate(cluster, pod_name, wait_seconds=0):
    """ImageError with what became of a builder's pod, None where it goes on. Raises what the API server says.

    wait_seconds: of a pod that has begun to end, how long its cluster may take to tell.
    """
    deadline = time.monotonic() + wait_seconds
    while True:
        pod = cluster.get("pods", pod_name, may_retry=False)
        why = ending(pod) if pod else "somebody has removed it"
        if why or time.monotonic() >= deadline:
            break
        time.sleep(_PAUSE)
    if why is None:
        return None
    where = f"pod {pod_name}, namespace {cluster.namespace}"
    # the pod that goes at the deadline of its Job is not told why
    batch_job = ended_job(cluster, pod_name.rpartition("-")[0])
    if batch_job and any(item.get("reason") == "DeadlineExceeded" for item in (batch_job.get("status") or {}).get("conditions") or []):
        return ImageError(f"the builder pod was ended at its deadline of {batch_job['spec']['activeDeadlineSeconds']} s", where,
                          "raise deadline, and run the task again")
    return ImageError(f"the builder pod has ended: {why}", where, after(why))


def after(why):
    """What to do after an ending()."""
    return next((todo for words, todo in _TODO.items() if words in why), advice.RUN_AGAIN)


def ended_job(cluster, name):
    """The Job whose pod is ending, with its own condition, which comes some moments after that; None where it is gone."""
    deadline = time.monotonic() + _END_TIMEOUT
    while True:
        batch_job = cluster.get("jobs", name, may_retry=False)
        if batch_job is None or not active(batch_job) or time.monotonic() > deadline:
            return batch_job
        time.sleep(_PAUSE)


def _events(cluster, involved, reasons=None):
    """Events about an object, the newest last; [] where we may not read them."""
    try:
        found = cluster.list("events", fieldSelector=f"involvedObject.uid={involved['metadata']['uid']}")
    except ApiFault:
        return []
    found.sort(key=lambda item: item.get("lastTimestamp") or item.get("eventTime") or item["metadata"].get("creationTimestamp") or "")
    return [item for item in found if reasons is None or item.get("reason") in reasons]


def _refused(cluster, name, batch_job):
    """Raise where the Job's pod is refused by the API server."""
    for event in _events(cluster, batch_job, ("FailedCreate",)):
        message = event.get("message", "").removeprefix("Error creating: ")
        raise ImageError(f"the cluster refuses the pod: {message}", f"builder {name}, namespace {cluster.namespace}", admission_todo(message))


def _stuck(cluster, pod):
    """Raise where a container waits for what will not come."""
    for item in _statuses(pod):
        waiting = (item.get("state") or {}).get("waiting") or {}
        reason = waiting.get("reason")
        if reason in _PULL:
            words = waiting.get("message") or reason
            # the back-off tells the image only; the event before it tells the cause
            causes = [event["message"] for event in _events(cluster, pod, ("Failed",)) if "Failed to pull" in event.get("message", "")]
            raise ImageError(f"the image of the pod cannot be pulled: {(causes or [words])[-1]}", _where(cluster, pod),
                             "check image, and its pull secret (pod_overrides: imagePullSecrets)", waiting=reason)
        if reason not in _PASSING:
            raise ImageError(f"the pod cannot start: {reason}: {waiting.get('message', '')}".rstrip(": "), _where(cluster, pod), waiting=reason)


def _no_mount(cluster, pod):
    """Raise where the node does not know how to mount an image: its container only waits."""
    for event in _events(cluster, pod, ("FailedMount",)):
        if _UNKNOWN_VOLUME in event.get("message", ""):
            raise ImageError("its node knows no image volumes", _where(cluster, pod), mountable=False)


def _no_node(pod):
    for item in (pod.get("status") or {}).get("conditions") or []:
        if item["type"] == "PodScheduled" and item["status"] == "False" and item.get("reason") == "Unschedulable":
            return item.get("message") or "Unschedulable"
    return None


def _last_condition(batch_job):
    conditions = (batch_job.get("status") or {}).get("conditions") or []
    return conditions[-1].get("message") or conditions[-1].get("reason") if conditions else "it was removed"


def _latest(cluster, pod):
    events = [item for item in _events(cluster, pod) if item.get("type") == "Warning"] if pod else []
    return f": {events[-1].get('message', '').strip()}" if events else ""
