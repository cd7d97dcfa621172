# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a builder pod is, as data: its Job, the Secret that the Job owns, and what a user may change.

A Job of one pod, so that the cluster itself ends it (activeDeadlineSeconds) and removes it (ttlSecondsAfterFinished) when nobody comes back.
"""

from __future__ import annotations

import base64
import copy
import dataclasses
import json
import re
import secrets

from ...common.canonical import digest_of, without_defaults
from ...common.errors import ImageError
from ...files import space
from . import pod_start

#: raised when the pod is made in another way, so that a pod of an older release is not taken for one of this
VERSION = 1
PORT = 8471
LABEL, MANAGED_BY = "ocne.images/builder", {"app.kubernetes.io/managed-by": "ocne.images"}
SPEC_ANNOTATION, OWNER_ANNOTATION = "ocne.images/spec", "ocne.images/owner"
CONTAINER = "builder"
WORKSPACE_MOUNT = "/workspace"
_SECRETS = "/run/ocne"
TOKEN, PROGRAM = f"{_SECRETS}/token", f"{_SECRETS}/program.zip"
#: where a boot media image is mounted, and the volume's name
SOURCE, _SOURCE_VOLUME = "/run/source", "source"
_USER = 1000                     # of a restricted pod; any number does
#: seconds after its end that a Job and its pod can still be looked at
TIME_TO_LIVE = 60
#: what a user who has built no image gets; it installs what is missing
DEFAULT_IMAGE = "container-registry.oracle.com/os/oraclelinux:9"


@dataclasses.dataclass
class PodOptions:
    """The options of a builder pod."""

    image: str = DEFAULT_IMAGE
    architecture: str = None        # one of architectures.NAMES; None: any node
    workspace: str = "20Gi"         # a quantity
    deadline: int = 7200            # seconds
    idle_timeout: int = 900         # seconds
    security: str = "baseline"
    kvm: str = None                 # the device plugin's name of the resource
    environment: dict = dataclasses.field(default_factory=dict)
    pod_overrides: dict = dataclasses.field(default_factory=dict)

    def digest(self):
        """Tells these options from others; what may be secret is in it as a digest only."""
        return digest_of([VERSION, without_defaults(self)])


def parse_quantity(text):
    """Bytes of a Kubernetes quantity (20Gi, 500M, 1e9). Raises ImageError."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?(?:[eE]\d+)?)\s*(m|k|[KMGTPE]i?)?\s*", str(text))
    if not found or found.group(2) == "K":
        raise ImageError(f"{text!r} is not a size", "workspace", "give a Kubernetes quantity, such as 20Gi")
    number, unit = float(found.group(1)), found.group(2) or ""
    power = " kMGTPE".index(unit[0].replace("K", "k")) if unit and unit != "m" else 0
    return int(number * (1024 if unit.endswith("i") else 1000) ** power) if unit != "m" else int(number / 1000)


def workspace_limit(made):
    """Bytes that a pod may keep in its workspace."""
    volume = next((item for item in made["spec"].get("volumes") or [] if item["name"] == "workspace"), {})
    limit = (volume.get("emptyDir") or {}).get("sizeLimit")
    return parse_quantity(limit) if limit else float("inf")


# --- the objects ---------------------------------------------------------------------------------------


def mounted_image(made):
    """The reference of the image that a pod has mounted, or None."""
    volume = next((item for item in made["spec"].get("volumes") or [] if item["name"] == _SOURCE_VOLUME), {})
    return (volume.get("image") or {}).get("reference")


def template(name, pod_options, start, secret_name, source=None):
    """The pod template, with the user's overrides. start: what Python runs, package.START; source: a sources.Source to mount. Raises ImageError."""
    arguments = [PROGRAM, "--workspace", WORKSPACE_MOUNT, "--token-file", TOKEN, "--port", str(PORT),
                 "--idle-timeout", str(pod_options.idle_timeout)]
    environment = [{"name": "HOME", "value": f"{WORKSPACE_MOUNT}/home"}, {"name": "TMPDIR", "value": f"{WORKSPACE_MOUNT}/tmp"},
                   # libguestfs has its sockets there; root's are in /tmp
                   {"name": "XDG_RUNTIME_DIR", "value": f"{WORKSPACE_MOUNT}/tmp"},
                   {"name": "LIBGUESTFS_BACKEND", "value": "direct"}, {"name": "LIBGUESTFS_CACHEDIR", "value": f"{WORKSPACE_MOUNT}/tmp"},
                   {"name": "OCNE_START", "value": start}]
    # a proxy's address can hold a password
    environment += [{"name": key, "valueFrom": {"secretKeyRef": {"name": secret_name, "key": _environment_key(key)}}}
                    for key in sorted(pod_options.environment)]
    container = {
        "name": CONTAINER, "image": pod_options.image, "command": ["/bin/sh", "-c", pod_start.SCRIPT, "ocne-builder", *arguments], "env": environment,
        "ports": [{"name": "agent", "containerPort": PORT}],
        "resources": {"requests": {"cpu": "100m", "memory": "1Gi"}},
        "volumeMounts": [{"name": "workspace", "mountPath": WORKSPACE_MOUNT}, {"name": "ocne", "mountPath": _SECRETS, "readOnly": True}],
        "securityContext": {"allowPrivilegeEscalation": False},
    }
    spec = {
        "restartPolicy": "Never", "automountServiceAccountToken": False, "enableServiceLinks": False, "terminationGracePeriodSeconds": 30,
        "containers": [container],
        "volumes": [{"name": "workspace", "emptyDir": {"sizeLimit": pod_options.workspace}},
                    {"name": "ocne", "secret": {"secretName": secret_name, "defaultMode": 0o444}}],
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
    }
    if pod_options.security == "restricted":
        spec["securityContext"].update(runAsNonRoot=True, runAsUser=_USER, runAsGroup=_USER, fsGroup=_USER)
        container["securityContext"].update(capabilities={"drop": ["ALL"]}, readOnlyRootFilesystem=True)
    if pod_options.kvm:
        container["resources"]["limits"] = {pod_options.kvm: "1"}
    if pod_options.architecture:
        spec["nodeSelector"] = {"kubernetes.io/arch": pod_options.architecture}
    if source:
        _mount(spec, source, secret_name)
    made = merged({"metadata": {"labels": dict(MANAGED_BY, **{LABEL: name})}, "spec": spec}, pod_options.pod_overrides)
    refuse_privilege(made.get("spec") or {})
    limit = workspace_limit(made)
    if limit < float("inf"):
        # what goes beyond it, the cluster evicts
        known = [{"name": space.LIMIT_VARIABLE, "value": f"{limit} {WORKSPACE_MOUNT}"}]
        container = next(item for item in made["spec"]["containers"] if item["name"] == CONTAINER)
        container["env"] = merged(container.get("env"), known, "env")
    # what finds the pod again is not the user's to change
    made["metadata"]["labels"].update(dict(MANAGED_BY, **{LABEL: name}))
    return made


def _mount(spec, source, secret_name):
    """Let the cluster mount a boot media image (an image volume), read-only."""
    spec["volumes"].append({"name": _SOURCE_VOLUME, "image": {"reference": source.reference, "pullPolicy": "IfNotPresent"}})
    spec["containers"][0]["volumeMounts"].append({"name": _SOURCE_VOLUME, "mountPath": SOURCE, "readOnly": True})
    if source.login:
        spec["imagePullSecrets"] = [{"name": _pull_secret(secret_name)}]
    if "nodeSelector" not in spec:
        # on a node of another architecture it is not used
        wanted = {"matchExpressions": [{"key": "kubernetes.io/arch", "operator": "In", "values": [source.architecture]}]}
        spec["affinity"] = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": wanted}]}}


def job_manifest(name, namespace, pod_options, start, owner, source=None):
    """The Job of a builder pod. owner: who made it, for people; source: a sources.Source to mount. Raises ImageError."""
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?", name):
        raise ImageError(f"{name!r} is not a name for a builder", "name", "use at most 52 lower-case letters, digits and hyphens, the first and last no hyphen")
    # the Secret of an earlier builder of that name may still be on its way out
    secret_name = f"{name}-{secrets.token_hex(3)}"
    return {
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(MANAGED_BY, **{LABEL: name}),
                     "annotations": {SPEC_ANNOTATION: pod_options.digest(), OWNER_ANNOTATION: owner}},
        "spec": {"backoffLimit": 0, "completions": 1, "parallelism": 1, "activeDeadlineSeconds": pod_options.deadline,
                 "ttlSecondsAfterFinished": TIME_TO_LIVE, "template": template(name, pod_options, start, secret_name, source)},
    }


def pod_manifest(made):
    """The pod that a Job would make, for a dry run."""
    body = copy.deepcopy(made["spec"]["template"])
    body.update(apiVersion="v1", kind="Pod")
    body["metadata"].update(generateName=made["metadata"]["name"] + "-", namespace=made["metadata"]["namespace"])
    return body


def secret_manifest(made, pod_options, token, program):
    """The Secret that goes with the Job `made` (as the API server has answered it)."""
    values = {"token": token.encode(), "program.zip": program}
    values.update({_environment_key(key): str(value).encode() for key, value in pod_options.environment.items()})
    return _secret(made, _secret_name(made), "Opaque", values)


def pull_secret_manifest(made, login):
    """The Secret by which the cluster pulls the image to be mounted. login: the content of an auth file."""
    return _secret(made, _pull_secret(_secret_name(made)), "kubernetes.io/dockerconfigjson", {".dockerconfigjson": json.dumps(login).encode()})


def _secret_name(made):
    return next(item["secret"]["secretName"] for item in made["spec"]["template"]["spec"]["volumes"] if item["name"] == "ocne")


def _pull_secret(secret_name):
    return f"{secret_name}-pull"


def _secret(made, name, kind, values):
    metadata = made["metadata"]
    return {
        "apiVersion": "v1", "kind": "Secret", "type": kind,
        "metadata": {"name": name, "namespace": metadata["namespace"], "labels": metadata["labels"],
                     "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": metadata["name"], "uid": metadata["uid"]}]},
        "data": {key: base64.b64encode(value).decode() for key, value in values.items()},
    }


def _environment_key(name):
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ImageError(f"{name!r} is not the name of an environment variable", "environment", "use letters, digits and underscores")
    return "environment." + name


# --- the user's part -------------------------------------------------------------------------------------

#: lists whose members are told apart by a name, and merged
_NAMED = {"containers": "name", "initContainers": "name", "volumes": "name", "env": "name", "volumeMounts": "mountPath", "imagePullSecrets": "name"}


def merged(base, patch, key=None):
    """A JSON merge patch (RFC 7386) applied; members of lists such as containers are matched by their names, as kubectl does."""
    if isinstance(patch, dict):
        result = dict(base) if isinstance(base, dict) else {}
        for name, value in patch.items():
            if value is None:
                result.pop(name, None)
            else:
                result[name] = merged(result.get(name), value, name)
        return result
    if isinstance(patch, list) and key in _NAMED and all(isinstance(item, dict) and item.get(_NAMED[key]) for item in patch):
        result = [dict(item) for item in base or []]
        for item in patch:
            same = [number for number, old in enumerate(result) if old.get(_NAMED[key]) == item[_NAMED[key]]]
            if same:
                result[same[0]] = merged(result[same[0]], item)
            else:
                result.append(merged({}, item))
        return result
    return copy.deepcopy(patch)


#: capabilities that the baseline Pod Security Standard lets be added
_HARMLESS = {"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP",
             "SETUID", "SYS_CHROOT"}


def refuse_privilege(spec):
    """ImageError where a pod spec has what the baseline Pod Security Standard forbids, or a credential of the cluster."""
    def refuse(what):
        raise ImageError(f"it would add privilege ({what})", "pod_overrides", "leave that out: the builder needs nothing special from the cluster")
    for name in ("hostNetwork", "hostPID", "hostIPC", "automountServiceAccountToken", "shareProcessNamespace"):
        if spec.get(name):
            refuse(name)
    for volume in spec.get("volumes") or []:
        if "hostPath" in volume:
            refuse(f"volume {volume.get('name')}: hostPath")
        for source in (volume.get("projected") or {}).get("sources") or []:
            if "serviceAccountToken" in source:
                refuse(f"volume {volume.get('name')}: serviceAccountToken")
    containers = [item for key in ("containers", "initContainers", "ephemeralContainers") for item in spec.get(key) or []]
    for place, context in [("pod", spec.get("securityContext") or {}), *((item.get("name"), item.get("securityContext") or {}) for item in containers)]:
        for name in ("privileged", "allowPrivilegeEscalation"):
            if context.get(name):
                refuse(f"{place}: {name}")
        added = set((context.get("capabilities") or {}).get("add") or []) - _HARMLESS
        if added:
            refuse(f"{place}: capabilities {', '.join(sorted(added))}")
        for name in ("seccompProfile", "appArmorProfile"):
            if (context.get(name) or {}).get("type") == "Unconfined":
                refuse(f"{place}: {name} Unconfined")
        if context.get("procMount") not in (None, "Default") or context.get("sysctls"):
            refuse(f"{place}: procMount or sysctls")
        if (context.get("windowsOptions") or {}).get("hostProcess"):
            refuse(f"{place}: hostProcess")
    for item in containers:
        if any(port.get("hostPort") for port in item.get("ports") or []):
            refuse(f"{item.get('name')}: hostPort")
    if not any(item.get("name") == CONTAINER for item in spec.get("containers") or []):
        raise ImageError(f"the container {CONTAINER} is gone", "pod_overrides", "change it, but do not take it away")


def differs(made, digest):
    """Whether a Job that is there was made with other options."""
    return (made["metadata"].get("annotations") or {}).get(SPEC_ANNOTATION) != digest


def canonical(overrides):
    """pod_overrides as plain data (Ansible's own types of text and lists compare unequal on some versions)."""
    return json.loads(json.dumps(overrides or {}))
