# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Requests through the standard input and output of a process."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys

from ansible_collections.ocne.images.plugins.module_utils.agent.protocol import TOKEN_HEADER
from ansible_collections.ocne.images.plugins.module_utils.builders.remote import package
from ansible_collections.ocne.images.plugins.module_utils.builders.remote.client import AgentClient
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.agent.asking import send, sha256
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.builders.remote.agents import TOKEN


class _Tunnelled(AgentClient):
    """Through the standard input and output of a process, as exec gives them."""

    def __init__(self, agent):
        super().__init__()
        self._agent, self.processes = agent, []

    def headers(self):
        return {TOKEN_HEADER: TOKEN}

    def connect(self):
        ours, theirs = socket.socketpair()
        with theirs:
            self.processes.append(subprocess.Popen([sys.executable, "-I", "-c", package.TUNNEL, str(self._agent.folder / "program.zip"), str(self._agent.port)],
                                                   stdin=theirs, stdout=theirs))
        connection = http.client.HTTPConnection("builder")
        connection.sock = ours
        return connection


def test_a_tunnel(agent):
    client = _Tunnelled(agent)
    data = os.urandom(3 << 20)
    send(client, "tunnelled", data)
    client.json("POST", "/v1/files/tunnelled", {"size": len(data), "digest": sha256(data)})
    assert client.request("GET", f"/v1/files/tunnelled/part?ranges=0:{len(data)}").body == data
    client.close_all()
    assert len(client.processes) == 1 and client.processes[0].wait(10) == 0
