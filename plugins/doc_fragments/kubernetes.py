# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How to reach a Kubernetes cluster: names and environment variables as in kubernetes.core."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
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
