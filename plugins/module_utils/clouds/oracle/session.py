# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who we are in the cloud, and how it is reached: the options of oracle.oci, and the clients of the SDK that follow from them."""

from __future__ import annotations

import base64
import contextlib
import datetime
import difflib
import hashlib
import json
import os
import socket
import time
import urllib.request
from urllib.parse import unquote, urlsplit

from ...common import proxies
from ...common.errors import ImageError, from_os_error
from ...common.http_faults import redact
from . import faults, sdk

AUTH_TYPES = ("api_key", "instance_principal", "instance_obo_user", "resource_principal", "security_token")
#: each service whose address may be another one than that of its region; auth: where an instance gets its token
SERVICES = ("object_storage", "compute", "work_requests", "identity", "auth")
#: the options, those of oracle.oci first
SPEC = {
    "config_file_location": {"type": "path"},
    "config_profile_name": {"type": "str"},
    "api_user": {"type": "str"},
    "api_user_fingerprint": {"type": "str"},
    "api_user_key_file": {"type": "path", "no_log": False},   # a path, not the key
    "api_user_key_pass_phrase": {"type": "str", "no_log": True},
    "auth_type": {"type": "str", "choices": list(AUTH_TYPES)},
    "tenancy": {"type": "str"},
    "region": {"type": "str"},
    "cert_bundle": {"type": "path"},
    "service_endpoints": {"type": "dict", "options": {service: {"type": "str"} for service in SERVICES}},
    "proxy": {"type": "str", "no_log": True},   # it may have a password, which is in Session.secrets, too
    "connect_timeout": {"type": "int", "default": 10},
    "read_timeout": {"type": "int", "default": 60},
}
#: option -> the variables that stand in for it, as oracle.oci reads them
_VARIABLES = {
    "config_file_location": ("OCI_CONFIG_FILE",), "config_profile_name": ("OCI_CONFIG_PROFILE",), "api_user": ("OCI_USER_ID",),
    "api_user_fingerprint": ("OCI_USER_FINGERPRINT",), "api_user_key_file": ("OCI_USER_KEY_FILE",),
    "api_user_key_pass_phrase": ("OCI_USER_KEY_PASS_PHRASE",), "auth_type": ("OCI_ANSIBLE_AUTH_TYPE",), "tenancy": ("OCI_TENANCY",),
    "region": ("OCI_REGION",), "cert_bundle": ("OCI_ANSIBLE_CERT_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
}
#: option -> the word for it in a configuration file
_WORDS = {"api_user": "user", "api_user_fingerprint": "fingerprint", "api_user_key_file": "key_file", "api_user_key_pass_phrase": "pass_phrase",
          "tenancy": "tenancy", "region": "region"}
_NEEDED = {"api_key": ("user", "fingerprint", "key_file", "tenancy", "region"), "security_token": ("key_file", "security_token_file", "region")}
#: authentication_type of a configuration file -> auth_type
_TYPES_OF_FILES = {"instance_principal": "instance_principal", "resource_principal": "resource_principal",
                   "delegation_token_with_instance_principal": "instance_obo_user"}
_DEFAULT_FILE, _DEFAULT_PROFILE = "~/.oci/config", "DEFAULT"
_PATIENCE = 5                # seconds for the metadata service, which is in the same rack
_METADATA = ("http://169.254.169.254/opc/v2", "http://[fd00:c1::a9fe:a9fe]/opc/v2")


def _given(options):
    """{option: value}, what is not given taken from the environment."""
    found = {}
    for name in SPEC:
        value = options.get(name)
        for variable in _VARIABLES.get(name, ()):
            if value in (None, ""):
                value = os.environ.get(variable)
        if value not in (None, ""):
            found[name] = value
    return found


class Session:
    """One tenancy and region, as one principal. Raises ImageError where the options do not fit together.

    The cloud is asked only for an instance's token. tenancy, user: OCIDs, None where the principal does not tell; region: its name; bundle: the
    path of certificates that are trusted, None for the usual ones.
    """

    def __init__(self, options):
        self._oci = sdk.load()
        given = _given(options)
        self._endpoints = {service: address.rstrip("/") for service, address in (given.get("service_endpoints") or {}).items() if address}
        self._time_outs = tuple(given.get(name) or SPEC[name]["default"] for name in ("connect_timeout", "read_timeout"))
        self._proxy = given.get("proxy")
        #: texts that must not be shown
        self.secrets = set()
        if self._proxy:
            self._proxy = proxies.checked(self._proxy)
            password = urlsplit(self._proxy).password
            if password:
                self.secrets |= {password, unquote(password)}
        self.bundle = given.get("cert_bundle")
        if self.bundle:
            self.bundle = os.path.expanduser(os.path.expandvars(self.bundle))
            if not os.path.exists(self.bundle):
                raise ImageError("the bundle of certificates does not exist", self.bundle,
                                 "check cert_bundle, and OCI_ANSIBLE_CERT_BUNDLE in the environment")
        self._profile, self._file = given.get("config_profile_name") or _DEFAULT_PROFILE, None
        config = self._read(given)
        self.auth_type = self._auth_type(given, config)
        for word in _NEEDED.get(self.auth_type, ()):
            if not config.get(word):
                option = next((option for option, name in _WORDS.items() if name == word), None)
                raise ImageError(f"{word} is not given, which auth_type {self.auth_type} needs", self._told(),
                                 f"add it to the configuration file{f', or set {option}' if option else ' (oci session authenticate makes one)'}")
        self._signer = getattr(self, "_sign_as_" + self.auth_type)(config)
        # a configuration file on an instance may be that of another tenancy
        self.tenancy = given.get("tenancy") or getattr(self._signer, "tenancy_id", None) or config.get("tenancy")
        self.user = config.get("user") if self.auth_type == "api_key" else None
        self.region = config.get("region") or getattr(self._signer, "region", None)
        if not self.region:
            raise ImageError("there is no region", self._told(), "set region")
        self.region = self._oci.regions.get_region_from_short_name(self.region)
        self._config = {word: config[word] for word in ("user", "fingerprint", "key_file", "tenancy") if config.get(word)}
        # the log of the SDK goes to standard output, headers and all
        self._config.update(region=self.region, log_requests=False, additional_user_agent="ocne.images")
        self._check_region()

    # --- clients -------------------------------------------------------------------------------------

    def object_storage(self, region=None):
        """A new ObjectStorageClient, of another region where one is given. Each client is for one thread at a time."""
        return self._client(self._oci.object_storage.ObjectStorageClient, "object_storage", region)

    def compute(self):
        """A new ComputeClient."""
        return self._client(self._oci.core.ComputeClient, "compute")

    def work_requests(self):
        """A new WorkRequestClient."""
        return self._client(self._oci.work_requests.WorkRequestClient, "work_requests")

    def identity(self):
        """A new IdentityClient."""
        return self._client(self._oci.identity.IdentityClient, "identity")

    def endpoint(self, service):
        """The address that was given for a service, or None."""
        return self._endpoints.get(service)

    def _client(self, kind, service, region=None):
        # who retries is faults.call(): the SDK's own way neither hears of Retry-After, nor of a deed whose answer was lost
        more = {"service_endpoint": self._endpoints[service]} if service in self._endpoints and not region else {}
        more.update(retry_strategy=self._oci.retry.NoneRetryStrategy(),
                    circuit_breaker_strategy=self._oci.circuit_breaker.NoCircuitBreakerStrategy())
        try:
            client = kind(dict(self._config, region=region or self.region), signer=self._signer, timeout=self._time_outs, **more)
        except self._oci.exceptions.InvalidConfig as error:
            words = ", ".join(f"{word} is {fault}" for word, fault in sorted(error.errors.items())) if isinstance(error.errors, dict) else str(error)
            raise ImageError(f"the configuration cannot be used: {words}", self._told(), "correct it") from error
        self._prepare(client.base_client.session, client.base_client.endpoint)
        return client

    def _prepare(self, http, address):
        """Proxy and certificates of what makes the requests."""
        # with its trust in the environment a bundle there would win over cert_bundle, and a ~/.netrc over the signature
        http.trust_env = False
        http.verify = self.bundle or True
        http.proxies = self._proxies(address)

    def _proxies(self, address):
        if self._proxy:
            return {"http": self._proxy, "https": self._proxy}
        return proxies.of_environment(urlsplit(address).netloc.rpartition("@")[2])

    # --- configuration -------------------------------------------------------------------------------

    def _told(self):
        """Where the configuration is from, for an error."""
        return f"{self._file}, profile {self._profile}" if self._file else None

    def _read(self, given):
        """{word of a configuration file: value}, of the file, and the options that win over it."""
        named = given.get("config_file_location") or given.get("config_profile_name")
        path = os.path.expanduser(given.get("config_file_location") or _DEFAULT_FILE)
        own = {word: given[option] for option, word in _WORDS.items() if given.get(option)}
        # an instance needs none, nor who has told all that is in one
        enough = given.get("auth_type") not in (None, "api_key", "security_token") or all(word in own for word in _NEEDED["api_key"])
        config = {}
        if os.path.isfile(path) or not enough or given.get("config_file_location"):
            try:
                # in a key's file the SDK would look before the options are known
                config = self._section(path)
                self._file = path
            except ImageError:
                if named or not enough:
                    raise
        config.update(own)
        for word in ("key_file", "security_token_file", "delegation_token_file"):
            if config.get(word):
                config[word] = os.path.expanduser(config[word])
        if config.get("pass_phrase"):
            self.secrets.add(config["pass_phrase"])
        return config

    def _section(self, path):
        import configparser
        parser = configparser.ConfigParser(interpolation=None)
        try:
            with open(path, encoding="utf-8") as file:
                parser.read_file(file)
        except FileNotFoundError as error:
            raise ImageError("the configuration file of the cloud does not exist", path,
                             "make one (oci setup config), name one with config_file_location, or set auth_type") from error
        except OSError as error:
            raise from_os_error(error, "reading the configuration file of the cloud", path) from error
        except (configparser.Error, UnicodeDecodeError) as error:
            raise ImageError(f"it is no configuration file: {' '.join(str(error).split())[:200]}", path, "make it anew (oci setup config)") from error
        if self._profile not in parser:
            there = ", ".join([*(["DEFAULT"] if parser.defaults() else []), *parser.sections()]) or "none"
            raise ImageError(f"there is no profile {self._profile}; there is {there}", path, "check config_profile_name")
        section, inherited = {word: value for word, value in parser[self._profile].items() if value}, parser.defaults()
        # a profile with a key of its own beside a DEFAULT that `oci session authenticate` wrote
        if self._profile != "DEFAULT" and section.get("security_token_file") == inherited.get("security_token_file") \
                and section.get("key_file") != inherited.get("key_file"):
            section.pop("security_token_file", None)
        return section

    def _auth_type(self, given, config):
        wanted = given.get("auth_type")
        if wanted and wanted not in AUTH_TYPES:
            raise ImageError(f"there is no auth_type {wanted}", todo=f"use one of {', '.join(AUTH_TYPES)}")
        if not wanted:
            wanted = _TYPES_OF_FILES.get(config.get("authentication_type"))
        # the key of such a profile is good for nothing else
        return wanted or ("security_token" if config.get("security_token_file") and not given.get("api_user") else "api_key")

    def _check_region(self):
        """A name that nobody knows would be looked up in vain for a minute. A region younger than the SDK has an address, too."""
        if self._oci.regions.is_region(self.region) or set(self._endpoints) >= set(SERVICES) - {"auth"} or self._proxies("https://cloud"):
            return
        try:
            host = urlsplit(self._oci.regions.endpoint_for("object_storage", region=self.region)).hostname
            socket.getaddrinfo(host, 443)
        except (OSError, ValueError, UnicodeError) as error:
            near = difflib.get_close_matches(self.region, self._oci.regions.REGIONS, 1)
            raise ImageError(f"there is no region {self.region}", self._told(), f"did you mean {near[0]}?" if near else "check region") from error

    # --- principals ----------------------------------------------------------------------------------

    def _key(self, config):
        path = config["key_file"]
        try:
            return self._oci.signer.load_private_key_from_file(path, config.get("pass_phrase"))
        except FileNotFoundError as error:
            raise ImageError("the key file does not exist", path,
                             f"check {'key_file in ' + self._file if self._file else 'api_user_key_file'}") from error
        except OSError as error:
            raise from_os_error(error, "reading the key file", path) from error
        except self._oci.exceptions.MissingPrivateKeyPassphrase as error:
            raise ImageError("the key has a pass phrase, and none is given", path, "set api_user_key_pass_phrase") from error
        except Exception as error:   # what the libraries below raise for a file that is none
            if "public key was provided" in str(error):
                raise ImageError("it is a public key", path, "name the file of the private key") from error
            if config.get("pass_phrase"):
                raise ImageError("the pass phrase is wrong, or it is no private key", path, "check api_user_key_pass_phrase, and the file") from error
            raise ImageError("it is no private key", path, "name a PEM file with an RSA key") from error

    def _sign_as_api_key(self, config):
        key = self._key(config)
        told, real = config["fingerprint"].strip().lower(), _fingerprint(key)
        config["fingerprint"] = told
        if real and told != real:
            raise ImageError(f"the fingerprint {told} is not that of the key, which is {real}", config["key_file"],
                             "correct the fingerprint, or name the key file that belongs to it")
        return self._oci.signer.Signer(config["tenancy"], config["user"], told, config["key_file"], pass_phrase=config.get("pass_phrase"))

    def _sign_as_security_token(self, config):
        token = self._token(config["security_token_file"], f"log in (oci session authenticate --profile-name {self._profile})")
        ends = _expiry(token)
        if ends is not None and ends <= time.time():
            # by the cloud's clock it may be otherwise, but then that is what is wrong
            when = datetime.datetime.fromtimestamp(ends, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
            raise ImageError(f"the session token has expired at {when}", config["security_token_file"],
                             f"log in again (oci session authenticate --profile-name {self._profile}), or renew it earlier (oci session refresh)")
        return self._renewed(token, config)

    def _renewed(self, token, config):
        """A signer that takes up a token that was renewed beside it: an upload may be longer than the hour of one."""
        session, path = self, config["security_token_file"]

        class Signer(self._oci.auth.signers.SecurityTokenSigner):
            stamp = _stamp(path)

            def __call__(self, request, enforce_content_headers=True):
                stamp = _stamp(path)
                if stamp not in (None, self.stamp):
                    self.stamp = stamp
                    with contextlib.suppress(ImageError):
                        api_key, key = "ST$" + session._token(path, None), session._key(config)
                        for signer in (self._basic_signer, self._body_signer):
                            signer.reset_signer(api_key, key)
                return super().__call__(request, enforce_content_headers)

        return Signer(token, self._key(config))

    def _token(self, path, todo):
        try:
            with open(path, encoding="ascii") as file:
                token = file.read().strip()
        except FileNotFoundError as error:
            raise ImageError("the file of the token does not exist", path, todo) from error
        except OSError as error:
            raise from_os_error(error, "reading the token", path) from error
        except UnicodeDecodeError:
            token = ""
        if not token or len(token.split()) > 1:
            raise ImageError("there is no token in the file", path, todo)
        self.secrets.add(token)
        return token

    def _sign_as_instance_principal(self, config):
        return self._sign_as_instance("InstancePrincipalsSecurityTokenSigner")

    def _sign_as_instance_obo_user(self, config):
        if not config.get("delegation_token_file"):
            raise ImageError("delegation_token_file is not given, which auth_type instance_obo_user needs", self._told(),
                             "add it to the configuration file")
        return self._sign_as_instance("InstancePrincipalsDelegationTokenSigner",
                                      delegation_token=self._token(config["delegation_token_file"], "check delegation_token_file"))

    def _sign_as_instance(self, kind, **more):
        self._find_metadata()
        if "auth" in self._endpoints:
            more["federation_endpoint"] = self._endpoints["auth"] + ("" if urlsplit(self._endpoints["auth"]).path else "/v1/x509")
        if self.bundle:
            more["federation_client_cert_bundle_verify"] = self.bundle
        try:
            return faults.call(getattr(self._oci.auth.signers, kind), federation_client_retry_strategy=self._oci.retry.NoneRetryStrategy(),
                               doing="getting the token of this instance", where=self._endpoints.get("auth"), **more)
        except ImageError:
            raise
        except Exception as error:   # the SDK raises what its parser of certificates did
            raise ImageError(f"this instance has no usable certificates: {redact(str(error))[:200]}",
                             todo="check its metadata service") from error

    def _find_metadata(self):
        """The SDK would try for minutes."""
        named = (os.environ.get("OCI_METADATA_BASE_URL") or "").strip()
        opener, answers = urllib.request.build_opener(urllib.request.ProxyHandler({})), None
        for address in [named] if named else _METADATA:
            try:
                asked = urllib.request.Request(address.rstrip("/") + "/instance/region", headers={"Authorization": "Bearer Oracle"})
                with opener.open(asked, timeout=_PATIENCE):
                    return
            except (OSError, ValueError) as error:
                answers = answers or error
        raise ImageError(f"this host is no instance of the cloud: there is no metadata service ({getattr(answers, 'reason', None) or answers})",
                         named or _METADATA[0], "set auth_type to api_key or security_token") from answers

    def _sign_as_resource_principal(self, config):
        try:
            return self._oci.auth.signers.get_resource_principals_signer()
        except Exception as error:   # EnvironmentError for what is missing, and what parsers raise for what is wrong
            fault = faults.of(error, "getting the token of this resource") if getattr(error, "request", None) is not None else None
            if fault:
                raise fault from error
            words = redact(str(error)).partition(" Resource principals authentication")[0][:200].rstrip(". ")
            raise ImageError(f"this is no resource of the cloud that may act by itself: {words}",
                             todo="set auth_type to another one, or OCI_RESOURCE_PRINCIPAL_VERSION and its companions") from error


def _stamp(path):
    """What changes when a file is written anew; None where there is none."""
    try:
        about = os.stat(path)
    except OSError:
        return None
    return about.st_mtime_ns, about.st_ino, about.st_size


def _fingerprint(key):
    """As the cloud names a key: the MD5 of its public half, in pairs; None for what is no RSA key."""
    try:
        from cryptography.hazmat.primitives import serialization
        public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    except (AttributeError, ValueError):
        return None
    digest = hashlib.md5(public, usedforsecurity=False).hexdigest()
    return ":".join(digest[at:at + 2] for at in range(0, 32, 2))


def _expiry(token):
    """When a JSON Web Token expires, seconds since the epoch; None where it does not tell."""
    try:
        body = token.split(".")[1]
        return float(json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["exp"])
    except (IndexError, KeyError, TypeError, ValueError):
        return None
