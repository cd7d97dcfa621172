# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The partitions of a boot image and what each is for."""

from __future__ import annotations

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.work.guest.partitions import read_partitions, roles_of
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.work.guest.guests import EFI, LINUX, Disk

ID = "8645d312-2c61-54a4-8855-16c7c7f20d18"


@pytest.mark.parametrize("table,size", [(2, 128), (2, 256), (40, 128)])
def test_partitions_by_name(table, size):
    disk = Disk({1: (EFI, "EFI-SYSTEM", 300, 10), 4: (LINUX, "root", 320, 10), 2: (LINUX, "boot", 310, 10)}, table, size)
    disk.xfs(2, ID, b"other")
    found = read_partitions(disk, "/dev/sda")
    assert [(part.number, part.name, part.start, part.size, part.type) for part in found] == [
        (1, "EFI-SYSTEM", 300 * 512, 5120, EFI), (2, "boot", 310 * 512, 5120, LINUX), (4, "root", 320 * 512, 5120, LINUX)]
    assert (found[1].filesystem, found[1].uuid, found[1].label) == ("xfs", ID, "other")
    roles = roles_of(found)
    assert (roles.boot.number, roles.root.number, roles.efi.number) == (2, 4, 1)


def test_partitions_by_label_where_names_say_nothing():
    disk = Disk({1: (LINUX, "", 300, 10), 2: (LINUX, "Linux", 310, 10)})
    disk.xfs(1, ID, b"root")
    disk.xfs(2, ID, b"boot")
    roles = roles_of(read_partitions(disk, "/dev/sda"))
    assert (roles.boot.number, roles.root.number, roles.efi) == (2, 1, None)


def test_two_partitions_of_one_name_are_refused():
    disk = Disk({1: (LINUX, "boot", 300, 10), 2: (LINUX, "boot", 310, 10)})
    with pytest.raises(ImageError, match="2 partitions named boot"):
        roles_of(read_partitions(disk, "/dev/sda"))


def test_efi_by_its_type():
    assert roles_of(read_partitions(Disk({3: (EFI, "esp", 300, 10)}), "/dev/sda")).efi.number == 3
