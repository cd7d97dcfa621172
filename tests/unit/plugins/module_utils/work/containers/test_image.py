# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which image of an index counts."""

from __future__ import annotations

import json

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.common.progress import silent
from ansible_collections.ocne.images.plugins.module_utils.work.containers import image, reference

PIN = "sha256:" + "0123456789abcdef" * 4


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
