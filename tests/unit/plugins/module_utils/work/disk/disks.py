# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Small real disk images that qemu-img makes, for unit tests."""

from __future__ import annotations

import struct
import subprocess

SIZE = 3 << 20   # bytes a guest sees
VARIANTS = [
    ("qcow2", ""), ("qcow2", "compat=0.10"), ("qcow2", "compression_type=zstd"), ("qcow2", "extended_l2=on,cluster_size=128k"),
    ("qcow2", "cluster_size=512"), ("qcow2", "lazy_refcounts=on"), ("raw", ""), ("vdi", ""), ("vdi", "static=on"),
    ("vhdx", "subformat=dynamic"), ("vhdx", "subformat=fixed"), ("vpc", "subformat=dynamic,force_size=on"), ("vpc", "subformat=fixed,force_size=on"),
    ("vmdk", "subformat=monolithicSparse"), ("vmdk", "subformat=monolithicFlat"), ("vmdk", "subformat=twoGbMaxExtentSparse"),
    ("vmdk", "subformat=twoGbMaxExtentFlat"), ("vmdk", "subformat=streamOptimized"),
]


def qemu_img(*arguments, cwd=None):
    subprocess.run(["qemu-img", *map(str, arguments)], check=True, capture_output=True, cwd=cwd)


def bend(path, offset, layout, *values):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(struct.pack(layout, *values))
