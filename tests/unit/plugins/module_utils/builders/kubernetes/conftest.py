# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A builder whose pod only pretends; tests/integration has a real one."""

from __future__ import annotations

import pytest

from ansible_collections.ocne.images.plugins.module_utils.builders.kubernetes.builder import PodBuilder
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.builders.kubernetes.sessions import Session


@pytest.fixture
def builder():
    made = PodBuilder({"source_transfer": "auto"}, lambda event: None)
    made._session = made._sources._session = Session()
    return made
