# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a run has under way at a target, written down beside the image before it is done: so the next run goes on with it, or removes it.

An entry is a folder, `.<name>.<nonce>.ocne-import`, with a lock that its run holds for as long as it lives, and state.json. Where the folder of
the image cannot be written, and for what is no file here, entries are in ~/.local/state/ocne-images (XDG_STATE_HOME). There is never a secret in one.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import secrets
import shutil

from ..artifact.lock import try_lock
from ..common.errors import from_os_error

_SUFFIX = ".ocne-import"
_STATE, _LOCK = "state.json", "lock"


def _fallback():
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(base, "ocne-images")


class Entry:
    """One thing under way. Its values are texts, numbers and lists of them; what is not there yet is None."""

    def __init__(self, folder, lock, values):
        self._folder, self._lock, self.values = folder, lock, values

    def __getitem__(self, name):
        return self.values.get(name)

    @property
    def nonce(self):
        """A text that nobody else has; part of the names of what belongs to the entry."""
        return os.path.basename(self._folder)[:-len(_SUFFIX)].rpartition(".")[2]

    def save(self, **values):
        """Write down more of it, atomically. Raises ImageError."""
        self.values.update(values)
        path = os.path.join(self._folder, _STATE)
        try:
            with open(path + ".new", "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                json.dump(self.values, file, indent=2, sort_keys=True)
                file.flush()
                os.fsync(file.fileno())
            os.replace(path + ".new", path)
        except OSError as error:
            raise from_os_error(error, "writing down what is under way", path) from error

    def remove(self):
        """It is over, and nothing of it is left."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self.release()

    def release(self):
        """Leave it to another run."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


class Journal:
    """The entries of one image. path: of the file; None for one that is no file here, which name tells instead."""

    def __init__(self, path, name=None):
        self._own = os.path.split(path) if path else None
        identity = os.path.realpath(path) if path else name
        self._far = (_fallback(), hashlib.sha256(identity.encode()).hexdigest()[:32])

    def _places(self):
        return [place for place in (self._own, self._far) if place]

    def _all(self):
        for folder, name in self._places():
            yield from sorted(glob.glob(os.path.join(glob.escape(folder), "." + glob.escape(name) + ".*" + _SUFFIX)))

    def new(self, **values):
        """A new Entry with these values. Raises ImageError."""
        fault = None
        for folder, name in self._places():
            path = os.path.join(folder, f".{name}.{secrets.token_hex(8)}{_SUFFIX}")
            try:
                if (folder, name) == self._far:
                    os.makedirs(folder, 0o700, exist_ok=True)
                os.mkdir(path, 0o700)
                entry = Entry(path, try_lock(os.path.join(path, _LOCK)), {})
            except OSError as error:
                fault = error
                continue
            entry.save(**values)
            return entry
        raise from_os_error(fault, "writing down what is under way", self._places()[-1][0]) from fault

    def left(self, readonly=False):
        """The entries of runs that are over, which now are ours: to go on with, to remove() or to release(). readonly: only read, nothing is taken."""
        found = []
        for folder in self._all():
            try:
                lock = try_lock(os.path.join(folder, _LOCK))
            except OSError:
                continue   # another user's, or just being removed
            if lock is None:
                continue
            values = _read(os.path.join(folder, _STATE))
            if values is None:
                # killed before it wrote anything down, and so before it did anything
                if not readonly:
                    shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)
            elif readonly:
                os.close(lock)
                found.append(Entry(folder, None, values))
            else:
                found.append(Entry(folder, lock, values))
        return found


def _read(path):
    with contextlib.suppress(OSError, ValueError):
        with open(path, encoding="utf-8") as file:
            values = json.load(file)
            return values if isinstance(values, dict) else None
    return None
