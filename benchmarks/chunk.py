# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The figures of docs/transfers.md: what the parts of a chunk's way cost on one core. `scripts/run python benchmarks/chunk.py`"""

from __future__ import annotations

import hashlib
import os
import statistics
import subprocess
import sys
import time
import zlib

# scripts/run says where this checkout is ocne.images
sys.path[:0] = os.environ.get("ANSIBLE_COLLECTIONS_PATH", "").split(":")

from ansible_collections.ocne.images.plugins.module_utils.agent import content_coding  # noqa: E402
from ansible_collections.ocne.images.plugins.module_utils.builders.remote.transfer import CHUNK  # noqa: E402

_TIMES = 9


def cost(function):
    """Seconds for one chunk, the median."""
    function()
    found = []
    for _time in range(_TIMES):
        began = time.monotonic()
        function()
        found.append(time.monotonic() - began)
    return statistics.median(found)


def main():
    # half of it compresses well, as a disk with files does
    half = os.urandom(CHUNK // 2)
    data = b"".join(half[at:at + 4096] + bytes(range(256)) * 16 for at in range(0, len(half), 4096))
    hashing = cost(lambda: hashlib.sha256(data).digest())
    rows = {
        "SHA-256": hashing,
        "CRC-32": cost(lambda: zlib.crc32(data)),
        "zstd, this process": cost(lambda: content_coding.encode(data, ["zstd"])),
        "zstd, a program for each chunk": cost(lambda: subprocess.run(["zstd", "-1", "-q", "-c"], input=data, stdout=subprocess.PIPE, check=True)),
        "zlib, this process": cost(lambda: zlib.compress(data, 1)),
        "fresh memory": cost(lambda: bytearray(CHUNK)),
    }
    for name, seconds in rows.items():
        print(f"{name:32} {seconds * 1000:8.2f} ms for {CHUNK >> 20} MiB   {seconds / hashing:6.2f} of SHA-256's")


if __name__ == "__main__":
    main()
