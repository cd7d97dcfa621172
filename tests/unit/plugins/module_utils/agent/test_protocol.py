# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What both ends of the wire know."""

from __future__ import annotations

import json
import re

import pytest

from ansible_collections.ocne.images.plugins.module_utils.agent import protocol
from ansible_collections.ocne.images.plugins.module_utils.agent.protocol import Refusal
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError


def test_a_refusal_is_the_same_on_the_other_side():
    refusal = Refusal(409, "another size was said", "a.img", "send it again", size=5)
    again = Refusal.of(409, json.loads(json.dumps(refusal.as_dict())))
    assert isinstance(again, ImageError) and again.status == 409
    assert str(again) == str(refusal) == "a.img: another size was said; send it again." and again.details == {"size": 5}


@pytest.mark.parametrize("data", [{}, [], None, "words", {"what": "x", "details": 5}])
def test_an_answer_that_is_no_refusal(data):
    with pytest.raises((ValueError, KeyError, TypeError)):
        Refusal.of(500, data)


def test_the_agent_knows_every_request_that_is_described(agent):
    """It may refuse the values, but not the request."""
    described = re.findall(r"^    ([A-Z]+) +(/v1/[^\s?]+)", protocol.__doc__, re.MULTILINE)
    assert len(described) >= 9
    for method, path in described:
        answer = agent.raw(method, path.replace("NAME", "none").replace("ID", "none"))[1]
        assert b"no such request" not in answer, (method, path)
    assert b"no such request" in agent.raw("GET", "/v1/nothing")[1]


def test_every_answer_is_marked(agent, client):
    for path in ("/v1/status", "/v1/nothing"):
        connection = client.connect()
        connection.request("GET", path, headers=client.headers())
        answer = connection.getresponse()
        assert answer.headers[protocol.AGENT_HEADER] == "1", path
        answer.read()
        connection.close()
