# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Two things at once: checksums and writing to the disk, while the main thread goes on."""

from __future__ import annotations

import threading


class Background:
    """One function in a thread of its own, which does not hold the program at its end."""

    def __init__(self, function):
        self._function, self._value, self._error = function, None, None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            self._value = self._function()
        except BaseException as error:   # pylint: disable=broad-exception-caught
            self._error = error

    def result(self):
        """What the function returned, when it has. Raises what it raised."""
        self._thread.join()
        if self._error:
            raise self._error
        return self._value
