# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Paths as the booted system has them, and safe ways along them."""

from __future__ import annotations

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.work.guest import loader
from ansible_collections.ocne.images.plugins.module_utils.work.guest.partitions import Roles
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.work.guest.guests import COMMIT, DEPLOYMENT, Handle


@pytest.fixture
def view(image):
    return loader.booted_view(Handle(image), loader.Deployment("ock", COMMIT, 0), Roles(boot=True, root=True, efi=True))


@pytest.mark.parametrize("path,real", [
    ("/etc/x", f"/root/{DEPLOYMENT}/etc/x"), ("/var/lib/x", "/root/ostree/deploy/ock/var/lib/x"), ("/variable", f"/root/{DEPLOYMENT}/variable"),
    ("/boot/x", "/boot/x"), ("/boot/efi/EFI", "/efi/EFI"), ("/boot/efix", "/boot/efix"), ("/sysroot/ostree", "/root/ostree"), ("/", f"/root/{DEPLOYMENT}"),
    ("/var", "/root/ostree/deploy/ock/var"),
])
def test_real_places(view, path, real):
    assert view.real(path) == real


@pytest.mark.parametrize("target,resolved", [
    ("/usr/lib", "/usr/lib/x"), ("../var/lib", "/var/lib/x"), ("../../../../../../usr", "/usr/x"), ("/sysroot/ostree", "/sysroot/ostree/x"), (".", "/etc/x"),
    ("/boot/loader", "/boot/loader.1/x"), ("/none/../etc", "/etc/x"),
])
def test_links_lead_where_the_booted_system_goes(image, view, target, resolved):
    (image / "root" / DEPLOYMENT / "etc/link").symlink_to(target)
    assert view.resolve("/etc/link/x") == resolved


def test_the_last_link_is_kept_where_asked(image, view):
    (image / "root" / DEPLOYMENT / "etc/link").symlink_to("hosts")
    assert view.resolve("/etc/link", follow=False) == "/etc/link"
    assert view.resolve("/etc/link") == "/etc/hosts"


def test_a_loop_below_etc_is_refused(image, view):
    (image / "root" / DEPLOYMENT / "etc/a").symlink_to("b")
    (image / "root" / DEPLOYMENT / "etc/b").symlink_to("/etc/a")
    with pytest.raises(ImageError, match="loop"):
        view.resolve("/etc/a/x")
    assert view.resolve("/etc/a", follow=False) == "/etc/a"


def test_a_file_in_the_way_is_refused(image, view):
    (image / "root" / DEPLOYMENT / "etc/file").write_text("")
    with pytest.raises(ImageError, match="in the way"):
        view.resolve("/etc/file/x")
