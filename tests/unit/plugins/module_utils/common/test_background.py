# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Two things at once."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common import background
from ansible_collections.ocne.images.plugins.module_utils.common.background import Background
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError, Interrupted
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.builders.remote.agents import environment


def test_it_goes_on_meanwhile():
    go = threading.Event()
    running = Background(lambda: go.wait(30) and threading.current_thread() is not threading.main_thread())
    go.set()
    assert running.result() is True
    assert running.result() is True


@pytest.mark.parametrize("error", [ImageError("it broke"), OSError(28, "full"), Interrupted("received SIGTERM")])
def test_its_fault_comes_where_its_result_is_asked_for(error):
    def fail():
        raise error
    running = Background(fail)
    for _time in range(2):
        with pytest.raises(type(error)) as raised:
            running.result()
        assert raised.value is error


def test_nobody_waits_for_it_at_the_end():
    source = f"import threading; from {background.__name__} import Background; Background(threading.Event().wait)"
    subprocess.run([sys.executable, "-c", source], env=environment(), timeout=30, check=True)
