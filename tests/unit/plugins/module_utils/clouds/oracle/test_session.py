# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who we are in the cloud, and how it is reached, against the lab's endpoint."""

from __future__ import annotations

import configparser
import importlib
import os
import time

import pytest

from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle import faults
from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle import session as session_file
from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle.session import SPEC, Session
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError

pytest.importorskip("oci.core")   # the bare name could be the lab's own folder
oci = importlib.import_module("oci")
serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
rsa = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.rsa")


def namespace(options):
    return faults.call(Session(options).object_storage().get_namespace, doing="asking", retry_seconds=0).data


def profile(cloud, name="DEFAULT"):
    """What the lab's configuration file says."""
    parser = configparser.ConfigParser()
    parser.read(cloud.about["config"])
    return dict(parser[name])


def write(path, **sections):
    """A configuration file."""
    path.write_text("".join(f"[{name}]\n" + "".join(f"{word} = {value}\n" for word, value in section.items()) for name, section in sections.items()))
    return str(path)


def key_file(path, pass_phrase=None, key=None):
    """A new private key in a file."""
    key = key or rsa.generate_private_key(public_exponent=65537, key_size=2048)
    how = serialization.BestAvailableEncryption(pass_phrase.encode()) if pass_phrase else serialization.NoEncryption()
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how))
    return key


def test_an_api_key_of_a_file(cloud, options):
    made = Session(options)
    assert (made.auth_type, made.region, made.tenancy, made.user) == ("api_key", cloud.about["region"], cloud.about["tenancy"], cloud.about["user"])
    assert made.secrets == set() and namespace(options) == cloud.namespace


def test_options_win_over_the_environment_and_that_over_the_file(cloud, options, tmp_path, monkeypatch):
    right = profile(cloud)
    file = write(tmp_path / "config", DEFAULT=dict(right, user="ocid1.user.oc1..file", region="eu-frankfurt-1", tenancy="ocid1.tenancy.oc1..file"))
    monkeypatch.setenv("OCI_CONFIG_FILE", file)
    monkeypatch.setenv("OCI_USER_ID", right["user"])
    monkeypatch.setenv("OCI_TENANCY", "ocid1.tenancy.oc1..environment")
    made = Session(dict(options, config_file_location=None, tenancy=right["tenancy"]))
    assert (made.user, made.tenancy, made.region) == (right["user"], right["tenancy"], "eu-frankfurt-1")


def test_no_file_is_needed_where_the_options_tell_all(cloud, options, tmp_path, monkeypatch):
    right = profile(cloud)
    monkeypatch.setenv("HOME", str(tmp_path))
    given = dict(options, config_file_location=None, api_user=right["user"], api_user_fingerprint=right["fingerprint"].upper(),
                 tenancy=right["tenancy"], region=right["region"])
    monkeypatch.setenv("OCI_USER_KEY_FILE", right["key_file"])
    assert namespace(given) == cloud.namespace
    with pytest.raises(ImageError, match=r"\.oci/config: the configuration file of the cloud does not exist; .*config_file_location"):
        Session(dict(given, tenancy=None))


def test_the_default_file_is_that_of_the_home(cloud, options, tmp_path, monkeypatch):
    (tmp_path / ".oci").mkdir()
    write(tmp_path / ".oci/config", DEFAULT=profile(cloud), other=dict(profile(cloud), region="eu-frankfurt-1"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Session(dict(options, config_file_location=None)).region == cloud.about["region"]
    monkeypatch.setenv("OCI_CONFIG_PROFILE", "other")
    assert Session(dict(options, config_file_location=None)).region == "eu-frankfurt-1"


def test_a_key_with_a_pass_phrase(cloud, options, tmp_path, monkeypatch):
    key = key_file(tmp_path / "key", "hunter2")
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    given = dict(options, api_user_key_file=str(tmp_path / "key"), api_user_fingerprint=cloud.control.register(public))
    assert namespace(dict(given, api_user_key_pass_phrase="hunter2")) == cloud.namespace
    assert Session(dict(given, api_user_key_pass_phrase="hunter2")).secrets == {"hunter2"}
    with pytest.raises(ImageError, match="key: the pass phrase is wrong, or it is no private key; check api_user_key_pass_phrase"):
        Session(dict(given, api_user_key_pass_phrase="other"))
    with pytest.raises(ImageError, match="key: the key has a pass phrase, and none is given; set api_user_key_pass_phrase"):
        Session(given)
    monkeypatch.setenv("OCI_USER_KEY_PASS_PHRASE", "hunter2")
    assert namespace(given) == cloud.namespace


def public_key(path):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    path.write_bytes(key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))


@pytest.mark.parametrize("make, words", [
    (lambda path: None, "one: the key file does not exist; check key_file in"),
    (lambda path: path.mkdir(), "one: reading the key file failed: is a directory"),
    (lambda path: path.write_text("nonsense"), "one: it is no private key; name a PEM file"),
    (public_key, "one: it is a public key; name the file of the private key"),
    (key_file, "one: the fingerprint .* is not that of the key, which is [0-9a-f:]{47}; correct the fingerprint"),
])
def test_a_wrong_key_file(options, tmp_path, make, words):
    make(tmp_path / "one")
    with pytest.raises(ImageError, match=words):
        Session(dict(options, api_user_key_file=str(tmp_path / "one")))


@pytest.mark.parametrize("change, words", [
    ({"config_file_location": "/none/config"}, "^/none/config: the configuration file of the cloud does not exist"),
    ({"config_file_location": "/etc/hostname"}, "^/etc/hostname: it is no configuration file"),
    ({"config_file_location": "/"}, "^/: reading the configuration file of the cloud failed: is a directory"),
    ({"config_profile_name": "OTHER"}, "config: there is no profile OTHER; there is DEFAULT, SESSION; check config_profile_name"),
    ({"api_user_fingerprint": ":".join(["00"] * 16)}, "the fingerprint 00:.* is not that of the key"),
    ({"cert_bundle": "/none/ca"}, "^/none/ca: the bundle of certificates does not exist; check cert_bundle"),
    ({"proxy": "http://:3128"}, "proxy is no address of a proxy; write it as http"),
    ({"proxy": "http://proxy:many"}, "proxy is no address of a proxy"),
    ({"region": "us-ashbourne-1", "service_endpoints": None}, "there is no region us-ashbourne-1; did you mean us-ashburn-1"),
    ({"region": "nowhere", "service_endpoints": None}, "there is no region nowhere; check region"),
    ({"auth_type": "resource_principal"}, "no resource of the cloud that may act by itself: OCI_RESOURCE_PRINCIPAL_VERSION is not defined"),
    ({"auth_type": "instance_obo_user"}, "delegation_token_file is not given"),
    ({"auth_type": "security_token"}, "config, profile DEFAULT: security_token_file is not given, which auth_type security_token needs; "
                                      "add it to the configuration file .oci session authenticate"),
])
def test_options_that_cannot_be(options, change, words):
    with pytest.raises(ImageError, match=words):
        Session(dict(options, **change))


@pytest.mark.parametrize("word, option", [("user", "api_user"), ("fingerprint", "api_user_fingerprint"), ("tenancy", "tenancy"), ("region", "region"),
                                          ("key_file", "api_user_key_file")])
def test_a_file_that_lacks_something(cloud, options, tmp_path, word, option):
    about = profile(cloud)
    del about[word]
    with pytest.raises(ImageError, match=f"config, profile DEFAULT: {word} is not given, which auth_type api_key needs; .*, or set {option}"):
        Session(dict(options, config_file_location=write(tmp_path / "config", DEFAULT=about)))


def test_a_malformed_ocid(options):
    with pytest.raises(ImageError, match="the configuration cannot be used: user is malformed"):
        Session(dict(options, api_user="somebody")).object_storage()


@pytest.mark.parametrize("field", ["api_user", "tenancy"])
def test_an_unknown_user_is_not_let_in(options, field):
    kind = "user" if field == "api_user" else "tenancy"
    with pytest.raises(faults.CloudFault, match="the cloud does not accept the credentials; check api_user"):
        namespace(dict(options, **{field: f"ocid1.{kind}.oc1..nobody"}))


def test_an_unknown_type_in_the_environment(options, monkeypatch):
    monkeypatch.setenv("OCI_ANSIBLE_AUTH_TYPE", "magic")
    with pytest.raises(ImageError, match="there is no auth_type magic; use one of api_key, instance_principal"):
        Session(options)


# --- tokens of sessions ------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [{"auth_type": "security_token"}, {}])
def test_a_session_token(cloud, options, more):
    given = dict(options, config_profile_name="SESSION", **more)
    made = Session(given)
    with open(profile(cloud, "SESSION")["security_token_file"], encoding="utf-8") as file:
        assert made.secrets == {file.read().strip()}
    assert (made.auth_type, made.user) == ("security_token", None)
    assert namespace(given) == cloud.namespace


def test_which_profile_is_that_of_a_session(cloud, options, tmp_path):
    api, token = profile(cloud), profile(cloud, "SESSION")
    file = write(tmp_path / "config", DEFAULT=token, mine=api, also={"region": "eu-frankfurt-1"})
    types = {name: Session(dict(options, config_file_location=file, config_profile_name=name)).auth_type for name in ("DEFAULT", "mine", "also")}
    assert types == {"DEFAULT": "security_token", "mine": "api_key", "also": "security_token"}
    given = dict(options, config_file_location=file, api_user=api["user"], api_user_key_file=api["key_file"], api_user_fingerprint=api["fingerprint"])
    assert Session(given).auth_type == "api_key"


def token_options(cloud, options, tmp_path, token):
    if token is not None:
        (tmp_path / "token").write_text(token)
    about = dict(profile(cloud, "SESSION"), security_token_file=str(tmp_path / "token"))
    return dict(options, config_file_location=write(tmp_path / "config", SESSION=about), config_profile_name="SESSION")


def test_a_token_that_has_expired(cloud, options, tmp_path):
    with pytest.raises(ImageError, match=r"token: the session token has expired at 20\d\d-.* UTC; log in again .* --profile-name SESSION"):
        Session(token_options(cloud, options, tmp_path, cloud.control.session(-5)))


@pytest.mark.parametrize("token, words", [(None, "the file of the token does not exist; log in"), ("", "there is no token in the file"),
                                          ("two words", "there is no token in the file"), ("ä", "there is no token in the file")])
def test_a_token_that_is_not_there(cloud, options, tmp_path, token, words):
    with pytest.raises(ImageError, match=words):
        Session(token_options(cloud, options, tmp_path, token))


def test_a_token_of_somebody_else(cloud, options, tmp_path):
    with pytest.raises(faults.CloudFault, match="does not accept the credentials; .*session token may have expired"):
        namespace(token_options(cloud, options, tmp_path, "not.a.token"))


def test_a_renewed_token_is_taken_up(cloud, options, tmp_path):
    client = Session(token_options(cloud, options, tmp_path, cloud.control.session(2))).object_storage()
    time.sleep(2.1)
    with pytest.raises(faults.CloudFault, match="does not accept the credentials"):
        faults.call(client.get_namespace, doing="asking")
    (tmp_path / "token").write_text(cloud.control.session(60))
    assert faults.call(client.get_namespace, doing="asking").data == cloud.namespace
    os.unlink(tmp_path / "token")
    assert faults.call(client.get_namespace, doing="asking").data == cloud.namespace


# --- instances ---------------------------------------------------------------------------------------


#: older releases of the SDK ask at the one address only
elsewhere = pytest.mark.skipif(not hasattr(oci.auth.signers.InstancePrincipalsSecurityTokenSigner, "METADATA_URL_BASE_ENV_VAR"),
                               reason="this SDK does not know OCI_METADATA_BASE_URL")


@elsewhere
def test_an_instance(cloud, options, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("OCI_METADATA_BASE_URL", cloud.about["metadata"] + "/opc/v2")
    monkeypatch.setenv("OCI_ANSIBLE_AUTH_TYPE", "instance_principal")
    given = dict(options, config_file_location=None, service_endpoints=dict(options["service_endpoints"], auth=cloud.about["federation"]))
    cloud.control.faults({"kind": "503", "times": 1, "operations": ["federate"]})
    made = Session(given)
    assert (made.region, made.tenancy, made.user, made.auth_type) == (cloud.about["region"], cloud.about["tenancy"], None, "instance_principal")
    assert faults.call(made.object_storage().get_namespace, doing="asking").data == cloud.namespace


@elsewhere
def test_a_file_of_another_tenancy_on_an_instance(cloud, options, tmp_path, monkeypatch):
    file = write(tmp_path / "config", DEFAULT=dict(profile(cloud), tenancy="ocid1.tenancy.oc1..other", authentication_type="instance_principal"))
    monkeypatch.setenv("OCI_METADATA_BASE_URL", cloud.about["metadata"] + "/opc/v2")
    given = dict(options, config_file_location=file, service_endpoints=dict(options["service_endpoints"], auth=cloud.about["federation"]))
    assert Session(given).tenancy == cloud.about["tenancy"]


def test_a_host_that_is_no_instance(options, monkeypatch):
    monkeypatch.setenv("OCI_METADATA_BASE_URL", "http://127.0.0.1:9/opc/v2")
    began = time.monotonic()
    with pytest.raises(ImageError, match="this host is no instance of the cloud: there is no metadata service .*; set auth_type to api_key"):
        Session(dict(options, auth_type="instance_principal"))
    assert time.monotonic() - began < 5


# --- the way there -----------------------------------------------------------------------------------


def test_the_bundle_wins_over_those_of_the_environment(cloud, options, tmp_path, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none"))
    assert namespace(options) == cloud.namespace
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", cloud.about["ca"])
    assert namespace(dict(options, cert_bundle=None)) == cloud.namespace
    monkeypatch.setenv("OCI_ANSIBLE_CERT_BUNDLE", str(tmp_path / "none"))
    with pytest.raises(ImageError, match="none: the bundle of certificates does not exist"):
        Session(dict(options, cert_bundle=None))


def test_proxies(options, monkeypatch):
    made = Session(dict(options, proxy="http://me:hunt%40r2@proxy.example.com:3128"))
    assert made.object_storage().base_client.session.proxies["https"].endswith("@proxy.example.com:3128")
    assert made.secrets == {"hunt%40r2", "hunt@r2"}
    assert Session(dict(options, proxy="proxy:3128")).object_storage().base_client.session.proxies["https"] == "http://proxy:3128"
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:1")
    assert Session(options).object_storage().base_client.session.proxies == {}   # no_proxy has localhost
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.delenv("NO_PROXY")
    assert Session(options).object_storage().base_client.session.proxies["https"] == "http://proxy:1"


def test_clients_do_not_try_again_by_themselves(cloud, options):
    made = Session(dict(options, connect_timeout=3, read_timeout=7))
    for name in ("object_storage", "compute", "work_requests", "identity"):
        client = getattr(made, name)()
        assert isinstance(client.retry_strategy, oci.retry.NoneRetryStrategy) and client.base_client.timeout == (3, 7)
        assert client.base_client.endpoint.startswith(made.endpoint(name)) and client is not getattr(made, name)()
    cloud.control.faults({"kind": "503", "times": 1})
    with pytest.raises(oci.exceptions.ServiceError):
        made.object_storage().get_namespace()
    assert cloud.control.counters()["operations"] == {"get_namespace": 1}
    assert made.endpoint("auth") is None


def test_the_address_is_that_of_the_region_where_none_is_given(options):
    assert "us-ashburn-1" in Session(dict(options, service_endpoints=None)).object_storage().base_client.endpoint
    assert Session(dict(options, service_endpoints=None, region="fra")).region == "eu-frankfurt-1"


def test_the_sdk_writes_no_log(cloud, options, tmp_path, capfd):
    file = write(tmp_path / "config", DEFAULT=dict(profile(cloud), log_requests="True"))
    assert namespace(dict(options, config_file_location=file)) == cloud.namespace
    assert capfd.readouterr() == ("", "")


def test_every_option_has_its_variables_and_secrets_are_marked():
    assert set(session_file._VARIABLES) <= set(SPEC) and SPEC["api_user_key_pass_phrase"]["no_log"]
    assert {name for name, spec in SPEC.items() if spec.get("no_log")} == {"api_user_key_pass_phrase", "proxy"}
