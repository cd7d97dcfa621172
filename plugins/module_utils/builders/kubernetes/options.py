# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options of builders: `builder` of every image module, and those of ocne_builder. Documented in doc_fragments/pod.py, kubernetes.py and builder.py."""

from __future__ import annotations

from ...common.errors import ImageError
from ...platforms import architectures
from . import pod_spec
from .cluster import CONNECTION_SPEC

#: what a pod is to be
POD_OPTIONS_SPEC = {
    "image": {"type": "str", "default": pod_spec.PodOptions.image},
    "architecture": {"type": "str", "choices": list(architectures.NAMES)},
    "workspace": {"type": "str", "default": pod_spec.PodOptions.workspace},
    "deadline": {"type": "int", "default": pod_spec.PodOptions.deadline},
    "idle_timeout": {"type": "int", "default": pod_spec.PodOptions.idle_timeout},
    "security": {"type": "str", "choices": ["baseline", "restricted"], "default": pod_spec.PodOptions.security},
    "kvm": {"type": "str"},
    "environment": {"type": "dict", "default": {}},
    "pod_overrides": {"type": "dict", "default": {}},
    "wait_timeout": {"type": "int", "default": 300},
}
#: where a pod is
PLACE_SPEC = dict({"name": {"type": "str"}, "namespace": {"type": "str"}}, **CONNECTION_SPEC)
BUILDER_SPEC = {
    "builder": {
        "type": "dict",
        "options": dict({
            "type": {"type": "str", "choices": ["local", "pod"], "default": "local"},
            "create": {"type": "bool", "default": False},
            "source_transfer": {"type": "str", "choices": ["auto", "image_volume", "pull", "push"], "default": "auto"},
        }, **PLACE_SPEC, **POD_OPTIONS_SPEC),
    },
}
#: of the options of a builder, what ocne_builder returns for the next tasks: no secret, and what was given only
_RETURNED = [name for name, spec in PLACE_SPEC.items() if not spec.get("no_log") and name not in ("kubeconfig", "proxy_headers", "persist_config")]


def pod_options(params):
    """pod_spec.PodOptions of the options. Raises ImageError."""
    for name in ("deadline", "idle_timeout", "wait_timeout"):
        if params[name] <= 0:
            raise ImageError(f"{name} is {params[name]}", todo="give a positive number of seconds")
    pod_spec.parse_quantity(params["workspace"])
    return pod_spec.PodOptions(image=params["image"], architecture=params["architecture"], workspace=params["workspace"],
                               deadline=params["deadline"], idle_timeout=params["idle_timeout"], security=params["security"], kvm=params["kvm"],
                               environment={name: str(value) for name, value in (params["environment"] or {}).items()},
                               pod_overrides=pod_spec.canonical(params["pod_overrides"]))


def returned(params, name, namespace):
    """The dictionary for the option `builder` of other tasks."""
    found = {key: params[key] for key in _RETURNED if params.get(key) is not None}
    # a path is no secret, a kubeconfig given as a dictionary is one
    if isinstance(params.get("kubeconfig"), str):
        found["kubeconfig"] = params["kubeconfig"]
    return dict(found, type="pod", name=name, namespace=namespace)
