# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Oracle's SDK for Python, or one sentence about how to get it."""

from __future__ import annotations

import sys
import types

import pytest

from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle import sdk
from ansible_collections.ocne.images.plugins.module_utils.common import versions
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError


def test_a_missing_sdk_is_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "oci", None)
    with pytest.raises(ImageError, match=rf"oci, Oracle's SDK, is missing .*pip install 'oci>={versions.text(versions.OCI)}'\.$"):
        sdk.load()


def test_an_old_sdk_is_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "oci", types.SimpleNamespace(__version__="2.99.1"))
    with pytest.raises(ImageError, match=r"oci 2\.99\.1 is too old; .*pip install"):
        sdk.load()


@pytest.mark.parametrize("version", ["{}.{}.0", "{}.{}.1+local", "3.0.0"])
def test_one_that_is_new_enough(monkeypatch, version):
    there = types.SimpleNamespace(__version__=version.format(*versions.OCI))
    monkeypatch.setitem(sys.modules, "oci", there)
    assert sdk.load() is there
