# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What each module says of itself in literal text, because Ansible reads it so, is the same in all of them."""

from __future__ import annotations

import pathlib

import pytest
import yaml

from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError

MODULES = sorted((pathlib.Path(__file__).resolve().parents[4] / "plugins/modules").glob("*.py"))


def returned(path):
    return yaml.safe_load(path.read_text().partition('RETURN = r"""')[2].partition('"""')[0])


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_fault_is_described_in_one_way(path):
    error = returned(path)["error"]
    assert error == returned(MODULES[0])["error"]
    assert list(error["contains"]) == list(ImageError("what").as_dict())
