# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Many images of one boot media image: pulled once, customized in one launch, each failing by itself."""

from __future__ import annotations

import subprocess

import pytest
from plays import CORES, ROOT, hidden

PLAYBOOK = ROOT / "playbooks" / "build-vm-images.yml"
VARIANTS = [
    {"platform": "qemu", "architecture": "amd64"},
    {"platform": "olvm", "architecture": "arm64"},
    {"platform": "vmware", "architecture": "amd64", "subformat": "streamOptimized"},
    {"platform": "vmware", "architecture": "amd64", "format": "raw", "name": "ock-1.33-vmware-amd64"},
    {"platform": {"name": "cloud", "disk_format": "vhdx", "disk_subformat": "fixed", "disk_suffix": ".cloud.vhdx"}, "architecture": "amd64"},
]
NAMES = ["ock-1.33-qemu-amd64.qcow2", "ock-1.33-olvm-arm64.qcow2", "ock-1.33-vmware-amd64.vmdk", "ock-1.33-vmware-amd64.raw",
         "ock-1.33-cloud-amd64.cloud.vhdx"]


def variables(registry, folder, variants):
    return {"vm_image_source": f"docker://{registry['plain']['address']}/olcne/ock:tiny", "vm_image_registry": {"verify": False},
            "vm_image_directory": str(folder), "vm_image_variants": variants}


def disk_format(path):
    return subprocess.run(["qemu-img", "info", "--output=json", path], check=True, capture_output=True, text=True).stdout


def test_build_again_and_one_more(run, tmp_path, registry, clean_tmp):
    folder = tmp_path / "images"
    run(PLAYBOOK, extra=variables(registry, folder, VARIANTS))
    assert all((folder / name).exists() for name in NAMES)
    assert hidden(folder) == []
    for name, kind in zip(NAMES, ("qcow2", "qcow2", "vmdk", "raw", "vhdx")):
        assert f'"format": "{kind}"' in disk_format(folder / name)
    times = {name: (folder / name).stat().st_mtime_ns for name in NAMES}
    again = run(PLAYBOOK, extra=variables(registry, folder, VARIANTS))
    assert "changed=0" in again.text
    more = run(PLAYBOOK, extra=variables(registry, folder, [*VARIANTS, {"platform": {"name": "own", "ignition_platform": "metal"}, "architecture": "amd64"}]))
    assert "changed=1" in more.text
    assert times == {name: (folder / name).stat().st_mtime_ns for name in NAMES}


@pytest.mark.parametrize("core", CORES[-1:], indirect=True)
def test_one_that_fails_spoils_no_other(run, tmp_path, registry, core):
    folder = tmp_path / "images"
    bad = {"platform": "qemu", "architecture": "amd64", "name": "bad", "files": [{"path": "/etc/x", "content": "y", "owner": "nobody-of-that-name"}]}
    play = run(PLAYBOOK, fails=True, extra=variables(registry, folder, [VARIANTS[0], bad, dict(bad, name="bad2", format="vmdk"), VARIANTS[3]]))
    assert "nobody-of-that-name" in play.text
    assert (folder / NAMES[0]).exists() and (folder / NAMES[3]).exists()
    assert not (folder / "bad.qcow2").exists() and not (folder / "bad2.vmdk").exists()


@pytest.mark.parametrize("core", CORES[-1:], indirect=True)
def test_check_mode_changes_nothing(run, tmp_path, registry, core):
    folder = tmp_path / "images"
    run(PLAYBOOK, "--check", "--diff", extra=variables(registry, folder, VARIANTS))
    assert not folder.exists()


@pytest.mark.parametrize("core", CORES[-1:], indirect=True)
def test_two_of_one_name_are_refused(run, tmp_path, registry, core):
    play = run(PLAYBOOK, fails=True, extra=variables(registry, tmp_path / "images", [VARIANTS[0], dict(VARIANTS[0], ignition_provider="openstack")]))
    assert "give one of them a `name`" in play.text
