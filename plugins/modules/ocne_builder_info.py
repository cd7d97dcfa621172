#!/usr/bin/python
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Lists builder pods."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ocne_builder_info
short_description: Tell of the builder pods in a namespace
version_added: 0.1.0
author:
  - ocne.images contributors (@oracle-cne)
description:
  - Tells which builders of this collection are in a namespace, who made them, how old they are, and what they do now.
  - Only the API server is asked, and with O(activity) the builders themselves.
requirements:
  - Python 3.10 or newer on the host where the module runs
  - kubernetes 37.0 or newer (a Python package) for that Python
extends_documentation_fragment:
  - ocne.images.attributes.info
  - ocne.images.kubernetes
options:
  namespace:
    description:
      - The namespace. Without one it is that of the kubeconfig's context, else V(default).
    type: str
  name:
    description:
      - Only the builder of this name.
    type: str
  label_selectors:
    description:
      - Only builders with these labels.
    type: list
    elements: str
    default: []
  activity:
    description:
      - Whether each running builder is asked what it does. To be asked counts as being spoken to, so its idle time begins anew.
    type: bool
    default: false
seealso:
  - module: ocne.images.ocne_builder
"""

EXAMPLES = r"""
- name: Which builders are there
  ocne.images.ocne_builder_info:
    namespace: images
  register: found

- name: What does this one do
  ocne.images.ocne_builder_info:
    namespace: images
    name: nightly
    activity: true
  register: nightly
"""

RETURN = r"""
namespace:
  description: The namespace.
  returned: success
  type: str
  sample: images
builders:
  description: The builders, the oldest first.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The name of the builder.
      type: str
      sample: nightly
    owner:
      description: Who made it, as user@host.
      type: str
      sample: awx@automation-job-7
    pod:
      description: Its pod, or null where there is none.
      type: str
      sample: nightly-x7k2p
    node:
      description: The node it is on, or null.
      type: str
      sample: worker-2
    state:
      description: V(starting), V(running), V(succeeded) or V(failed).
      type: str
      sample: running
    reason:
      description: Why it has ended, or null.
      type: str
    created:
      description: When it was made (RFC 3339).
      type: str
      sample: "2026-01-31T12:00:00Z"
    age:
      description: Seconds since then.
      type: int
      sample: 421
    deadline:
      description: Seconds after its start at which the cluster ends it.
      type: int
      sample: 7200
    jobs:
      description: With O(activity), what runs in it. The kinds of work. Null where it could not be asked.
      type: list
      elements: str
      sample: ["customize"]
    free_bytes:
      description: With O(activity), what is free on the file system of its workspace.
      type: int
      sample: 40802189312
error:
  description: The fault in parts for programs.
  returned: failure
  type: dict
  contains:
    what:
      description: What went wrong.
      type: str
    where:
      description: What it concerns, such as an image, a folder, a pod or an API server; else null.
      type: str
    todo:
      description: What can be done about it, or null.
      type: str
    details:
      description: Facts, such as the exit status and the words of a tool, or the status and reason of the API server.
      type: dict
"""

import datetime

from ansible_collections.ocne.images.plugins.module_utils.builders.kubernetes import clients, pod_life, pod_spec
from ansible_collections.ocne.images.plugins.module_utils.builders.kubernetes.cluster import CONNECTION_SPEC, Cluster, secrets_of
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.task.module import run_module


def describe(batch_job, pod, now):
    """What the API server tells of one builder."""
    metadata, phase = batch_job["metadata"], ((pod or {}).get("status") or {}).get("phase")
    created = datetime.datetime.fromisoformat(metadata["creationTimestamp"].replace("Z", "+00:00"))
    if pod_life.active(batch_job):
        state = "running" if phase == "Running" else "starting"
    else:
        state = "succeeded" if (batch_job.get("status") or {}).get("succeeded") else "failed"
    return {"name": metadata["name"], "owner": (metadata.get("annotations") or {}).get(pod_spec.OWNER_ANNOTATION),
            "pod": pod["metadata"]["name"] if pod else None, "node": (pod["spec"].get("nodeName") if pod else None), "state": state,
            "reason": pod_life.ending(pod) if pod else None, "created": metadata["creationTimestamp"],
            "age": int((now - created).total_seconds()), "deadline": batch_job["spec"].get("activeDeadlineSeconds")}


def activity(cluster, pod):
    """What a running builder says of itself."""
    try:
        token = clients.read_token(cluster, pod)
        for client in (clients.ProxyClient(cluster, pod, token), clients.ExecClient(cluster, pod, token)):
            try:
                status = client.json("GET", "/v1/status", timeout=20)
                return {"jobs": [job["kind"] for job in status["jobs"].values() if job["state"] == "running"], "free_bytes": status["free_bytes"]}
            except ImageError:   # the proxy may be forbidden
                continue
            finally:
                client.close_all()
    except ImageError:
        pass
    return {"jobs": None, "free_bytes": None}


def body(m):
    """One run: the values of exit_json."""
    m.mask(secrets_of(m.params["kubeconfig"]))
    cluster = Cluster(m.params, m.params["namespace"])
    selector = ",".join([pod_life.selector(m.params["name"]), *m.params["label_selectors"]])
    now, found = datetime.datetime.now(datetime.timezone.utc), []
    for batch_job in sorted(cluster.list("jobs", labelSelector=selector), key=lambda item: item["metadata"]["creationTimestamp"]):
        pods = pod_life.pods_of(cluster, batch_job["metadata"]["name"], batch_job)
        result = describe(batch_job, pods[0] if pods else None, now)
        if m.params["activity"]:
            result.update(activity(cluster, result["pod"]) if result["state"] == "running" else {"jobs": [], "free_bytes": None})
        found.append(result)
    return {"namespace": cluster.namespace, "builders": found, "changed": False}


def main():
    run_module(dict(
        CONNECTION_SPEC,
        namespace=dict(type="str"),
        name=dict(type="str"),
        label_selectors=dict(type="list", elements="str", default=[]),
        activity=dict(type="bool", default=False),
    ), body, files=False)


if __name__ == "__main__":
    main()
