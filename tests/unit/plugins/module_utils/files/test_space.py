# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether there is room for what is to be written."""

from __future__ import annotations

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.files import space


def test_too_little_space_is_said_with_numbers(tmp_path):
    with pytest.raises(ImageError) as caught:
        space.check_space(str(tmp_path), 1 << 62, "the image")
    assert str(1 << 62) in str(caught.value)
    assert caught.value.details["free_bytes"] < 1 << 62
