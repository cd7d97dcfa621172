# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The option `builder` of every image module: those of pod.py and kubernetes.py, in a dictionary."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
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
      namespace:
        description:
          - The namespace of the pod. Without one it is that of the kubeconfig's context, else V(default).
        type: str
      image:
        description:
          - The image of the pod. It needs Python 3.9 or newer, libguestfs with its Python binding, qemu-img, skopeo and zstd.
          - The default is a plain Oracle Linux, in which the pod installs what is missing at its start, with the package manager and the proxies of
            O(builder.environment).
            That takes minutes and root in the pod, so with O(builder.security=restricted) a ready image is needed.
        type: str
        default: container-registry.oracle.com/os/oraclelinux:9
      architecture:
        description:
          - The processor architecture of the node. By default any node serves, for images of any architecture.
        type: str
        choices: [amd64, arm64]
      workspace:
        description:
          - The most that the pod may keep on its disk, as a Kubernetes quantity. It is the size limit of an C(emptyDir) volume.
        type: str
        default: 20Gi
      deadline:
        description:
          - Seconds after which the cluster ends the pod, whatever it does.
        type: int
        default: 7200
      idle_timeout:
        description:
          - Seconds after which the pod ends by itself when no task has spoken to it.
        type: int
        default: 900
      security:
        description:
          - The Pod Security Standard that the pod keeps to. With V(restricted) it runs as an ordinary user, without any capability, on a read-only root
            file system.
        type: str
        choices: [baseline, restricted]
        default: baseline
      kvm:
        description:
          - The name of the resource by which a device plugin of the cluster offers C(/dev/kvm), such as C(devices.kubevirt.io/kvm). Without it the libguestfs
            appliance is emulated.
        type: str
      environment:
        description:
          - Environment variables of the pod, such as E(HTTPS_PROXY) and E(NO_PROXY). They are kept in the pod's secret.
        type: dict
        default: {}
      pod_overrides:
        description:
          - A merge patch for the pod template, with C(metadata) and C(spec), for all the rest. Pull secrets, node selectors, tolerations, resources, labels and
            volumes, for example. Members of lists such as C(containers), C(volumes) and C(env) are matched by their names. The container is C(builder).
          - What would add privilege, such as host paths or capabilities, is refused.
        type: dict
        default: {}
      wait_timeout:
        description:
          - Seconds to wait for the pod to be ready, or to be gone.
        type: int
        default: 300
      kubeconfig:
        description:
          - A kubeconfig file, or several with C(:) between them, or its content as a dictionary. Default E(K8S_AUTH_KUBECONFIG), E(KUBECONFIG),
            C(~/.kube/config); where there is none, the account of the pod that the task runs in.
        type: raw
      context:
        description:
          - A context of the kubeconfig. Default E(K8S_AUTH_CONTEXT), or the current one.
        type: str
      host:
        description:
          - The URL of the API server. Default E(K8S_AUTH_HOST).
        type: str
      api_key:
        description:
          - A token for the API server. Default E(K8S_AUTH_API_KEY).
        type: str
      username:
        description:
          - A name for HTTP basic authentication. Default E(K8S_AUTH_USERNAME).
        type: str
      password:
        description:
          - Its password. Default E(K8S_AUTH_PASSWORD).
        type: str
      validate_certs:
        description:
          - Whether the API server's certificate is verified. Default E(K8S_AUTH_VERIFY_SSL), else yes.
        type: bool
        aliases: [verify_ssl]
      ca_cert:
        description:
          - The certificate of the authority that signed the API server's. Default E(K8S_AUTH_SSL_CA_CERT).
        type: path
        aliases: [ssl_ca_cert]
      client_cert:
        description:
          - A client certificate. Default E(K8S_AUTH_CERT_FILE).
        type: path
        aliases: [cert_file]
      client_key:
        description:
          - Its key. Default E(K8S_AUTH_KEY_FILE).
        type: path
        aliases: [key_file]
      proxy:
        description:
          - The URL of a proxy for the API server. Default E(K8S_AUTH_PROXY). The usual proxy variables are not obeyed.
        type: str
      no_proxy:
        description:
          - Hosts that are reached without the proxy, with commas between them. Default E(K8S_AUTH_NO_PROXY).
        type: str
      proxy_headers:
        description:
          - Headers for the proxy.
        type: dict
        suboptions:
          proxy_basic_auth:
            description: Name and password for the proxy, with a colon between them. Default E(K8S_AUTH_PROXY_HEADERS_PROXY_BASIC_AUTH).
            type: str
          basic_auth:
            description: Name and password, with a colon between them. Default E(K8S_AUTH_PROXY_HEADERS_BASIC_AUTH).
            type: str
          user_agent:
            description: The name of the program to tell. Default E(K8S_AUTH_PROXY_HEADERS_USER_AGENT).
            type: str
      persist_config:
        description:
          - Whether a token that was renewed is written to the kubeconfig. Default E(K8S_AUTH_PERSIST_CONFIG), else no.
        type: bool
      impersonate_user:
        description:
          - A user to act as. Default E(K8S_AUTH_IMPERSONATE_USER).
        type: str
      impersonate_groups:
        description:
          - Groups to act as. Default E(K8S_AUTH_IMPERSONATE_GROUPS), with commas between them.
        type: list
        elements: str
"""
