# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A boot image as a folder: its boot and root partitions."""

from __future__ import annotations

import pytest

from ansible_collections.ocne.images.tests.unit.plugins.module_utils.work.guest.guests import COMMIT, DEPLOYMENT, entry


@pytest.fixture
def image(tmp_path):
    (tmp_path / "boot/loader.1/entries").mkdir(parents=True)
    (tmp_path / "boot/loader").symlink_to("loader.1")
    (tmp_path / "root" / DEPLOYMENT / "etc").mkdir(parents=True)
    (tmp_path / "root/ostree/deploy/ock/var/lib").mkdir(parents=True)
    (tmp_path / "root/ostree/boot.1.1/ock/c0ffee").mkdir(parents=True)
    (tmp_path / "root/ostree/boot.1.1/ock/c0ffee/0").symlink_to(f"../../../deploy/ock/deploy/{COMMIT}.0")
    (tmp_path / "root/ostree/boot.1").symlink_to("boot.1.1")
    entry(tmp_path, "ostree-1-ock.conf", "ostree=/ostree/boot.1/ock/c0ffee/0")
    return tmp_path
