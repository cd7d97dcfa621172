# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Sentences that more than one error ends with."""

from __future__ import annotations

import pathlib
import re

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common import advice
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError

SENTENCES = {name: text for name, text in vars(advice).items() if name.isupper()}
OTHERS = {path: path.read_text() for path in pathlib.Path(advice.__file__).parents[1].rglob("*.py") if path.name != "advice.py"}


@pytest.mark.parametrize("name", SENTENCES)
def test_it_ends_an_error_s_sentence(name):
    assert str(ImageError("it broke", todo=SENTENCES[name])) == f"it broke; {SENTENCES[name]}."
    assert SENTENCES[name][0].islower() and not SENTENCES[name].endswith(".")


@pytest.mark.parametrize("name", SENTENCES)
def test_it_stands_once(name):
    copies = [path.name for path, text in OTHERS.items() if f'"{SENTENCES[name]}"' in text]
    assert copies == []
    assert any(re.search(rf"\badvice\.{name}\b", text) for text in OTHERS.values()), "nobody uses it"
