# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How to reach Oracle Cloud Infrastructure, and as whom: names and environment variables as in oracle.oci."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
requirements:
  - Python 3.9 or newer on the host where the module runs
  - oci 2.126 or newer (Oracle's SDK, a Python package) for that Python
notes:
  - The options of the cloud are those of the collection C(oracle.oci). What is not given is taken from the environment of the task, then from the
    configuration file that the command line C(oci) reads, too. Paths are on the host where the module runs.
  - The proxy variables (E(HTTPS_PROXY), E(NO_PROXY)) in the environment of the task are obeyed. C(~/.netrc) is not read.
options:
  config_file_location:
    description:
      - A configuration file, as C(oci setup config) and C(oci session authenticate) write it. Default E(OCI_CONFIG_FILE), else C(~/.oci/config).
      - None is needed where options and environment say all that would be in it, and none for O(auth_type=instance_principal) and
        O(auth_type=resource_principal).
    type: path
  config_profile_name:
    description:
      - The profile of that file. Default E(OCI_CONFIG_PROFILE), else C(DEFAULT).
    type: str
  api_user:
    description:
      - The OCID of the user. Default E(OCI_USER_ID), else C(user) of the configuration file.
    type: str
  api_user_fingerprint:
    description:
      - The fingerprint of the user's API key. Default E(OCI_USER_FINGERPRINT), else C(fingerprint) of the configuration file.
    type: str
  api_user_key_file:
    description:
      - The file (PEM) of the private API key. Default E(OCI_USER_KEY_FILE), else C(key_file) of the configuration file.
    type: path
  api_user_key_pass_phrase:
    description:
      - The pass phrase of that key, where it has one. Default E(OCI_USER_KEY_PASS_PHRASE), else C(pass_phrase) of the configuration file.
    type: str
  auth_type:
    description:
      - As whom the cloud is asked. Default E(OCI_ANSIBLE_AUTH_TYPE), else what the configuration file says (C(authentication_type), or C(security_token_file)),
        else V(api_key).
      - V(api_key) is a user with an API key.
      - V(security_token) is a user who has logged in with C(oci session authenticate), which writes a profile with C(security_token_file). A token that
        C(oci session refresh) renews while the task runs is taken up.
      - V(instance_principal) is the compute instance that the module runs on, and V(instance_obo_user) is that instance on behalf of a user, by
        C(delegation_token_file) of the configuration file.
      - V(resource_principal) is a resource such as a function or a container instance, by the variables E(OCI_RESOURCE_PRINCIPAL_VERSION) and its companions.
    type: str
    choices: [api_key, instance_principal, instance_obo_user, resource_principal, security_token]
  tenancy:
    description:
      - The OCID of the tenancy, from which the paths of compartments begin. Default E(OCI_TENANCY), else C(tenancy) of the configuration file, or that of the
        instance or resource.
    type: str
  region:
    description:
      - The name of the region, such as V(eu-frankfurt-1). Default E(OCI_REGION), else C(region) of the configuration file, or that of the instance or
        resource.
    type: str
  cert_bundle:
    description:
      - A file (PEM) with the certificates of the authorities that the cloud's certificate may be signed by, in place of those that come with the SDK.
        A private cloud needs it. Default E(OCI_ANSIBLE_CERT_BUNDLE), E(REQUESTS_CA_BUNDLE), E(CURL_CA_BUNDLE).
    type: path
  service_endpoints:
    description:
      - Addresses of services in place of those of the region, for a private cloud, or a gateway in front of the public one. A service that is not named here
        has the address of its region.
    type: dict
    suboptions:
      object_storage:
        description: The address of Object Storage, such as V(https://objectstorage.cloud.example.com).
        type: str
      compute:
        description: That of the Core Services, where images are.
        type: str
      work_requests:
        description: That of Work Requests, which tell how far an import is.
        type: str
      identity:
        description: That of Identity, which is asked only for a compartment that is given by its path.
        type: str
      auth:
        description: Where an instance gets its token, for O(auth_type=instance_principal) and O(auth_type=instance_obo_user).
        type: str
  proxy:
    description:
      - The address of a proxy for all requests to the cloud, such as V(http://proxy.example.com:3128), in place of the proxy variables. It is not shown, as it
        may have a password in it.
    type: str
  connect_timeout:
    description:
      - Seconds after which a connection that does not come about is given up. It is then tried again for a while.
    type: int
    default: 10
  read_timeout:
    description:
      - Seconds after which a connection on which the cloud says nothing is given up. The request is then made again.
    type: int
    default: 60
"""
