# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab's endpoint, and a task's run against it."""

from __future__ import annotations

import hashlib
import secrets

import pytest

from ansible_collections.ocne.images.plugins.module_utils.targets.base import Image
from ansible_collections.ocne.images.plugins.module_utils.targets.journal import Journal
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.clouds import conftest as clouds

no_bundle, endpoint, cloud, own_cloud, disk = clouds.no_bundle, clouds.endpoint, clouds.cloud, clouds.own_cloud, clouds.disk
no_variables, options, session = clouds.no_variables, clouds.options, clouds.session


@pytest.fixture(autouse=True)
def state_home(tmp_path, monkeypatch):
    """What is written down outside of the image's folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def file(tmp_path, disk):
    """The path of a sound qcow2 that nobody else has: the lab has one endpoint for all tests, and images are known by their digest."""
    path = tmp_path / "images" / "boot.qcow2"
    path.parent.mkdir()
    data = bytearray(disk.read_bytes())
    # in the guest's data, which the test's disk has a pattern in
    at = data.index(b"\x07" * 4096)
    data[at:at + 32] = secrets.token_bytes(32)
    path.write_bytes(data)
    return path


def image_of(path, **more):
    """targets.base.Image of a file."""
    data = path.read_bytes()
    return Image(**{**{"where": str(path), "format": "qcow2", "architecture": "amd64", "size": len(data),
                       "content": hashlib.sha256(data).hexdigest(), "read_path": str(path)}, **more})


@pytest.fixture
def image(file):
    return image_of(file)


@pytest.fixture
def journal(file):
    return Journal(str(file))
