# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The names of architectures."""

from __future__ import annotations

import pathlib
import platform
import re

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.platforms import architectures
from ansible_collections.ocne.images.plugins.modules import ocne_boot_image

ROOT = pathlib.Path(__file__).resolve().parents[5]


@pytest.mark.parametrize("given, name", [("x86_64", "amd64"), ("aarch64", "arm64"), ("amd64", "amd64"), ("arm64", "arm64"),
                                         ("riscv64", "riscv64"), (None, None)])
def test_as_images_name_them(given, name):
    assert architectures.image_name(given) == name


def test_the_host_s_own(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert (ocne_boot_image._architecture(None), ocne_boot_image._architecture("x86_64")) == ("arm64", "amd64")
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(ImageError, match=r"architecture of this host \(riscv64\); set architecture to amd64 or arm64"):
        ocne_boot_image._architecture(None)


def test_the_builder_image_s_script_has_the_same():
    script = (ROOT / "builder/install").read_text()
    assert dict(re.findall(r"^(\w+)\) architecture=(\w+) ;;$", script, re.MULTILINE)) == architectures.BY_KERNEL
