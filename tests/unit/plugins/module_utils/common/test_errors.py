# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import json

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common import errors
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError, Interrupted


def test_a_stop_is_no_error():
    """Else whatever goes on after a fault goes on after a Ctrl-C, too."""
    assert not issubclass(Interrupted, Exception)
    assert str(Interrupted("received SIGTERM")) == "stopped: received SIGTERM; nothing was changed at the destination; run the task again."


@pytest.mark.parametrize("error", [ImageError("it is broken", "/disk", "mend it", status=1), ImageError("no more than that"), Interrupted("received SIGINT")])
def test_both_cross_the_wire(error):
    came = errors.from_wire(json.loads(json.dumps(error.as_dict())))
    assert (type(came), str(came), came.as_dict()) == (type(error), str(error), error.as_dict())
