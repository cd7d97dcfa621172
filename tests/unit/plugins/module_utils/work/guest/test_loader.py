# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What boots: the loader's folder, its entries, their deployments."""

from __future__ import annotations

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.work.guest import bls, loader
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.work.guest.guests import COMMIT, DEPLOYMENT, Handle, entries, entry


def test_the_way_from_loader_to_deployment(image):
    found, = entries(image)
    assert found.name == "ostree-1-ock.conf"
    deployment = loader.deployment_of(Handle(image), found.entry)
    assert deployment == loader.Deployment("ock", COMMIT, 0)
    assert (deployment.path, deployment.var) == (DEPLOYMENT, "ostree/deploy/ock/var")
    assert loader.all_deployments(Handle(image)) == [deployment]


def test_the_default_entry_is_first(image):
    for number in (2, 10, 9):
        entry(image, f"ostree-{number}-ock.conf", "a", version=number)
    (image / "boot/loader.1/entries/.hidden.conf").write_text("")
    (image / "boot/loader.1/entries/readme").write_text("")
    assert [item.name for item in entries(image)] == ["ostree-10-ock.conf", "ostree-9-ock.conf", "ostree-2-ock.conf", "ostree-1-ock.conf"]


@pytest.mark.parametrize("target", ["loader.2", "../root", "/boot/loader.1", "loader", "loader.1/../../root", "/"])
def test_a_loader_that_leads_elsewhere_is_refused(image, target):
    (image / "boot/loader").unlink()
    (image / "boot/loader").symlink_to(target)
    with pytest.raises(ImageError, match="not to loader.0 or loader.1"):
        loader.loader_folder(Handle(image))


def test_a_loader_that_is_a_folder_and_one_that_is_missing(image):
    (image / "boot/loader").unlink()
    assert loader.loader_folder(Handle(image)) is None
    (image / "boot/loader").mkdir()
    assert loader.loader_folder(Handle(image)) == "loader"
    assert loader.boot_entries(Handle(image), "loader") == []


def test_a_loader_whose_target_is_missing_has_no_entries(image):
    (image / "boot/loader").unlink()
    (image / "boot/loader").symlink_to("loader.0")
    assert entries(image) == []


def test_a_boot_entry_of_10_mib_is_refused(image):
    (image / "boot/loader.1/entries/ostree-1-ock.conf").write_bytes(b"options " + b"a" * (10 << 20))
    with pytest.raises(ImageError, match="at most 65536"):
        entries(image)


def test_a_boot_entry_that_is_a_link_is_refused(image):
    path = image / "boot/loader.1/entries/ostree-1-ock.conf"
    path.unlink()
    path.symlink_to("/etc/passwd")
    with pytest.raises(ImageError, match="not a regular file"):
        entries(image)


def test_too_many_entries_are_refused(image):
    for number in range(65):
        entry(image, f"e{number}.conf", "a")
    with pytest.raises(ImageError, match="66 boot entries"):
        entries(image)


def test_an_entry_that_is_not_utf_8_comes_back_as_it_was(image):
    data = b"title \xff\xfe\noptions a\n"
    (image / "boot/loader.1/entries/ostree-1-ock.conf").write_bytes(data)
    assert entries(image)[0].entry.dump().encode("utf-8", "surrogateescape") == data


@pytest.mark.parametrize("options", ["", "quiet", "ostree", "ostree="])
def test_an_entry_without_ostree_has_no_deployment(image, options):
    assert loader.deployment_of(Handle(image), bls.Entry(f"options {options}\n")) is None


@pytest.mark.parametrize("target", [
    "/", "/etc", "../../../../../../..", f"../../../deploy/ock/deploy/{COMMIT}.1", f"../../../deploy/ock/deploy/{'b' * 64}.0", "../../../deploy/ock/var",
    f"../../../deploy/ock/deploy/{COMMIT}.0/etc", "nowhere",
])
def test_an_ostree_path_that_leads_elsewhere_is_refused(image, target):
    link = image / "root/ostree/boot.1.1/ock/c0ffee/0"
    link.unlink()
    link.symlink_to(target)
    with pytest.raises(ImageError, match="no ostree deployment"):
        loader.deployment_of(Handle(image), entries(image)[0].entry)


def test_a_loop_of_links_is_refused(image):
    link = image / "root/ostree/boot.1.1/ock/c0ffee/0"
    link.unlink()
    link.symlink_to("1")
    (link.parent / "1").symlink_to("0")
    with pytest.raises(ImageError, match="loop"):
        loader.deployment_of(Handle(image), entries(image)[0].entry)
