# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One real agent for all tests of a file, and a client of it."""

from __future__ import annotations

import pytest

from ansible_collections.ocne.images.tests.unit.plugins.module_utils.builders.remote.agents import Agent


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    with Agent(tmp_path_factory.mktemp("agent")) as running:
        yield running


@pytest.fixture
def client(agent):
    opened = agent.client()
    yield opened
    opened.close_all()
