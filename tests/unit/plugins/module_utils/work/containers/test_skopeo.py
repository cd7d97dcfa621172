# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""skopeo as it is called: credentials, options, further tries."""

from __future__ import annotations

import base64
import json
import os
import stat

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.common.progress import silent
from ansible_collections.ocne.images.plugins.module_utils.work.containers import reference
from ansible_collections.ocne.images.plugins.module_utils.work.containers.skopeo import Registry, Skopeo


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


# --- further tries ---------------------------------------------------------------------------------------


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


# --- its process -----------------------------------------------------------------------------------------


@pytest.fixture
def program(tmp_path, monkeypatch):
    """program(lines) puts a skopeo in the way that is a shell script of these lines."""
    def write(lines):
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin/skopeo").write_text(f"#!/bin/sh\n{lines}\n")
        (tmp_path / "bin/skopeo").chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    return write


def test_it_gets_its_operands_and_the_login(skopeo, program):
    program('for word; do case $word in /proc/self/fd/*) cat $word;; esac; done; echo; echo "$LC_ALL $*"; pwd')
    one = skopeo(username="me", password="s3cret")
    login, words, folder = one.run("copy", "docker://a", "dir:/b", prefix="src-").decode().splitlines()
    assert "h.example:5000/olcne/ock" in json.loads(login)["auths"]
    assert words.startswith("C.UTF-8 --tmpdir ") and "--override-os linux --override-arch amd64 copy --src-authfile" in words
    assert words.endswith(" docker://a dir:/b") and folder == one.folder


def test_its_failure_is_explained(skopeo, program):
    program("echo out; echo 'level=fatal msg=\"manifest unknown\"' >&2; exit 7")
    with pytest.raises(ImageError, match="docker://h.example:5000/olcne/ock:1: there is no such image") as caught:
        skopeo().run("inspect")
    assert caught.value.details["status"] == 7


def test_the_login_is_gone_when_it_is_left(tmp_path, skopeo):
    before = len(os.listdir("/proc/self/fd"))
    with Skopeo(reference.parse("h.example/ock"), Registry(username="me", password="p"), str(tmp_path), "amd64", 0, silent()):
        assert len(os.listdir("/proc/self/fd")) == before + 1
    assert len(os.listdir("/proc/self/fd")) == before


def test_other_transports_get_no_login(skopeo):
    words = " ".join(skopeo("oci:/srv/layout:1", username="me", password="p", verify=False).arguments("inspect"))
    assert "authfile" not in words and "tls-verify" not in words and "timeout" not in words
