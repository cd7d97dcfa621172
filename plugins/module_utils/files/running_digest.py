# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The sha256 of a file that is still being written, so that it is known soon after the last byte has come."""

from __future__ import annotations

import hashlib
import os
import threading

_CHUNK = 256 << 10    # bytes read at once: they stay in the cache of a processor


class FollowingDigest:
    """Reads a file behind its writer, in a thread of its own. What is settled must not be written again."""

    def __init__(self, fd):
        self._fd = os.dup(fd)
        self._sums, self._settled, self._stopped, self._error = hashlib.sha256(), 0, False, None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="following-digest", daemon=True)
        self._thread.start()

    def settle(self, offset):
        """The first `offset` bytes are as they will stay."""
        with self._changed:
            self._settled = max(self._settled, offset)
            self._changed.notify()

    def finish(self, size):
        """sha256 of the first `size` bytes, hexadecimal; nothing else may be called afterwards. Raises OSError."""
        with self._changed:
            self._settled = max(self._settled, size)
            self._stopped = True
            self._changed.notify()
        self._thread.join()
        if self._error:
            raise self._error
        return self._sums.hexdigest()

    def abandon(self):
        """The digest is not wanted any more. May be called again, and after finish()."""
        with self._changed:
            self._settled, self._stopped = 0, True
            self._changed.notify()
        self._thread.join()

    def _run(self):
        done, buffer = 0, memoryview(bytearray(_CHUNK))
        try:
            while True:
                with self._changed:
                    while done >= self._settled and not self._stopped:
                        self._changed.wait()
                    count = min(_CHUNK, self._settled - done)
                if count <= 0:
                    return
                count = os.preadv(self._fd, [buffer[:count]], done)
                if not count:
                    raise OSError("the file became shorter")
                self._sums.update(buffer[:count])
                done += count
        except OSError as error:
            self._error = error
        finally:
            os.close(self._fd)
