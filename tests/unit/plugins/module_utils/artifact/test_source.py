# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an artifact is made from."""

from __future__ import annotations

import pytest

from ansible_collections.ocne.images.plugins.module_utils.artifact.source import HeldOpen, identity
from ansible_collections.ocne.images.plugins.module_utils.common.canonical import text_digest
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.artifact.artifacts import make


def test_the_record_of_what_took_a_name_is_not_taken_for_the_pinned_file(tmp_path):
    dest = tmp_path / "disk"
    make(tmp_path, dest)
    pinned = HeldOpen(str(dest))
    assert identity(str(dest), read_path=pinned.read_path) == text_digest(b"image")
    make(tmp_path, dest, b"another image")
    assert identity(str(dest), read_path=pinned.read_path) == text_digest(b"image")
    assert identity(str(dest)) == text_digest(b"another image")
    dest.unlink()
    assert identity(str(dest), read_path=pinned.read_path) == text_digest(b"image")


def test_a_name_that_leads_nowhere_here_is_only_a_name(tmp_path):
    """As in a pod, whose user may not look into the folder of that name, say."""
    (tmp_path / "file").write_bytes(b"image")
    for name in (tmp_path / "file" / "below", tmp_path / "none" / "below"):
        assert identity(str(name), read_path=str(tmp_path / "file")) == text_digest(b"image")
    with pytest.raises(ImageError, match="reading the source image failed"):
        identity(str(tmp_path / "file" / "below"))
