# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Pull: a boot media image from a loopback registry -> the boot image in a file."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess

from measure import pairs
from ours import artifact_sync, work
from tools import run

_GOAL = 0.5
#: podman where it may not raise limits, and on hybrid cgroups
_CONF = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


def options(bench, tag="1.33"):
    """The Job's options for one of the lab's images."""
    return {"source": bench.images[tag], "architecture": "amd64", "path": "disk/boot.qcow2", "format": "qcow2",
            "registry": {"verify": False}, "retries": 3}


def _podman(bench, tag, folder):
    """The documented way, with storage that is empty; the last step is our addition, on both sides."""
    podman = ["podman", "--root", f"{folder}/root", "--runroot", _runroot(bench)]
    image = bench.images[tag].removeprefix("docker://")
    environ = dict(os.environ, CONTAINERS_CONF=f"{bench.folder}/containers.conf")
    run([*podman, "pull", "--quiet", "--tls-verify=false", image], env=environ)
    # the image has no command, and so one must be given
    run([*podman, "create", "--name", "ock", image, "none"], env=environ)
    run([*podman, "cp", "ock:/disk/boot.qcow2", f"{folder}/boot.qcow2"], env=environ)
    artifact_sync(f"{folder}/boot.qcow2", folder)


def _runroot(bench):
    # podman refuses one of more than 50 characters
    return f"/tmp/ocne-{os.path.basename(bench.folder)}"


def _unmount(bench, folder):
    subprocess.run(["umount", f"{folder}/root/overlay"], capture_output=True, check=False)
    shutil.rmtree(_runroot(bench), ignore_errors=True)


def _same(our, other):
    run(["cmp", f"{our}/disk", f"{other}/boot.qcow2"])


def rows(bench):
    """One row for each compression of layers that is in use."""
    with open(f"{bench.folder}/containers.conf", "w", encoding="utf-8") as file:
        file.write(_CONF)
    for tag, name in (("1.33", "gzip"), ("1.33-zstd", "zstd")):
        job, peer = options(bench, tag), functools.partial(_podman, bench, tag)
        found = pairs(bench.pairs, functools.partial(work, "boot_image", job), peer, bench.path(f"pull-{name}"), f"pull {name}", _same,
                      functools.partial(_unmount, bench))
        yield found.row(f"pull, layer with {name}", "`podman pull`, `create`, `cp`, cold storage", _GOAL)
