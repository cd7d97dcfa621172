# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One text for one meaning, and digests of it."""

from __future__ import annotations

import dataclasses
import hashlib
import json


def canonical(value):
    """One text for one meaning: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def digest_of(value):
    """sha256 of the canonical form, hexadecimal."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def defaults(kind):
    """{name: default} of a dataclass's fields that have one."""
    found = {}
    for field in dataclasses.fields(kind):
        if field.default_factory is not dataclasses.MISSING:
            found[field.name] = field.default_factory()
        elif field.default is not dataclasses.MISSING:
            found[field.name] = field.default
    return found


def without_defaults(recipe):
    """A dataclass as a dictionary of those fields that are not what they are by themselves: what of a recipe is kept, compared and hashed.

    So an option that is added later changes nothing for who does not use it. Each field is compared with its own default: "" or 0 may mean something.
    """
    missing, known = object(), defaults(recipe)
    return {field.name: getattr(recipe, field.name) for field in dataclasses.fields(recipe) if known.get(field.name, missing) != getattr(recipe, field.name)}


def text_digest(data):
    """sha256 of bytes or text, hexadecimal: what a record keeps in place of a content that may be secret."""
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()
