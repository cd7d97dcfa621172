# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.background import Background
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError, Interrupted


def test_what_the_function_returns():
    assert Background(lambda: 7).result() == 7


@pytest.mark.parametrize("error", [ImageError("it is broken"), OSError(28, "full"), Interrupted("received SIGTERM")])
def test_what_the_function_raises(error):
    def fail():
        raise error

    with pytest.raises(type(error)) as raised:
        Background(fail).result()
    assert raised.value is error
