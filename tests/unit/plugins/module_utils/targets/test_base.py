# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What every target has."""

from __future__ import annotations

import pytest

from ansible_collections.ocne.images.plugins.module_utils.targets.base import Target
from ansible_collections.ocne.images.plugins.module_utils.targets.oracle import OracleCloud


def test_a_target_that_lacks_something_is_none():
    class Half(Target):
        def check(self, image):
            return None

    with pytest.raises(TypeError, match="register.*remove.*upload"):
        Half()   # pylint: disable=abstract-class-instantiated


@pytest.mark.parametrize("target", [OracleCloud])
def test_the_targets_have_all_of_it(target):
    assert issubclass(target, Target) and not target.__abstractmethods__
