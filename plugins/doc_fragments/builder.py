# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The option `builder` of every image module: a few of its own, and those of pod.py and kubernetes.py."""

from __future__ import annotations

import re
import textwrap

from . import kubernetes, pod

_OWN = r"""
options:
  builder:
    description:
      - Where the work is done. By default on the host where the module runs, else in a pod of a Kubernetes cluster.
      - Paths in the task are on the host where the module runs in both cases. What the work needs is sent to the pod, and what it makes comes back, checked.
      - The value RV(ocne.images.ocne_builder#module:builder) of M(ocne.images.ocne_builder) names a pod that several tasks use.
        Without O(builder.name) the task makes itself a pod, with the options below, and removes it again. With nothing to do there is none.
      - With a named pod, V(workspace:NAME) as source or destination is an artifact in the pod, which the next tasks find there and which goes with it.
    type: dict
    suboptions:
      type:
        description:
          - V(local) is the host where the module runs.
        type: str
        choices: [local, pod]
        default: local
      name:
        description:
          - A builder that M(ocne.images.ocne_builder) has made, or a task with O(builder.create).
        type: str
      create:
        description:
          - With O(builder.name), make the pod where there is none of that name. It stays for the next tasks, until M(ocne.images.ocne_builder) removes it with
            C(state=absent), or O(builder.idle_timeout) is over. So several tasks share a pod, and where none of them has anything to do there is none.
        type: bool
        default: false
      source_transfer:
        description:
          - How a boot media image of a registry reaches the pod, and an image that came from one, as its record tells. Others are always sent to the pod.
          - With V(image_volume) the cluster mounts it in a pod that is made for the task. The cluster pulls it by its digest, with the pull secrets of
            O(builder.pod_overrides) and this task's login. The node must be of the image's architecture.
          - With V(pull) the pod pulls it, with the options of the registry and the login for it.
          - With V(push) this host pulls it and sends it to the pod where it is needed there.
          - V(auto) takes the first of these that works. An image that a signature policy speaks of is not mounted.
        type: str
        choices: [auto, image_volume, pull, push]
        default: auto
"""


def _suboptions(fragment):
    """The options of another fragment, as they stand below `builder`."""
    options = fragment.ModuleDocFragment.DOCUMENTATION.partition("options:\n")[2]
    # O(security=restricted) is O(builder.security=restricted) here; those of other plugins have a # and stay
    return textwrap.indent(re.sub(r"\bO\((?![^)]*#)", "O(builder.", options), 4 * " ")


class ModuleDocFragment:
    """Its documentation is put together below: the sanity test yamllint takes what a class assigns for literal text."""


ModuleDocFragment.DOCUMENTATION = _OWN + _suboptions(pod) + _suboptions(kubernetes)
