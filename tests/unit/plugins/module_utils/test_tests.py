# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every file of module_utils and plugin_utils has a test file of its own, at the same place below tests/unit."""

from __future__ import annotations

import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[4]
UNITS = ROOT / "tests/unit"
FILES = sorted(path.relative_to(ROOT) for room in ("module_utils", "plugin_utils") for path in (ROOT / "plugins" / room).rglob("*.py")
               if path.name != "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_file_has_its_tests(path):
    tests = UNITS / path.parent / f"test_{path.name}"
    assert tests.exists(), f"{path} has no {tests.relative_to(ROOT)}"
    assert "\ndef test_" in tests.read_text()
