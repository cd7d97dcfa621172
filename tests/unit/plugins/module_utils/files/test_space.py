# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether there is room for what is to be written."""

from __future__ import annotations

import os

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.files import space


def test_too_little_space_is_said_with_numbers(tmp_path):
    with pytest.raises(ImageError) as caught:
        space.check_space(str(tmp_path), 1 << 62, "the image")
    assert str(1 << 62) in str(caught.value)
    assert caught.value.details["free_bytes"] < 1 << 62


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """The workspace of a builder that may hold 1 MiB."""
    (tmp_path / "workspace/jobs").mkdir(parents=True)
    monkeypatch.setenv(space.LIMIT_VARIABLE, f"{1 << 20} {tmp_path}/workspace")
    return tmp_path / "workspace"


def test_what_is_in_a_workspace_counts_for_its_limit(workspace):
    before = space.free_space(str(workspace / "jobs"))
    assert 0 < before <= 1 << 20
    (workspace / "jobs/image").write_bytes(os.urandom(512 << 10))
    os.link(workspace / "jobs/image", workspace / "kept")
    (workspace / "link").symlink_to("/usr")
    assert 512 << 10 <= before - space.free_space(str(workspace)) < 600 << 10


def test_holes_take_nothing(workspace):
    before = space.free_space(str(workspace))
    with open(workspace / "sparse", "wb") as file:
        file.truncate(1 << 40)
    assert before - space.free_space(str(workspace)) < 64 << 10


def test_a_workspace_that_is_too_small(workspace):
    with pytest.raises(ImageError, match=f"the image needs {2 << 20} bytes, and of the {1 << 20} of the builder's workspace") as caught:
        space.check_space(str(workspace), 2 << 20, "the image")
    assert "larger workspace" in caught.value.todo and caught.value.details["limit_bytes"] == 1 << 20
    space.check_space(str(workspace), 100 << 10, "the image")


def test_a_workspace_over_its_limit_has_nothing_free(workspace):
    (workspace / "image").write_bytes(os.urandom(2 << 20))
    assert space.free_space(str(workspace)) == 0


def test_the_limit_is_of_the_workspace_only(workspace, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    space.check_space(str(tmp_path / "elsewhere"), 2 << 20, "the image")
