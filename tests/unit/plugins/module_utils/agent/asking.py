# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How tests ask an agent."""

from __future__ import annotations

import hashlib
import sys

import pytest

from ansible_collections.ocne.images.plugins.module_utils.agent import content_coding
from ansible_collections.ocne.images.plugins.module_utils.agent.protocol import Refusal
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.builders.remote.agents import program


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def refused(status, function, *arguments, **options):
    with pytest.raises(Refusal) as caught:
        function(*arguments, **options)
    assert caught.value.status == status
    return str(caught.value)


def send(client, name, data, digest=None, size=None, ranges=None, check=None):
    digest, size = digest or sha256(data), len(data) if size is None else size
    ranges = ranges or f"0:{len(data)}"
    return client.request("PUT", f"/v1/files/{name}/chunk?digest={digest}&size={size}&ranges={ranges}", data,
                          {"X-Crc32": check or content_coding.checksum(data)})


def start(client, name, source, **job):
    data = program(source)
    client.request("PUT", f"/v1/programs/{sha256(data)}", data)
    return client.json("PUT", f"/v1/jobs/{name}", {"program": sha256(data), "interpreter": sys.executable, "job": {"kind": "test", **job}})


def follow(client, name):
    """(all of its output, last answer)"""
    output, state = b"", "running"
    while state == "running":
        answer = client.request("GET", f"/v1/jobs/{name}/output?offset={len(output)}&wait=10")
        output, state = output + answer.body, answer.headers["X-State"]
        assert int(answer.headers["X-Offset"]) == len(output)
    return output, answer
