# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which policies need not be asked."""

from __future__ import annotations

import json

import pytest

from ansible_collections.ocne.images.plugins.module_utils.work.containers import reference
from ansible_collections.ocne.images.plugins.module_utils.work.containers.policy import accepts_everything

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
