# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The main job: boot media from a registry -> an image that boots as an OCI image should."""

from __future__ import annotations

import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import tempfile
import time

import pytest
from plays import CORES, ROOT, VENVS, hidden

from boot.harness import Guest

PLAYBOOK = ROOT / "playbooks" / "build-oci-image.yml"
NAME = "boot.qcow2-1.33-amd64"
#: what does not differ between them is tested with one ansible-core
newest = pytest.mark.parametrize("core", CORES[-1:], indirect=True)
RECAP = re.compile(r"ok=(\d+) +changed=(\d+) +unreachable=0 +failed=0")


def variables(registry, folder, tag="1.33", **more):
    return dict({"oci_image_source": f"docker://{registry['plain']['address']}/olcne/ock:{tag}", "oci_image_registry": {"verify": False},
                 "oci_image_directory": str(folder), "oci_image_architecture": "amd64"}, **more)


def changed(play):
    return int(RECAP.search(play.text)[2])


def check(folder, name=f"{NAME}.oci"):
    """What is published is whole: its record is true, QEMU finds no fault, and nothing hidden is beside it."""
    record = json.loads((folder / f"{name}.record.json").read_text())
    sums = subprocess.run(["sha256sum", folder / name], check=True, capture_output=True, text=True).stdout.split()[0]
    assert sums == record["sha256"]
    subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", folder / name], check=True)


def test_build_and_again(run, tmp_path, registry, clean_tmp):
    folder = tmp_path / "images"
    first = run(PLAYBOOK, extra=variables(registry, folder, "tiny"))
    assert changed(first) == 3
    check(folder)
    assert hidden(folder) == []
    again = run(PLAYBOOK, extra=variables(registry, folder, "tiny"))
    assert changed(again) == 0
    assert "start appliance" not in again.text


@newest
def test_the_image_boots_as_it_should(run, tmp_path, registry):
    folder = tmp_path / "images"
    run(PLAYBOOK, extra=variables(registry, folder))
    with Guest(folder / f"{NAME}.oci", hostname="ock-test", domain="sub.vcn.oraclevcn.com") as guest:
        guest.settle()
        line = guest.cat("/proc/cmdline").decode()
        assert "ignition.platform.id=oci" in line
        assert guest.run("hostname")[1].decode().split(".")[0].strip() == "ock-test"
        # the dispatcher may still be at it, which writes one after the other
        hosts, search = (r"(?m)^169\.254\.\d+\.\d+ ock-test\.sub\.vcn\.oraclevcn\.com ock-test$",
                         r"(?m)^search .*\bsub\.vcn\.oraclevcn\.com vcn\.oraclevcn\.com")
        for path, wanted in (("/etc/hosts", hosts), ("/etc/resolv.conf", search)):
            deadline = time.monotonic() + 300
            while not re.search(wanted, guest.cat(path).decode()) and time.monotonic() < deadline:
                time.sleep(1)
            assert re.search(wanted, guest.cat(path).decode()), guest.cat(path).decode()
        root, boot = (guest.run(f"findmnt -no UUID {where}")[1].decode().strip() for where in ("/sysroot", "/boot"))
        before = json.loads(subprocess.run(["/usr/bin/python3", "-c", UUIDS, folder / NAME], check=True, capture_output=True, text=True,
                                           env=dict(os.environ, LIBGUESTFS_BACKEND="direct", LIBGUESTFS_BACKEND_SETTINGS="force_tcg")).stdout)
        assert root not in before and boot not in before
        assert f"root=UUID={root}" in line
        assert root in guest.cat("/etc/fstab").decode() and boot in guest.cat("/etc/fstab").decode()
        assert re.fullmatch(r"[0-9a-f]{32}\n", guest.cat("/etc/machine-id").decode())
        assert guest.run("test -x /etc/NetworkManager/dispatcher.d/11-ocne-oci-hostname")[0] == 0


UUIDS = """
import guestfs, json, sys
g = guestfs.GuestFS(python_return_dict=True)
g.add_drive_opts(sys.argv[1], format="qcow2", readonly=True)
g.launch()
print(json.dumps([g.vfs_uuid(p) for p in g.list_partitions()]))
"""


def test_check_mode_changes_nothing(run, tmp_path, registry):
    folder = tmp_path / "images"
    play = run(PLAYBOOK, "--check", "--diff", extra=variables(registry, folder, "tiny"))
    assert changed(play) >= 1
    assert not folder.exists()


@newest
def test_an_ordinary_user_needs_no_root(registry, core):
    """All of it as a user without any privilege, also where the test itself runs as root."""
    if os.geteuid() != 0:
        pytest.skip("this run is one: the whole suite is an ordinary user's")
    user = 65532
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="ocne-user-") as name:
        folder = pathlib.Path(name)
        os.chown(folder, user, user)
        shutil.copytree(ROOT, folder / "site/ansible_collections/ocne/images", ignore=shutil.ignore_patterns(".git", "tests", "__pycache__"))
        # an ansible-core that this user may read, under the system's Python
        shutil.copytree(next((VENVS / "oldest" / "lib").glob("python*/site-packages")), folder / "packages",
                        ignore=shutil.ignore_patterns("__pycache__", "pip*", "ansible_test"))
        command = ["/usr/bin/python3", "-m", "ansible", "playbook", "ocne.images.build_oci_image", "-e",
                   json.dumps(variables(registry, folder / "images", "tiny"))]
        done = subprocess.run(["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *command], cwd="/", text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                              env={"HOME": name, "TMPDIR": name, "ANSIBLE_COLLECTIONS_PATH": f"{name}/site", "PYTHONPATH": f"{name}/packages",
                                   "ANSIBLE_SYSTEM_TMPDIRS": name, "PATH": "/usr/bin:/usr/sbin", "LC_ALL": "C.UTF-8"})
        assert done.returncode == 0, done.stdout
        assert int(RECAP.search(done.stdout)[2]) == 3
        check(folder / "images")
        assert os.stat(folder / "images" / f"{NAME}.oci").st_uid == user


@newest
@pytest.mark.parametrize("rounds", [int(os.environ.get("OCNE_KILL_ROUNDS", "5"))])
def test_killed_at_random_moments_it_converges(start, run, tmp_path, registry, rounds, clean_tmp):
    """kill -9 of every process of the play; what is at the destination is whole at any time."""
    folder = tmp_path / "images"
    extra = variables(registry, folder, "tiny", oci_image_force=True)
    started = time.monotonic()
    run(PLAYBOOK, extra=extra)
    length = time.monotonic() - started
    for _round in range(rounds):
        play = start(PLAYBOOK, extra=extra)
        time.sleep(random.uniform(0.5, length))
        play.kill_all()
        play.process.wait()
        assert play.gone() == []
        subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", folder / NAME], check=True)
        subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", folder / f"{NAME}.oci"], check=True)
    run(PLAYBOOK, extra=variables(registry, folder, "tiny"))
    again = run(PLAYBOOK, extra=variables(registry, folder, "tiny"))
    assert changed(again) == 0
    check(folder, NAME)
    check(folder)
    assert hidden(folder) == []


@newest
def test_two_at_once_do_not_meet(start, run, tmp_path, registry):
    folder = tmp_path / "images"
    plays = [start(PLAYBOOK, extra=variables(registry, folder, "tiny", oci_image_force=True)) for _each in range(2)]
    assert [play.wait() for play in plays] == [0, 0], "\n".join(play.text for play in plays)
    check(folder, NAME)
    assert hidden(folder) == []
