# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import base64
import json

import pytest

from ansible_collections.ocne.images.plugins.module_utils.builders.kubernetes import pod_spec
from ansible_collections.ocne.images.plugins.module_utils.builders.kubernetes.boot_media import Source
from ansible_collections.ocne.images.plugins.module_utils.builders.kubernetes.pod_spec import PodOptions
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError


def job(**pod_options):
    return pod_spec.job_manifest("b1", "ns", PodOptions(**pod_options), "start", "me@here")


def pod_of(made):
    return made["spec"]["template"]["spec"]


@pytest.mark.parametrize("text, size", [
    ("20Gi", 20 << 30), ("500M", 500_000_000), ("1e9", 10 ** 9), ("1.5Ki", 1536), ("7", 7), ("3k", 3000), ("2000m", 2), (1024, 1024)])
def test_quantities(text, size):
    assert pod_spec.parse_quantity(text) == size


@pytest.mark.parametrize("text", ["20GB", "", "Gi", "-1Gi", "1 2", "5K"])
def test_what_is_no_quantity(text):
    with pytest.raises(ImageError, match="is not a size"):
        pod_spec.parse_quantity(text)


def test_the_cluster_ends_and_removes_it():
    spec = job(deadline=60)["spec"]
    assert (spec["backoffLimit"], spec["activeDeadlineSeconds"], spec["ttlSecondsAfterFinished"]) == (0, 60, pod_spec.TIME_TO_LIVE)
    assert spec["template"]["spec"]["restartPolicy"] == "Never"


def test_restricted():
    spec = pod_of(job(security="restricted"))
    assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    context = spec["containers"][0]["securityContext"]
    assert context == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True}


def test_no_secret_is_in_the_pod():
    pod_options = PodOptions(environment={"HTTPS_PROXY": "http://me:hidden@proxy"})
    made = pod_spec.job_manifest("b1", "ns", pod_options, "start", "me@here")
    assert "hidden" not in json.dumps(made)
    made["metadata"]["uid"] = "u1"
    secret = pod_spec.secret_manifest(made, pod_options, "token", b"zip")
    assert base64.b64decode(secret["data"]["environment.HTTPS_PROXY"]) == b"http://me:hidden@proxy"
    assert secret["metadata"]["ownerReferences"][0]["uid"] == "u1"
    mounted = next(volume for volume in pod_of(made)["volumes"] if volume["name"] == "ocne")
    assert mounted["secret"]["secretName"] == secret["metadata"]["name"] != pod_spec.job_manifest(
        "b1", "ns", pod_options, "start", "me@here")["spec"]["template"]["spec"]["volumes"][1]["secret"]["secretName"]


def test_the_wish_is_told_by_its_digest():
    assert PodOptions().digest() == PodOptions().digest() != PodOptions(deadline=1).digest()
    assert not pod_spec.differs(job(kvm="x/kvm"), PodOptions(kvm="x/kvm").digest())
    assert pod_spec.differs(job(kvm="x/kvm"), PodOptions().digest())


def test_overrides_are_matched_by_name():
    spec = pod_of(job(pod_overrides={"spec": {
        "nodeSelector": {"disk": "fast"}, "imagePullSecrets": [{"name": "pull"}], "volumes": [{"name": "more", "emptyDir": {}}],
        "containers": [{"name": "builder", "resources": {"requests": {"memory": "2Gi"}}, "env": [{"name": "A", "value": "b"}]}]}}))
    container, = spec["containers"]
    assert container["resources"]["requests"] == {"cpu": "100m", "memory": "2Gi"}
    assert {"name": "A", "value": "b"} in container["env"] and {"name": "HOME", "value": "/workspace/home"} in container["env"]
    assert [volume["name"] for volume in spec["volumes"]] == ["workspace", "ocne", "more"]
    assert spec["nodeSelector"] == {"disk": "fast"} and spec["imagePullSecrets"] == [{"name": "pull"}]


def test_null_takes_away():
    assert "resources" not in pod_of(job(pod_overrides={"spec": {"containers": [{"name": "builder", "resources": None}]}}))["containers"][0]


def test_labels_that_find_it_stay():
    made = job(pod_overrides={"metadata": {"labels": {pod_spec.LABEL: "other", "team": "a"}}})
    assert made["spec"]["template"]["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "ocne.images", pod_spec.LABEL: "b1", "team": "a"}


def container(**more):
    return {"containers": [dict(name="builder", **more)]}


@pytest.mark.parametrize("spec, what", [
    ({"hostNetwork": True}, "hostNetwork"),
    ({"hostPID": True}, "hostPID"),
    ({"automountServiceAccountToken": True}, "automountServiceAccountToken"),
    ({"volumes": [{"name": "root", "hostPath": {"path": "/"}}]}, "hostPath"),
    ({"volumes": [{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]}, "serviceAccountToken"),
    ({"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}}, "sysctls"),
    (container(securityContext={"privileged": True}), "privileged"),
    (container(securityContext={"allowPrivilegeEscalation": True}), "allowPrivilegeEscalation"),
    (container(securityContext={"capabilities": {"add": ["SYS_ADMIN"]}}), "SYS_ADMIN"),
    (container(securityContext={"seccompProfile": {"type": "Unconfined"}}), "Unconfined"),
    (container(securityContext={"procMount": "Unmasked"}), "procMount"),
    (container(ports=[{"containerPort": 1, "hostPort": 1}]), "hostPort"),
    ({"initContainers": [{"name": "i", "image": "i", "securityContext": {"privileged": True}}]}, "i: privileged"),
])
def test_privilege_is_refused(spec, what):
    with pytest.raises(ImageError, match="add privilege") as caught:
        job(pod_overrides={"spec": spec})
    assert what in str(caught.value)


def test_its_container_cannot_be_taken_away():
    with pytest.raises(ImageError, match="container builder is gone"):
        job(pod_overrides={"spec": {"containers": None}})


@pytest.mark.parametrize("name", ["", "Upper", "-a", "a-", "a" * 53, "a.b", "a_b"])
def test_names(name):
    with pytest.raises(ImageError, match="is not a name for a builder"):
        pod_spec.job_manifest(name, "ns", PodOptions(), "start", "me@here")


def test_names_of_variables():
    with pytest.raises(ImageError, match="environment variable"):
        job(environment={"a b": "c"})


def mounting(login=None, **pod_options):
    source = Source("registry.example.com/ock@sha256:1", "arm64", login, {}, {})
    return pod_spec.job_manifest("b1", "ns", PodOptions(**pod_options), "start", "me@here", source)


def test_an_image_is_mounted_read_only():
    made = mounting(login={"auths": {}})["spec"]["template"]
    assert pod_spec.mounted_image(made) == "registry.example.com/ock@sha256:1"
    assert {"name": "source", "mountPath": pod_spec.SOURCE, "readOnly": True} in made["spec"]["containers"][0]["volumeMounts"]
    assert "arm64" in str(made["spec"]["affinity"])
    assert pod_spec.mounted_image(job()["spec"]["template"]) is None


def test_the_pull_secret_is_the_job_s():
    made = dict(mounting(login={"auths": {}}))
    made["metadata"]["uid"] = "u"
    secret = pod_spec.pull_secret_manifest(made, {"auths": {"registry.example.com": {"auth": "x"}}})
    assert secret["type"] == "kubernetes.io/dockerconfigjson" and secret["metadata"]["ownerReferences"][0]["uid"] == "u"
    assert made["spec"]["template"]["spec"]["imagePullSecrets"] == [{"name": secret["metadata"]["name"]}]


def test_the_user_s_pull_secrets_stay():
    made = mounting(login={"auths": {}}, pod_overrides={"spec": {"imagePullSecrets": [{"name": "mine"}]}})["spec"]["template"]["spec"]
    assert len(made["imagePullSecrets"]) == 2 and {"name": "mine"} in made["imagePullSecrets"]


def test_a_wish_for_an_architecture_binds():
    assert "affinity" not in mounting(architecture="amd64")["spec"]["template"]["spec"]
