# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a reference to a container image means."""

from __future__ import annotations

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.work.containers import reference

PIN = "sha256:" + "0123456789abcdef" * 4


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
