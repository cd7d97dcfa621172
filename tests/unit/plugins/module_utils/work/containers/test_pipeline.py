# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A blob on its way: checked, unpacked, and never larger in memory than a piece."""

from __future__ import annotations

import gzip
import tracemalloc

import pytest

from ansible_collections.ocne.images.plugins.module_utils.work.containers.pipeline import decompressed
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.work.containers.images import NEEDS_ZSTD, zstd


@pytest.mark.parametrize("pack", [lambda data: gzip.compress(data, 9), pytest.param(zstd, marks=NEEDS_ZSTD)])
def test_a_bomb_never_becomes_a_large_buffer(pack):
    packed = pack(bytes(256 << 20))
    tracemalloc.start()
    size = largest = 0
    for piece in decompressed(iter([packed]), "the image"):
        size, largest = size + len(piece), max(largest, len(piece))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size == 256 << 20 and largest <= 1 << 20 and peak < 16 << 20
