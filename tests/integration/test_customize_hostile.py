# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Images made to do harm: each is refused in one sentence, and nothing is written elsewhere."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from plays import CORES, hidden

from ansible_collections.ocne.images.plugins.module_utils.files import digests
from common import guestfish
from sample import build

# the images are the same with every ansible-core
pytestmark = pytest.mark.parametrize("core", CORES[-1:], indirect=True)
PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ocne.images.ocne_image_customize: "{{ options }}"
"""


@pytest.fixture(autouse=True)
def once(core):
    """Which ansible-core: see pytestmark."""


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """name -> path of images that were spoilt, all in one appliance."""
    known = build.disks(["tiny"])["tiny"]
    folder = tmp_path_factory.mktemp("hostile")
    etc = f"/{known['deployment']}/etc"
    bootcsum = known["options"].rsplit("/", 2)[1]
    (folder / "large").write_bytes(b"options " + b"a" * (10 << 20) + b"\n")
    scripts = {
        # partition 2 is boot, 3 is root
        "entry": f"mount /dev/sdX2 /\nupload {folder}/large /loader.1/entries/ostree-1-ock.conf",
        "loader": "mount /dev/sdX2 /\nrm /loader\nln-s ../../etc /loader",
        "ostree": f"mount /dev/sdX3 /\nrm /ostree/boot.1.1/ock/{bootcsum}/0\nln-s ../../../../.. /ostree/boot.1.1/ock/{bootcsum}/0",
        "paths": f"mount /dev/sdX3 /\nln-s loop-b {etc}/loop-a\nln-s loop-a {etc}/loop-b\nln-s ../../../../../../../.. {etc}/out\n"
                 f"ln-s /sysroot/ostree/repo {etc}/repo\nln-s /usr/lib {etc}/usr\nln-s /sysroot/ostree/repo/config {etc}/config\n"
                 f"rm {etc}/machine-id\nln-s /sysroot/ostree/repo/config {etc}/machine-id",
        "fstab": f"mount /dev/sdX3 /\nrm {etc}/fstab\nln-s /sysroot/ostree/repo/config {etc}/fstab",
    }
    paths, script = {}, []
    for number, (name, text) in enumerate(scripts.items()):
        paths[name] = str(folder / f"{name}.qcow2")
        shutil.copy(known["disk"], paths[name])
        os.chmod(paths[name], 0o600)
        script.append(text.replace("/dev/sdX", f"/dev/sd{chr(ord('a') + number)}") + "\numount /")
    guestfish([(path, "qcow2") for path in paths.values()], "\n".join(script))
    return paths


def refused(run, tmp_path, src, **options):
    folder = tmp_path / "out"
    folder.mkdir()
    before = digests.stat_of(src)
    play = run(PLAY, fails=True, extra={"options": dict({"src": src, "dest": str(folder / "x.qcow2")}, **options)})
    assert os.listdir(folder) == [] and hidden(folder) == []
    assert digests.stat_of(src) == before
    return play.text


@pytest.mark.parametrize("name,why", [
    ("entry", "the boot entry has 10485769 bytes, and at most 65536 are accepted"),
    ("loader", "not to loader.0 or loader.1"),
    ("ostree", "is no ostree deployment"),
    ("fstab", "out of /etc, /var and /boot"),
])
def test_image(run, tmp_path, images, name, why):
    assert why in refused(run, tmp_path, images[name], platform="oci").replace("\\n", " ")


def test_links(run, tmp_path, images):
    """A loop, and ways out of the deployment; one good output is made in spite of them."""
    folder = tmp_path / "out"
    folder.mkdir()
    paths = {"loop": "/etc/loop-a/x", "out": "/etc/out/x", "repo": "/etc/repo/config", "usr": "/etc/usr/x"}
    outputs = [{"dest": str(folder / name), "files": [{"path": path, "content": "harm"}]} for name, path in paths.items()]
    # a link in the last place is replaced, not followed; neither is the one that has the name of the machine ID
    outputs.append({"dest": str(folder / "good"), "files": [{"path": "/etc/config", "content": "mine"}], "identity": {"machine_id": "remove"}})
    play = run(PLAY, "-v", fails=True, extra={"options": {"src": images["paths"], "outputs": outputs}})
    assert "4 of 5 images could not be made" in play.text
    assert sorted(os.listdir(folder)) == ["good", "good.record.json"]
    record = json.loads((folder / "good.record.json").read_text())
    assert record["values"]["machine_id_removed"] and record["values"]["files"] == ["/etc/config"]
    for words in ("a loop of them", "leads to '/x'", "leads to '/sysroot/ostree/repo/config'", "leads to '/usr/lib/x'"):
        assert words in play.text.replace("\\\\", "").replace("\\'", "'"), words
    found = guestfish([(str(folder / "good"), "qcow2")], "mount-ro /dev/sda3 /\ncat /ostree/repo/config\nglob cat /ostree/deploy/ock/deploy/*.0/etc/config\n"
                      "glob ls /ostree/deploy/ock/deploy/*.0/etc", readonly=True)
    assert "bootloader=none" in found and "mine" in found and "machine-id" not in found
