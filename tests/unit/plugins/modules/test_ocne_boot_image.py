# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from types import SimpleNamespace

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError, Interrupted
from ansible_collections.ocne.images.plugins.modules import ocne_boot_image as module


def seen(fault):
    def look(*_arguments):
        raise fault

    return module.seen(SimpleNamespace(remote=True, check=False, run_locally=look), {}, object(), None)


def test_this_host_need_not_reach_the_registry():
    assert seen(ImageError("no route to host")) is None


def test_a_stop_is_not_a_registry_out_of_reach():
    with pytest.raises(Interrupted):
        seen(Interrupted("received SIGTERM"))
