# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One text for one meaning. Records and derived UUIDs of users hang on these digests: they must never change."""

from __future__ import annotations

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.canonical import canonical, digest_of, text_digest


def test_one_text_for_one_meaning():
    assert canonical({"b": [1, 2], "a": {"d": None, "c": "ä"}}) == '{"a":{"c":"\\u00e4","d":null},"b":[1,2]}'
    assert digest_of({"a": 1, "b": 2}) == digest_of(dict([("b", 2), ("a", 1)]))


@pytest.mark.parametrize("one, other", [({"a": ""}, {"a": None}), ({"a": None}, {}), ({"a": 1}, {"a": "1"}), ([1, 2], [2, 1]), ({"a": False}, {"a": 0})])
def test_another_meaning_has_another_digest(one, other):
    assert digest_of(one) != digest_of(other)


def test_golden_digests():
    assert digest_of({"a": [1, "ä", None, True]}) == "fb40b08eeb7f32c58ad3f6869cf52bfe2f6e9eed084b83407f5174f0226f6c5a"
    assert text_digest("ä") == text_digest("ä".encode()) == "33e6d73fee82904c8d7afb78de1154d1e8dc2a0edb08120e63df5b9385c2d9cc"
