# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What was told of an image before, kept in the user's cache folder: an image that was not touched since is not opened again."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time

from ..common.canonical import digest_of, without_defaults
from ..files import digests
from ..work import inspect

_KEPT = 200              # answers; a small file each
CLOCK_TICK_NS = 1_000_000_000   # nanoseconds: a file written to later than that before it is looked at may be written to again in the same tick of its clock


def key(path, options, stat):
    """Tells one question from another: the options, those of inspect.Options, about the image at `path` as it is now."""
    return digest_of([inspect.VERSION, without_defaults(inspect.Options(path, **options)), stat])


class Inspections:
    """The answer about one image, asked for with certain options."""

    def __init__(self, path, options):
        root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        self._folder = os.path.join(root, "ocne-images", "inspections")
        self._image = path
        self._began = time.time_ns()
        self._stat = dict(digests.stat_of(path), device=os.stat(path).st_dev)
        self._path = os.path.join(self._folder, key(os.path.realpath(path), options, self._stat) + ".json")

    def known(self):
        """What was told before, or None: also where a machine runs on the image, whose files it tells at one moment only."""
        with contextlib.suppress(OSError, ValueError):
            with open(self._path, encoding="utf-8") as file:
                values = json.load(file)
            if not inspect.in_use([self._image]):
                os.utime(self._path)
                return values
        return None

    def keep(self, values):
        """Keep an answer, where nothing wrote to the image meanwhile. A cache that cannot be written to is none."""
        now = dict(digests.stat_of(self._image), device=os.stat(self._image).st_dev)
        if values["in_use"] or values["extents"] or now != self._stat or self._began - max(now["mtime_ns"], now["ctime_ns"]) < CLOCK_TICK_NS:
            return
        temporary = f"{self._path}.{secrets.token_hex(4)}"
        with contextlib.suppress(OSError):
            os.makedirs(self._folder, 0o700, exist_ok=True)
            # kernel arguments can hold what is not for others
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                json.dump(values, file)
            os.replace(temporary, self._path)
            self._prune()

    def _prune(self):
        paths = [entry.path for entry in os.scandir(self._folder)]
        for path in sorted(paths, key=os.path.getmtime)[:-_KEPT]:
            os.unlink(path)
