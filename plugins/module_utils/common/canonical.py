# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One text for one meaning, and digests of it."""

from __future__ import annotations

import hashlib
import json


def canonical(value):
    """One text for one meaning: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def digest_of(value):
    """sha256 of the canonical form, hexadecimal."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def text_digest(data):
    """sha256 of bytes or text, hexadecimal: what a record keeps in place of a content that may be secret."""
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()
