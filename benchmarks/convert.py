# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Convert: a qcow2 to every format, against the documented plain command; into the archive that Oracle's cloud imports, against tar and gzip."""

from __future__ import annotations

import functools
import os

from measure import pairs
from ours import artifact_sync, work
from plays import play
from tools import run

#: what is made, as the module's defaults have it; the peer's options; the goal
_ROWS = (
    ({"format": "qcow2"}, [], 1.0),
    ({"format": "raw"}, [], 1.0),
    ({"format": "vmdk", "subformat": "monolithicSparse", "adapter_type": "lsilogic"}, [], 1.0),
    ({"format": "vmdk", "subformat": "streamOptimized", "adapter_type": "lsilogic"}, ["-o", "subformat=streamOptimized"], 1.0),
    ({"format": "vdi"}, [], 1.0),
    ({"format": "vhdx", "subformat": "dynamic"}, [], 1.0),
    ({"format": "vpc", "subformat": "dynamic"}, [], 1.0),
    ({"format": "qcow2", "compression": "zstd"}, ["-c"], 0.25),
)


#: formats that are measured against a peer, too, that does what ours does beside converting (sha256sum of a raw disk takes a minute for its holes)
_CHECKED = ({"format": "qcow2"},)


def _plain(source, target, arguments, folder):
    path = f"{folder}/image"
    run(["qemu-img", "convert", "-f", "qcow2", "-O", target, *arguments, source, path])
    artifact_sync(path, folder)


def _checked(source, target, folder):
    _plain(source, target, [], folder)
    run(["sha256sum", f"{folder}/image"])
    run(["qemu-img", "check", "-q", "-f", target, f"{folder}/image"])


def _source(bench):
    """A boot image as users have it: pulled, with its record, which tells its checksum."""
    path = f"{bench.path('convert-source')}/boot.qcow2"
    play(bench, [{"ocne.images.ocne_boot_image": {
        "source": bench.images["1.33"], "architecture": "amd64", "registry": {"verify": False}, "dest": path}}])
    return path


def _ours(job, folder):
    made, = work("convert", job, folder).artifacts
    os.rename(made.path, f"{folder}/image")


def _same(target, our, other):
    # sizes may differ by the geometry that plain vpc is rounded up to: compare accepts zeros at the end
    run(["qemu-img", "compare", "-q", "-f", target, "-F", target, f"{our}/image", f"{other}/image"])


def _packed(source, folder):
    """As `ocne image upload` packs it, which keeps it in memory."""
    os.symlink(source, f"{folder}/output.QCOW2")
    with open(f"{folder}/image_metadata.json", "w", encoding="utf-8") as file:
        file.write("{}")
    run(["tar", "-C", folder, "-hczf", f"{folder}/image", "output.QCOW2", "image_metadata.json"])
    artifact_sync(f"{folder}/image", folder)


def _same_disk(our, other):
    for folder in (our, other):
        run(["tar", "-C", folder, "--transform", "s/^/unpacked-/", "-xzf", f"{folder}/image", "output.QCOW2"])
    run(["cmp", f"{our}/unpacked-output.QCOW2", f"{other}/unpacked-output.QCOW2"])


def rows(bench):
    """One row for each format, those of _CHECKED, and the archive."""
    source = _source(bench)
    for options, arguments, goal in _ROWS:
        target = options["format"]
        job = dict(options, src=source, src_format="qcow2", name="image")
        name = " ".join([target, *(word for word in (options.get("compression"), options.get("subformat")) if word)])
        peer = functools.partial(_plain, source, target, arguments)
        found = pairs(bench.pairs, functools.partial(_ours, job), peer, bench.path("convert"), f"convert {name}", functools.partial(_same, target))
        yield found.row(f"convert to {name}", f"`qemu-img convert {' '.join([*arguments, '-f qcow2 -O', target])}`", goal)
    for options in _CHECKED:
        target = options["format"]
        job = dict(options, src=source, src_format="qcow2", name="image")
        found = pairs(bench.pairs, functools.partial(_ours, job), functools.partial(_checked, source, target), bench.path("convert"),
                      f"convert {target}, checked", functools.partial(_same, target))
        yield found.row(f"convert to {target}", "`qemu-img convert`, `sha256sum`, `qemu-img check`")
    job = {"src": source, "src_format": "qcow2", "name": "image", "format": "pca_archive", "metadata": "{}"}
    found = pairs(bench.pairs, functools.partial(_ours, job), functools.partial(_packed, source), bench.path("convert"), "pack", _same_disk)
    yield found.row("pack into pca_archive", "`tar -cz` of the same, as `ocne image upload` has it in memory", 0.5)
