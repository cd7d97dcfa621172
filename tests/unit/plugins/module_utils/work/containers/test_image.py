# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""References, policies, credentials, what skopeo's words mean, and which image of an index counts."""

from __future__ import annotations

import base64
import json
import os
import stat

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.common.progress import silent
from ansible_collections.ocne.images.plugins.module_utils.work.containers import image, reference
from ansible_collections.ocne.images.plugins.module_utils.work.containers.policy import accepts_everything
from ansible_collections.ocne.images.plugins.module_utils.work.containers.skopeo import Registry, Skopeo
from ansible_collections.ocne.images.plugins.module_utils.work.containers.skopeo_errors import explain

PIN = "sha256:" + "0123456789abcdef" * 4


# --- references ------------------------------------------------------------------------------------

@pytest.mark.parametrize("text, expected", [
    ("host.example/olcne/ock:1.33", "docker://host.example/olcne/ock:1.33"),
    ("docker://host.example/olcne/ock", "docker://host.example/olcne/ock:latest"),
    ("localhost:5000/ock:1.33", "docker://localhost:5000/ock:1.33"),
    ("localhost/ock", "docker://localhost/ock:latest"),
    ("alpine", "docker://docker.io/library/alpine:latest"),
    ("olcne/ock:1", "docker://docker.io/olcne/ock:1"),
    (f"h.example/ock@{PIN}", f"docker://h.example/ock@{PIN}"),
    (f"h.example:5000/ock:1.33@{PIN}", f"docker://h.example:5000/ock@{PIN}"),
    ("[::1]:5000/a/b:c", "docker://[::1]:5000/a/b:c"),
    ("oci:/srv/layout:1.33", "oci:/srv/layout:1.33"),
    ("oci-archive:/srv/a.tar", "oci-archive:/srv/a.tar"),
    ("docker-archive:/srv/a.tar:x/y:z", "docker-archive:/srv/a.tar:x/y:z"),
    ("dir:/srv/with:colon", "dir:/srv/with:colon"),
    ("dir:/srv/a/../b", "dir:/srv/b"),
    ("containers-storage:[vfs@/x]ock:1", "containers-storage:[vfs@/x]ock:1"),
    ("docker-daemon:ock:1", "docker-daemon:ock:1"),
])
def test_what_a_reference_means(text, expected):
    assert reference.parse(text).text == expected


def test_paths_become_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/user")
    assert reference.parse("oci:layout:1").text == f"oci:{tmp_path}/layout:1"
    assert reference.parse("oci-archive:~/a.tar:1").archive == "/home/user/a.tar"


@pytest.mark.parametrize("text, words", [
    ("h.example/Ock:1", "malformed"), ("h.example/ock:", "tag in the reference is malformed"), ("docker:ock", "write docker://"), ("", "malformed"),
    ("h.example/ock@sha256:12", "digest in the reference is malformed"), ("h.example/ock@" + PIN.upper(), "digest"), ("oci:", "names no image"),
    ("ostree:ref@/repo", "transport ostree is not supported"), ("h.example/ock:1 --tls-verify=false", "malformed"), ("-v/x", "malformed"),
])
def test_malformed_references(text, words):
    with pytest.raises(ImageError, match=words):
        reference.parse(text)


def test_a_pin_only_where_the_transport_can_say_it():
    assert reference.parse("h.example/ock:1").pinned(PIN) == f"docker://h.example/ock@{PIN}"
    assert reference.parse("oci:/x:1").pinned(PIN) == "oci:/x:1"


# --- the policy ------------------------------------------------------------------------------------

ANYTHING, REJECT = [{"type": "insecureAcceptAnything"}], [{"type": "reject"}]


@pytest.mark.parametrize("policy, text, expected", [
    ({"default": ANYTHING}, "h.example/ock", True),
    ({"default": REJECT}, "h.example/ock", False),
    ({"default": REJECT, "transports": {"docker": {"h.example": ANYTHING}}}, "h.example/ock", False),
    ({"default": ANYTHING, "transports": {"docker": {"other.example": REJECT}}}, "h.example/ock", True),
    ({"default": ANYTHING, "transports": {"docker": {"h.example/ock": REJECT}}}, "h.example/ock", False),
    ({"default": ANYTHING, "transports": {"docker": {"h.example/other": REJECT}}}, "h.example/ock", False),
    ({"default": ANYTHING, "transports": {"docker": {"*.example": REJECT}}}, "h.example/ock", False),
    ({"default": ANYTHING, "transports": {"docker": {"": REJECT}}}, "h.example/ock", False),
    ({"default": ANYTHING, "transports": {"docker": {"h.example:5000/ock:1": REJECT}}}, "h.example:5000/ock:1", False),
    ({"default": ANYTHING, "transports": {"docker-daemon": {"": REJECT}}}, "h.example/ock", True),
    ({"default": ANYTHING, "transports": {"oci": {"/srv": REJECT}}}, "oci:/other", False),
    ({"default": ANYTHING + REJECT}, "h.example/ock", False),
    ({"default": []}, "h.example/ock", False),
    ({}, "h.example/ock", False),
    ([], "h.example/ock", False),
])
def test_only_a_policy_without_a_word_is_decided_here(tmp_path, policy, text, expected):
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(policy))
    assert accepts_everything(reference.parse(text), str(path)) is expected


def test_a_missing_or_broken_policy_is_skopeo_s_to_judge(tmp_path):
    assert not accepts_everything(reference.parse("h.example/ock"), str(tmp_path / "none"))
    (tmp_path / "broken").write_text("{")
    assert not accepts_everything(reference.parse("h.example/ock"), str(tmp_path / "broken"))


# --- credentials -------------------------------------------------------------------------------------

@pytest.fixture
def skopeo(tmp_path, monkeypatch):
    """skopeo(text, **registry) -> an entered Skopeo; the user's own files are in tmp_path/home."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    entered = []

    def enter(text="h.example:5000/olcne/ock:1", retries=0, **registry):
        one = Skopeo(reference.parse(text), Registry(**registry), str(tmp_path), "amd64", retries, silent())
        entered.append(one.__enter__())
        return one
    yield enter
    for one in entered:
        one.__exit__()


def auth_file(arguments):
    path = next(word for word in arguments if word.startswith("/proc/self/fd/"))
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def test_a_password_is_in_memory_only(skopeo, tmp_path):
    one = skopeo(username="me", password="s3cret:x")
    arguments = one.arguments("inspect")
    assert "s3cret" not in " ".join(arguments) + repr(one.registry)
    auths = auth_file(arguments)["auths"]
    assert base64.b64decode(auths["h.example:5000/olcne/ock"]["auth"]) == b"me:s3cret:x"
    for folder, _folders, names in os.walk(tmp_path):
        for name in names:
            assert b"s3cret" not in open(os.path.join(folder, name), "rb").read()


def test_a_password_goes_over_the_user_s_auth_files(skopeo, tmp_path):
    (tmp_path / "run/containers").mkdir(parents=True)
    (tmp_path / "home/.docker").mkdir(parents=True)
    (tmp_path / "run/containers/auth.json").write_text(json.dumps({"auths": {"mirror.example": {"auth": "b"}}}))
    (tmp_path / "home/.docker/config.json").write_text(json.dumps({
        "auths": {"mirror.example": {"auth": "a"}, "h.example:5000": {"auth": "old"}}, "credHelpers": {"h.example:5000": "pass", "x.example": "y"}}))
    merged = auth_file(skopeo(username="me", password="new").arguments("inspect"))
    assert merged["auths"]["mirror.example"] == {"auth": "b"}
    assert merged["auths"]["h.example:5000"] == {"auth": base64.b64encode(b"me:new").decode()}
    assert merged["credHelpers"] == {"x.example": "y"}


def test_an_auth_file_out_of_reach_is_none(skopeo, tmp_path, monkeypatch):
    real = os.stat

    def refuse(path, *arguments, **keywords):   # root, who may run this, is never refused
        if str(path).startswith(str(tmp_path / "run")):
            raise PermissionError(13, "Permission denied", path)
        return real(path, *arguments, **keywords)
    monkeypatch.setattr(os, "stat", refuse)
    assert auth_file(skopeo().arguments("inspect")) == {"auths": {}, "credHelpers": {}}


def test_options_that_skopeo_gets(skopeo, tmp_path):
    for name in ("ca", "cert", "key", "auth", "policy"):
        (tmp_path / name).write_text(name)
    one = skopeo(ca_cert=str(tmp_path / "ca"), client_cert=str(tmp_path / "cert"), client_key=str(tmp_path / "key"),
                 auth_file=str(tmp_path / "auth"), verify=False, policy=str(tmp_path / "policy"))
    words = one.arguments("copy", "src-")
    assert words[words.index("--policy") + 1] == str(tmp_path / "policy")
    assert words[words.index("--src-authfile") + 1] == str(tmp_path / "auth")
    assert "--src-tls-verify=false" in words
    folder = words[words.index("--src-cert-dir") + 1]
    assert sorted(os.listdir(folder)) == ["ca.crt", "client.cert", "client.key"]
    assert open(os.path.join(folder, "client.key")).read() == "key"
    assert stat.S_IMODE(os.stat(one.folder).st_mode) == 0o700


def test_without_options_the_usual_places_count(skopeo):
    words = " ".join(skopeo().arguments("inspect"))
    assert "authfile" not in words and "cert-dir" not in words and "tls-verify" not in words and "--policy" not in words


@pytest.mark.parametrize("option", ["auth_file", "ca_cert", "client_key", "policy"])
def test_a_file_that_is_not_there(skopeo, option):
    with pytest.raises(ImageError, match=f"registry.{option} cannot be read"):
        skopeo(**{option: "/nonexistent/file"})


# --- words -------------------------------------------------------------------------------------------

PING = 'pinging container registry h.example: '
GET = PING + 'Get \\"https://h.example/v2/\\": '
FATAL = 'time="2026-01-01T00:00:00Z" level=fatal msg="Error parsing image name \\"docker://h.example/ock:1.3\\": {}"'


@pytest.mark.parametrize("words, what, todo, transient", [
    ("reading manifest 1.3 in h.example/ock: manifest unknown: manifest unknown", "there is no such image", "quote versions", False),
    ("reading manifest 1.3 in h.example/ock: unauthorized: authentication required", "did not let us in", "registry.username", False),
    ("reading manifest 1.3 in h.example/ock: denied: requested access to the resource is denied", "did not let us in", "registry.username", False),
    (GET + "x509: certificate signed by unknown authority",
     "not trusted: x509: certificate signed by unknown authority", "registry.ca_cert", False),
    (GET + "dial tcp: lookup h.example: no such host", "name is not known", "HTTPS_PROXY", False),
    (GET + "dial tcp 1.2.3.4:443: connect: connection refused", "cannot be reached", "proxy", True),
    (GET + "http: server gave HTTP response to HTTPS client", "plain http", "registry.verify", False),
    (PING + "received unexpected HTTP status: 503 Service Unavailable", "fault of its own: received unexpected HTTP status: 503", "retries", True),
    (PING + "received unexpected HTTP status: 502 Bad Gateway", "502", "retries", True),
    ("reading manifest 1.3 in h.example/ock: toomanyrequests: slow down", "slow down", "retries", True),
    ("reading blob sha256:0123: Get \\\"https://h.example/x\\\": net/http: TLS handshake timeout", "in time", "retries", True),
    ("Source image rejected: Running image docker://h.example/ock:1.3 is rejected by policy.", "signature policy", "registry.policy", False),
    ("unexpected EOF", "connection to the registry broke", "retries", True),
    ("read tcp 1.2.3.4:5->6.7.8.9:443: read: connection reset by peer", "connection to the registry broke", "retries", True),
    ("something entirely new", "skopeo: Error parsing image name", None, False),
])
def test_what_skopeo_says(words, what, todo, transient):
    error = explain(FATAL.format(words), reference.parse("h.example/ock:1.3"), 1)
    assert what in error.what
    assert (todo or "") in (error.todo or "")
    assert error.details.get("transient", False) is transient


def test_a_proxy_s_password_is_not_repeated():
    error = explain(FATAL.format("proxyconnect tcp: dial http://user:s3cret@proxy.example:3128: connection refused"), reference.parse("h.example/ock"), 1)
    assert "s3cret" not in json.dumps(error.as_dict()) and "cannot be reached" in error.what


def test_tries_end(skopeo, monkeypatch):
    pauses, calls = [], []
    monkeypatch.setattr("time.sleep", pauses.append)

    def fail():
        calls.append(1)
        raise ImageError("broken", transient=True)
    with pytest.raises(ImageError) as caught:
        skopeo(retries=4).persist(fail)
    assert len(calls) == 5 and caught.value.details["attempts"] == 5
    assert all(0.7 * 2 ** n < pause < 1.3 * 2 ** n for n, pause in enumerate(pauses))


def test_a_fault_that_stays_is_told_at_once(skopeo, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail("it waited"))
    calls = []

    def fail():
        calls.append(1)
        raise ImageError("unauthorized")
    with pytest.raises(ImageError):
        skopeo(retries=4).persist(fail)
    assert len(calls) == 1


def test_a_later_try_succeeds(skopeo, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    answers = [ImageError("broken", transient=True), "good"]

    def attempt():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer
    assert skopeo(retries=1).persist(attempt) == "good"


# --- indexes -----------------------------------------------------------------------------------------

class Answer:
    """Skopeo as resolve() sees it, with one top-level manifest."""

    def __init__(self, manifest, text="h.example/ock:1", architecture="amd64"):
        self.data = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
        self.reference, self.architecture, self.progress, self.asked = reference.parse(text), architecture, silent(), []

    def persist(self, attempt):
        return attempt()

    def run(self, *words):
        self.asked.append(words)
        return self.data


def entry(digest, architecture, system="linux"):
    return {"digest": digest, "platform": {"architecture": architecture, "os": system}}


def test_an_index_is_asked_for_once_and_names_the_platform():
    answer = Answer({"manifests": [entry("a", "arm64"), entry("b", "amd64"), entry("c", "amd64", "windows"), entry("d", "unknown", "unknown")]})
    assert image.resolve(answer).platforms == ["b"]
    assert answer.asked == [("inspect", "--raw", "docker://h.example/ock:1")]


def test_an_index_without_the_platform_names_what_is_there():
    with pytest.raises(ImageError, match="not there for amd64, only for arm64, s390x"):
        image.resolve(Answer({"manifests": [entry("a", "s390x"), entry("b", "arm64"), entry("d", "unknown", "unknown")]}))


def test_a_single_manifest():
    resolved = image.resolve(Answer({"config": {"digest": "c"}, "layers": []}))
    assert resolved.platforms is None and resolved.config == "c"


def test_a_pin_is_compared_with_what_came():
    with pytest.raises(ImageError, match="not what the digest in the reference says"):
        image.resolve(Answer({"layers": []}, f"h.example/ock@{PIN}"))


@pytest.mark.parametrize("data", [b"not json", b"[]", b'{"manifests": [1]}', b'{"manifests": 5}'])
def test_a_malformed_manifest(data):
    with pytest.raises(ImageError, match="malformed"):
        image.resolve(Answer(data))
