# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One text for one meaning. Records and derived UUIDs of users hang on these digests: they must never change."""

from __future__ import annotations

import dataclasses

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.canonical import canonical, defaults, digest_of, text_digest, without_defaults


def test_one_text_for_one_meaning():
    assert canonical({"b": [1, 2], "a": {"d": None, "c": "ä"}}) == '{"a":{"c":"\\u00e4","d":null},"b":[1,2]}'
    assert digest_of({"a": 1, "b": 2}) == digest_of(dict([("b", 2), ("a", 1)]))


@pytest.mark.parametrize("one, other", [({"a": ""}, {"a": None}), ({"a": None}, {}), ({"a": 1}, {"a": "1"}), ([1, 2], [2, 1]), ({"a": False}, {"a": 0})])
def test_another_meaning_has_another_digest(one, other):
    assert digest_of(one) != digest_of(other)


def test_golden_digests():
    assert digest_of({"a": [1, "ä", None, True]}) == "fb40b08eeb7f32c58ad3f6869cf52bfe2f6e9eed084b83407f5174f0226f6c5a"
    assert text_digest("ä") == text_digest("ä".encode()) == "33e6d73fee82904c8d7afb78de1154d1e8dc2a0edb08120e63df5b9385c2d9cc"


@dataclasses.dataclass
class Pizza:
    """A recipe with all sorts of defaults."""

    size: int
    cheese: str = "mozzarella"
    sauce: str = None
    slices: int = 8
    toppings: list = dataclasses.field(default_factory=list)


def test_a_recipe_keeps_what_is_no_default():
    assert without_defaults(Pizza(30)) == without_defaults(Pizza(30, "mozzarella", None, 8, [])) == {"size": 30}
    assert without_defaults(Pizza(30, toppings=["basil"])) == {"size": 30, "toppings": ["basil"]}


def test_what_is_nothing_need_not_be_a_default():
    assert without_defaults(Pizza(0, "", "", 0)) == {"size": 0, "cheese": "", "sauce": "", "slices": 0}
    assert without_defaults(Pizza(None, None)) == {"size": None, "cheese": None}


def test_defaults():
    assert defaults(Pizza) == {"cheese": "mozzarella", "sauce": None, "slices": 8, "toppings": []}
