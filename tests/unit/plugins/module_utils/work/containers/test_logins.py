# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one login that an image needs, out of those that a user has."""

from __future__ import annotations

import base64
import json

import pytest

from ansible_collections.ocne.images.plugins.module_utils.work.containers import logins, reference
from ansible_collections.ocne.images.plugins.module_utils.work.containers.skopeo import Registry

HUB = {"docker.io", "https://index.docker.io/v1/"}


@pytest.fixture
def only(tmp_path):
    """only(auths, image, **registry) -> the auths to be carried elsewhere, or None."""
    def go(auths, image, **registry):
        path = tmp_path / "auth.json"
        path.write_text(json.dumps({"auths": {key: {"auth": value} for key, value in auths.items()}, "credHelpers": {"quay.io": "secretservice"}}))
        found = logins.only(Registry(auth_file=str(path), **registry), reference.parse(image))
        return found and {key: entry["auth"] for key, entry in found["auths"].items()}
    return go


@pytest.mark.parametrize("auths, image, keys, secret", [
    ({"a.example.com": "1", "b.example.com": "2"}, "a.example.com/x/y:1", {"a.example.com"}, "1"),
    ({"a.example.com": "1", "a.example.com/x": "2", "a.example.com/x/y/z": "3"}, "a.example.com/x/y:1", {"a.example.com"}, "2"),
    ({"a.example.com": "1", "a.example.com/x/y": "2"}, "a.example.com/x/y@sha256:" + "0" * 64, {"a.example.com"}, "2"),
    ({"https://a.example.com:5000/v2/": "1"}, "a.example.com:5000/x", {"a.example.com:5000"}, "1"),
    ({"https://index.docker.io/v1/": "1"}, "nginx", HUB, "1"),
    ({"docker.io": "1", "docker.io/library/nginx": "2"}, "nginx", HUB, "2"),
])
def test_the_login_that_counts(only, auths, image, keys, secret):
    assert only(auths, f"docker://{image}") == dict.fromkeys(keys, secret)


@pytest.mark.parametrize("image", ["c.example.com/x", "a.example.com.evil.com/x", "quay.io/x", "example.com/x"])
def test_none(only, image):
    assert only({"a.example.com": "1", "quay.io.example.com": "2"}, f"docker://{image}") is None


def test_a_given_password_comes_first(only):
    found = only({"a.example.com": "1", "a.example.com/x": "2"}, "docker://a.example.com/x", username="u", password="p")
    assert found == {"a.example.com": base64.b64encode(b"u:p").decode()}
