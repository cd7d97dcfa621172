#!/usr/bin/python
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Makes and removes builder pods."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ocne_builder
short_description: Make or remove a builder pod on a Kubernetes cluster
version_added: 0.1.0
author:
  - ocne.images contributors (@oracle-cne)
description:
  - A builder pod is a place where image work is done, on any Kubernetes cluster. It needs nothing special from the cluster. It runs under the C(baseline)
    Pod Security Standard, or C(restricted) with O(security), without host paths, host network or privilege, and any number run side by side.
  - The tasks that follow name it with their option C(builder), to which RV(builder) is the value. A task that names none makes itself a pod and removes it.
  - The pod is that of a Job. The cluster itself ends it after O(deadline), and removes it, its workspace and its secret soon after its end, whatever became
    of Ansible. It ends by itself when no task has spoken to it for O(idle_timeout).
  - A pod that cannot start is told in one sentence with the words of the cluster, as soon as that is known, not only after O(wait_timeout).
  - The account needs a Role in the namespace with C(create), C(get), C(list) and C(delete) of C(jobs) (API group C(batch)); C(get) and C(list) of C(pods);
    C(create) of C(pods), for dry runs only; C(create) of C(secrets); C(create) and C(get) of C(pods/exec); C(list) of C(events). With C(get), C(create),
    C(update) and C(delete) of C(pods/proxy) too, transfers are faster. The file C(docs/builder-role.yaml) of the collection has that Role.
requirements:
  - Python 3.10 or newer on the host where the module runs
  - kubernetes 37.0 or newer (a Python package) for that Python
extends_documentation_fragment:
  - ocne.images.attributes
  - ocne.images.pod
  - ocne.images.kubernetes
options:
  state:
    description:
      - V(present) makes the pod, where there is none of that name, and waits until it is ready.
      - V(absent) removes it, or with O(expired) all that have ended or are past their deadline.
    type: str
    choices: [present, absent]
    default: present
  name:
    description:
      - The name of the builder. Without one V(present) makes a new pod each time, with a name of its own.
    type: str
  create_namespace:
    description:
      - Make the namespace where it does not exist. The account needs C(get) and C(create) of C(namespaces) for that.
    type: bool
    default: false
  expired:
    description:
      - With O(state=absent), remove the builders of the namespace that have ended, or are past their deadline. Those that work go on.
    type: bool
    default: false
  label_selectors:
    description:
      - With O(expired), only builders with these labels.
    type: list
    elements: str
    default: []
attributes:
  idempotent:
    support: partial
    details:
      - Only with O(name).
seealso:
  - name: Pod Security Standards
    description: What the levels V(baseline) and V(restricted) allow.
    link: https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

EXAMPLES = r"""
- name: Make a builder pod
  ocne.images.ocne_builder:
    namespace: images
  register: made

- name: Make one with a name, for an hour, in a namespace that admits restricted pods only
  ocne.images.ocne_builder:
    name: nightly
    namespace: images
    image: registry.example.com/ocne/builder:latest
    security: restricted
    deadline: 3600
    pod_overrides:
      spec:
        imagePullSecrets: [{name: registry}]

- name: Remove it
  ocne.images.ocne_builder:
    name: nightly
    namespace: images
    state: absent

- name: Remove all that have ended
  ocne.images.ocne_builder:
    namespace: images
    state: absent
    expired: true
"""

RETURN = r"""
builder:
  description: The value for the option C(builder) of the tasks that are to work in this pod. It holds no secret, so C(api_key) and C(password) are to be given
    to those tasks too, or in the environment.
  returned: success, with O(state=present)
  type: dict
  sample: {"type": "pod", "name": "nightly", "namespace": "images"}
name:
  description: The name of the builder.
  returned: success, except with O(expired)
  type: str
  sample: ocne-builder-7f3a9c01
namespace:
  description: The namespace of the builder.
  returned: success
  type: str
  sample: images
pod:
  description: The name of its pod.
  returned: success, with O(state=present) and not in check mode
  type: str
  sample: nightly-x7k2p
removed:
  description: The names of the builders that were removed.
  returned: success, with O(state=absent)
  type: list
  elements: str
  sample: ["nightly"]
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

from ansible_collections.ocne.images.plugins.module_utils.builders.kubernetes import clients, options, pod_life, pod_spec
from ansible_collections.ocne.images.plugins.module_utils.builders.kubernetes.cluster import ApiFault, Cluster, secrets_of
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.common.lifeline import surely
from ansible_collections.ocne.images.plugins.module_utils.task.module import run_module


def ensure_namespace(m, cluster):
    """Make the namespace where it is missing; returns whether it was."""
    try:
        cluster.ask("GET", f"/api/v1/namespaces/{cluster.namespace}", doing="looking for the namespace")
        return False
    except ApiFault as error:
        if error.status != 404:
            raise
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": cluster.namespace}}
    try:
        cluster.ask("POST", "/api/v1/namespaces" + ("?dryRun=All" if m.check else ""), body, doing="making the namespace")
    except ApiFault as error:
        if error.reason != "AlreadyExists":
            raise
    return True


def present(m, cluster):
    pod_options = options.pod_options(m.params)
    name = m.params["name"] or pod_life.new_name()
    answer = {"name": name, "namespace": cluster.namespace, "builder": options.returned(m.params, name, cluster.namespace), "changed": True}
    wanted = pod_life.job_manifest(cluster, name, pod_options)
    new_namespace = m.params["create_namespace"] and ensure_namespace(m, cluster)
    batch_job = None if new_namespace else cluster.get("jobs", name)
    if batch_job and pod_life.active(batch_job):
        if pod_spec.differs(batch_job, pod_options.digest()):
            raise ImageError("there is a builder of that name with other options", f"builder {name}, namespace {cluster.namespace}",
                             "remove it first (state: absent), or choose another name")
        answer["changed"] = False
        token = None
    elif m.check:
        if not new_namespace:   # in one that is not there yet nothing can be tried
            pod_life.dry_run(cluster, wanted)
    else:
        if batch_job:
            pod_life.remove(cluster, name)
        token = pod_life.create(cluster, name, pod_options)
    if not m.check:
        try:
            answer["pod"], client = clients.ready(cluster, name, token, m.params["wait_timeout"], m.progress)[:2]
            client.close_all()
        except BaseException:
            if answer["changed"]:   # one that could not start helps nobody
                surely(lambda: pod_life.remove(cluster, name, 0))
            raise
    if m.wants_diff:
        answer["diff"] = {"before": {"state": "absent" if answer["changed"] else "present"}, "after": {"state": "present"}}
    return answer


def expired(batch_job):
    """Whether a builder has ended, or is past its deadline."""
    if not pod_life.active(batch_job):
        return True
    started = (batch_job.get("status") or {}).get("startTime")
    if not started:
        return False
    age = datetime.datetime.now(datetime.timezone.utc) - datetime.datetime.fromisoformat(started.replace("Z", "+00:00"))
    return age.total_seconds() > batch_job["spec"].get("activeDeadlineSeconds", float("inf"))


def absent(m, cluster):
    if m.params["expired"]:
        selector = ",".join([pod_life.selector(), *m.params["label_selectors"]])
        names = [batch_job["metadata"]["name"] for batch_job in cluster.list("jobs", labelSelector=selector) if expired(batch_job)]
    else:
        batch_job = cluster.get("jobs", m.params["name"])
        if batch_job and pod_spec.LABEL not in (batch_job["metadata"].get("labels") or {}):
            raise ImageError("the Job of that name is no builder of ocne.images", f"job {m.params['name']}, namespace {cluster.namespace}",
                             "check the name: it is left alone")
        names = [m.params["name"]] if batch_job else []
    if not m.check:
        names = [name for name in names if pod_life.remove(cluster, name, m.params["wait_timeout"])]
    answer = {"namespace": cluster.namespace, "removed": names, "changed": bool(names)}
    if m.params["name"]:
        answer["name"] = m.params["name"]
    if m.wants_diff:
        answer["diff"] = {"before": {"builders": names}, "after": {"builders": []}}
    return answer


def body(m):
    """One run: the values of exit_json."""
    if m.params["state"] == "absent" and bool(m.params["name"]) == m.params["expired"]:
        raise ImageError("state: absent needs either name or expired", todo="give the name of the builder, or expired: true")
    m.mask(secrets_of(m.params["kubeconfig"]))
    cluster = Cluster(m.params, m.params["namespace"])
    return present(m, cluster) if m.params["state"] == "present" else absent(m, cluster)


def main():
    run_module(dict(
        options.PLACE_SPEC,
        **options.POD_OPTIONS_SPEC,
        state=dict(choices=["present", "absent"], default="present"),
        create_namespace=dict(type="bool", default=False),
        expired=dict(type="bool", default=False),
        label_selectors=dict(type="list", elements="str", default=[]),
    ), body, files=False)


if __name__ == "__main__":
    main()
