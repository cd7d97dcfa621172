# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Memory that is used again: fresh memory costs as much as reading a file into it."""

from __future__ import annotations

import threading


class Scratch(threading.local):
    """A buffer for each thread that asks; it grows, and goes with its thread."""

    def __init__(self):
        super().__init__()
        self._buffer = bytearray()

    def take(self, size):
        """A memoryview of `size` bytes with whatever is in them: the same ones as the last time in this thread."""
        if len(self._buffer) < size:
            self._buffer = bytearray(size)
        return memoryview(self._buffer)[:size]
