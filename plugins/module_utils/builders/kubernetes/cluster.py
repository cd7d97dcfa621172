# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One Kubernetes cluster: the connection options, requests to its API server as plain JSON, faults in one sentence.

Objects are dictionaries, not the client's classes: those of an older client do not know newer fields, and drop them.
"""

from __future__ import annotations

import json
import os
import socket
import sys

from ...common import advice, versions
from ...common.errors import ImageError
from ...common.retry import retry

_CONNECT_TIMEOUT, _READ_TIMEOUT = 10, 60   # seconds
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 3      # seconds between two attempts
_STARTING = 20                             # seconds that an API server takes to know its own roles, at most
#: of every connection: one that somebody in between has forgotten is found dead after 20 s, used or not, long before an answer is overdue
SOCKET_OPTIONS = [
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5), (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 20_000),
]
_IN_CLUSTER_NAMESPACE = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

#: the connection options as kubernetes.core has them; documented in doc_fragments/kubernetes.py
CONNECTION_SPEC = {
    "kubeconfig": {"type": "raw", "no_log": False},   # mostly a path; see secrets_of()
    "context": {"type": "str"},
    "host": {"type": "str"},
    "api_key": {"type": "str", "no_log": True},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "validate_certs": {"type": "bool", "aliases": ["verify_ssl"]},
    "ca_cert": {"type": "path", "aliases": ["ssl_ca_cert"]},
    "client_cert": {"type": "path", "aliases": ["cert_file"]},
    "client_key": {"type": "path", "aliases": ["key_file"], "no_log": False},   # a path, not the key
    "proxy": {"type": "str"},
    "no_proxy": {"type": "str"},
    "proxy_headers": {"type": "dict", "options": {
        "proxy_basic_auth": {"type": "str", "no_log": True},
        "basic_auth": {"type": "str", "no_log": True},
        "user_agent": {"type": "str"},
    }},
    "persist_config": {"type": "bool"},
    "impersonate_user": {"type": "str"},
    "impersonate_groups": {"type": "list", "elements": "str"},
}
#: option -> the client's name for it, where it has another one; the environment variables have both
_CLIENT_NAMES = {"validate_certs": "verify_ssl", "ca_cert": "ssl_ca_cert", "client_cert": "cert_file", "client_key": "key_file"}
_FALSE = ("0", "false", "no")


def admission_todo(message):
    """What to do about a pod that is not admitted, by the cluster's words; None where they are about something else."""
    if "violates PodSecurity" in message:
        return "set security: restricted, or use a namespace that admits the pod"
    if "exceeded quota" in message:
        return "raise the quota, free some of it, or ask for less (workspace, pod_overrides)"
    return None


def is_starting(status, message):
    """Whether an answer is that of an API server that does not know its own roles yet."""
    return status == 403 and "RBAC: [" in message and "not found" in message


class ApiFault(ImageError):
    """An answer of the API server other than success. status: HTTP's; reason: the API's word, such as AlreadyExists."""

    def __init__(self, status, reason, message, what, where, todo=None):
        super().__init__(what, where, todo, status=status, reason=reason, message=message)
        self.status, self.reason, self.message = status, reason, message
        #: whether it may be another one soon
        self.passing = status == 429 or status >= 500
        #: of a server that has not read its own roles yet
        self.starting = is_starting(status, message)


class Unreachable(ImageError):
    """The API server did not answer."""


def from_environment(options):
    """The connection options, what is not given taken from K8S_AUTH_... as kubernetes.core does."""
    found = {}
    for name, spec in CONNECTION_SPEC.items():
        value = options.get(name)
        if name == "proxy_headers":
            value = dict(value or {})
            for key in spec["options"]:
                word = os.environ.get(f"K8S_AUTH_PROXY_HEADERS_{key.upper()}")
                if value.get(key) is None and word is not None:
                    value[key] = word
            value = {key: word for key, word in value.items() if word is not None} or None
        elif value is None:
            value = os.environ.get(f"K8S_AUTH_{name.upper()}") or os.environ.get(f"K8S_AUTH_{_CLIENT_NAMES.get(name, name).upper()}")
            if value is not None and spec["type"] == "bool":
                value = value.lower() not in _FALSE
            elif value is not None and spec["type"] == "list":
                value = [word for word in value.split(",") if word]
        if value is not None:
            found[name] = value
    return found


_SECRET_KEYS = ("token", "password", "client-key-data", "client-certificate-data", "id-token", "refresh-token", "access-token", "client-secret")


def secrets_of(kubeconfig):
    """The secret texts in a kubeconfig that was given as a dictionary."""
    if isinstance(kubeconfig, dict):
        for key, value in kubeconfig.items():
            if key in _SECRET_KEYS and isinstance(value, str):
                yield value
            else:
                yield from secrets_of(value)
    elif isinstance(kubeconfig, list):
        for item in kubeconfig:
            yield from secrets_of(item)


def _client():
    """The Python package. Raises ImageError in words."""
    if sys.version_info < versions.PYTHON_WITH_PODS:
        raise ImageError(f"a builder pod needs Python {versions.text(versions.PYTHON_WITH_PODS)} or newer on the module host, and {sys.executable} is older",
                         todo="set ansible_python_interpreter")
    todo = f"install it for {sys.executable}: pip install 'kubernetes>={versions.text(versions.KUBERNETES)}'"
    try:
        import kubernetes
    except ImportError as error:
        raise ImageError("the Python package kubernetes is missing on the module host", todo=todo) from error
    if tuple(int(part) for part in kubernetes.__version__.split(".")[:2]) < versions.KUBERNETES:
        raise ImageError(f"the Python package kubernetes {kubernetes.__version__} is too old", todo=todo)
    return kubernetes


def _configuration(kubernetes, given):
    """(kubernetes.client.Configuration, namespace of the kubeconfig's context or None)."""
    configuration, namespace = kubernetes.client.Configuration(), None
    enough = given.get("host") and (given.get("api_key") or (given.get("username") and given.get("password"))
                                    or (given.get("client_cert") and given.get("client_key")))
    if not enough:
        kubeconfig = given.get("kubeconfig")
        default = os.environ.get("KUBECONFIG") or os.path.expanduser("~/.kube/config")
        try:
            if isinstance(kubeconfig, dict):
                kubernetes.config.load_kube_config_from_dict(kubeconfig, context=given.get("context"), client_configuration=configuration)
                namespace = _context_namespace(kubeconfig, given.get("context"))
            elif kubeconfig or given.get("context") or any(os.path.exists(path) for path in default.split(os.pathsep)):
                path = os.path.expanduser(kubeconfig or default)
                if not any(os.path.exists(each) for each in path.split(os.pathsep)):
                    raise ImageError("the kubeconfig does not exist", path, advice.CHECK_PATH)
                kubernetes.config.load_kube_config(path, context=given.get("context"), client_configuration=configuration,
                                                   persist_config=bool(given.get("persist_config")))
                active = kubernetes.config.list_kube_config_contexts(path)
                chosen = next((item for item in active[0] if item["name"] == given.get("context")), active[1])
                namespace = (chosen.get("context") or {}).get("namespace")
            else:
                kubernetes.config.load_incluster_config(client_configuration=configuration)
                with open(_IN_CLUSTER_NAMESPACE, encoding="utf-8") as file:
                    namespace = file.read().strip()
        except ImageError:
            raise
        except kubernetes.config.ConfigException as error:
            if not kubeconfig and not given.get("context") and not any(os.path.exists(path) for path in default.split(os.pathsep)):
                raise ImageError("there is no kubeconfig, and this is not a pod of a cluster", default,
                                 "name one with kubeconfig, or give host and api_key") from error
            raise ImageError(f"the kubeconfig cannot be used: {error}", kubeconfig if isinstance(kubeconfig, str) else None,
                             "check it with kubectl, and the option context") from error
        except Exception as error:   # the client raises what YAML, base64 or a credential plugin raised
            raise ImageError(f"the kubeconfig cannot be used: {error}", kubeconfig if isinstance(kubeconfig, str) else default,
                             "check it with kubectl") from error
    for name, value in given.items():
        if name == "api_key":
            configuration.api_key = {"authorization": f"Bearer {value}"}
            # a token of the kubeconfig would be fetched anew over this one
            configuration.refresh_api_key_hook = None
        elif name == "proxy_headers":
            import urllib3
            configuration.proxy_headers = urllib3.util.make_headers(**value)
        elif name == "host":
            configuration.host = value.rstrip("/")
        elif name in ("username", "password", "validate_certs", "ca_cert", "client_cert", "client_key", "proxy", "no_proxy"):
            setattr(configuration, _CLIENT_NAMES.get(name, name), value)
    return configuration, namespace


def _context_namespace(kubeconfig, context):
    wanted = context or kubeconfig.get("current-context")
    chosen = next((item for item in kubeconfig.get("contexts") or [] if item.get("name") == wanted), {})
    return (chosen.get("context") or {}).get("namespace")


class Cluster:
    """The API server, and the namespace that the work is done in. Raises ImageError, ApiFault, Unreachable."""

    def __init__(self, options, namespace=None):
        kubernetes = _client()
        import urllib3
        self._urllib3 = urllib3
        given = from_environment(options)
        self.configuration, inherited = _configuration(kubernetes, given)
        self.namespace = namespace or inherited or "default"
        if self.configuration.verify_ssl is False:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        #: seconds that a request is made again in where the API server is out of reach
        self.retry_seconds = 0
        # requests of several threads at once, each with a connection that is kept
        self.configuration.connection_pool_maxsize = 8
        self.configuration.socket_options = SOCKET_OPTIONS
        try:
            self.client = kubernetes.client.ApiClient(self.configuration)
        except OSError as error:
            raise ImageError(f"a certificate or key for the API server cannot be read: {error.strerror or error}", error.filename,
                             "check ca_cert, client_cert and client_key") from error
        self.host = self.configuration.host
        self._more = {}
        if given.get("impersonate_user"):
            self._more["Impersonate-User"] = given["impersonate_user"]
        self._groups = given.get("impersonate_groups") or []

    # --- requests --------------------------------------------------------------------------------

    def headers(self):
        """Who we are, for each request anew: a token may have been renewed."""
        headers = self._urllib3.HTTPHeaderDict(self._more)
        for setting in self.configuration.auth_settings().values():
            if setting["in"] == "header" and setting["value"]:
                headers[setting["key"]] = setting["value"]
        for group in self._groups:
            headers.add("Impersonate-Group", group)
        return headers

    def send(self, method, path, body=None, headers=None, timeout=_READ_TIMEOUT, decode=True):
        """The answer to one request, whatever its status (urllib3's response, read). timeout: seconds of silence. Raises Unreachable.

        decode: whether its Content-Encoding is taken off.
        """
        wanted = self.headers()
        wanted.update(headers or {})
        try:
            return self.client.rest_client.pool_manager.request(
                method, self.host + path, body=body, headers=wanted, retries=False, redirect=False, decode_content=decode,
                timeout=self._urllib3.Timeout(connect=_CONNECT_TIMEOUT, read=timeout))
        except (self._urllib3.exceptions.HTTPError, OSError) as error:
            raise Unreachable(f"the API server cannot be reached: {_reason(error)}", self.host,
                              "check host, kubeconfig, ca_cert and proxy, and whether the cluster is up") from error

    def ask(self, method, path, body=None, content_type="application/json", doing=None, may_retry=True):
        """The JSON that the API server answers. doing: what for, for the sentence of a fault ("creating the builder's Job")."""
        def left(error, _failures, seconds):
            return self._retry_seconds(error) - seconds if may_retry else None
        return retry(lambda: self._ask(method, path, body, content_type, doing), left, _FIRST_PAUSE, _LONGEST_PAUSE)

    def _retry_seconds(self, error):
        """How long a request is made again after this error, seconds."""
        if isinstance(error, Unreachable) or (isinstance(error, ApiFault) and error.passing):
            return self.retry_seconds
        # one that has just started knows neither roles nor bindings yet
        if isinstance(error, ApiFault) and (error.starting or (error.status == 403 and self.retry_seconds)):
            return _STARTING
        return 0

    def _ask(self, method, path, body, content_type, doing):
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = content_type
        answer = self.send(method, path, None if body is None else json.dumps(body).encode(), headers)
        try:
            data = json.loads(answer.data)
        except ValueError:
            data = {"message": answer.data[:300].decode("utf-8", "replace")}
        if answer.status >= 300:
            raise self._fault(answer.status, data, doing or f"{method} {path}")
        return data

    def _fault(self, status, data, doing):
        message = data.get("message") or data.get("reason") or f"HTTP status {status}"
        reason, todo = data.get("reason"), None
        what = f"{doing} failed: {message}"
        if status == 401:
            what, todo = f"{doing} failed: the API server does not accept the credentials", "renew the token or certificate (kubeconfig, api_key)"
        elif status == 403:
            todo = admission_todo(message) or "grant the Role that the documentation of ocne_builder shows"
        elif status == 404 and "namespaces" in message:
            todo = "make the namespace, or set create_namespace"
        return ApiFault(status, reason, message, what, f"{self.host}, namespace {self.namespace}", todo)

    # --- objects of the namespace ------------------------------------------------------------------

    def path(self, kind, name=None, query=None):
        """The path of objects of the namespace: kind is jobs, pods, secrets or events."""
        group = "/apis/batch/v1" if kind == "jobs" else "/api/v1"
        path = f"{group}/namespaces/{self.namespace}/{kind}" + (f"/{name}" if name else "")
        if query:
            from urllib.parse import urlencode
            path += "?" + urlencode(query)
        return path

    def get(self, kind, name, doing=None, may_retry=True):
        """An object, or None where there is none. may_retry: as the attribute says, else once."""
        try:
            return self.ask("GET", self.path(kind, name), doing=doing or f"looking for {kind[:-1]} {name}", may_retry=may_retry)
        except ApiFault as error:
            if error.status == 404:
                return None
            raise

    def list(self, kind, **query):
        """Objects; query: labelSelector, fieldSelector."""
        return self.ask("GET", self.path(kind, query=query), doing=f"listing {kind}").get("items") or []

    def create(self, kind, body, doing, dry_run=False):
        return self.ask("POST", self.path(kind, query={"dryRun": "All"} if dry_run else None), body, doing=doing)

    def delete(self, kind, name, doing=None):
        """Delete an object and what it owns; False where there is none."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        try:
            self.ask("DELETE", self.path(kind, name), body, doing=doing or f"removing {kind[:-1]} {name}")
            return True
        except ApiFault as error:
            if error.status == 404:
                return False
            raise


def _reason(error):
    """The innermost words of a nested fault of urllib3."""
    seen = set()
    while id(error) not in seen:
        seen.add(id(error))
        inner = getattr(error, "reason", None) or error.__cause__ or error.__context__
        if not isinstance(inner, BaseException):
            break
        error = inner
    return getattr(error, "strerror", None) or getattr(error, "verify_message", None) or str(error)
