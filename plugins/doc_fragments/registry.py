# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The option of every module that reads or writes container images."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  registry:
    description:
      - How to reach the registry of a container image. All of it is optional, and most users need none of it. The usual places are
        obeyed as podman and skopeo do (auth files, C(registries.conf), C(certs.d), C(policy.json)), and so are the proxy variables
        (E(HTTP_PROXY), E(HTTPS_PROXY), E(NO_PROXY)) in the environment of the task.
      - Paths are on the host where the module runs.
    type: dict
    suboptions:
      username:
        description: The account to log in with. It counts for the image named in the task, above what auth files say.
        type: str
      password:
        description: The password or token of that account. It reaches neither command lines nor the disk.
        type: str
      auth_file:
        description: An auth file as C(podman login) writes it, in place of those in the usual places.
        type: path
      ca_cert:
        description:
          - The certificate (PEM) of the authority that signed the registry's certificate.
          - With this option or O(registry.client_cert), C(certs.d) is not read.
        type: path
      client_cert:
        description: The certificate (PEM) to show to the registry. Needs O(registry.client_key).
        type: path
      client_key:
        description: The key (PEM) of O(registry.client_cert).
        type: path
      verify:
        description:
          - With V(false) the registry's certificate is not verified, and plain http is taken where it does not speak TLS.
          - With V(true) TLS is asked for even where C(registries.conf) calls the registry insecure.
          - Not set, C(registries.conf) decides; without a word there it is verified.
        type: bool
      policy:
        description: A signature policy (C(containers-policy.json(5\))) in place of the user's or the system's. The policy is always obeyed.
        type: path
"""
