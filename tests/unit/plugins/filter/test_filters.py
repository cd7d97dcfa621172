# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The filters of roles."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.ocne.images.plugins.filter import image_architecture, platform_disk

DISK = platform_disk.FilterModule().filters()["platform_disk"]
ARCHITECTURE = image_architecture.FilterModule().filters()["image_architecture"]


def test_the_disk_of_a_platform():
    assert DISK("vmware") == {"format": "vmdk", "subformat": "monolithicSparse", "suffix": ".vmdk"}
    assert DISK("vmware", None) == DISK("vmware")
    assert DISK("vmware", "raw") == {"format": "raw", "subformat": None, "suffix": ".raw"}
    assert DISK({"disk_format": "vpc", "disk_subformat": "fixed"}) == {"format": "vpc", "subformat": "fixed", "suffix": ".vhd"}


@pytest.mark.parametrize("platform, format, says", [
    ("azure", None, "no platform 'azure'"), ({"disk_format": "qed"}, None, "no disk format 'qed'"), ("qemu", "qed", "no disk format 'qed'"),
])
def test_faults_are_those_of_filters(platform, format, says):
    with pytest.raises(AnsibleFilterError, match=says):
        DISK(platform, format)


def test_an_architecture():
    assert (ARCHITECTURE("x86_64"), ARCHITECTURE("arm64"), ARCHITECTURE("riscv64")) == ("amd64", "arm64", "riscv64")
