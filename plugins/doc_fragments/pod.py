# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where a builder pod is and what it is to be: options of ocne_builder, and of `builder` in the image modules (builder.py)."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  namespace:
    description:
      - The namespace of the pod. Without one it is that of the kubeconfig's context, else V(default).
    type: str
  image:
    description:
      - The image of the pod. It needs Python 3.9 or newer, libguestfs with its Python binding, qemu-img, skopeo and zstd.
      - The default is a plain Oracle Linux, in which the pod installs what is missing at its start, with the package manager and the proxies of O(environment).
        That takes minutes and root in the pod, so with O(security=restricted) a ready image is needed.
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
      - The name of the resource by which a device plugin of the cluster offers C(/dev/kvm), such as C(devices.kubevirt.io/kvm). Without it the
        libguestfs appliance is emulated.
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
"""
