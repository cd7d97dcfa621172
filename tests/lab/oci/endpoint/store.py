# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the endpoint keeps, on disk: a small JSON file a record, and blobs. It survives being killed at any moment."""
import hashlib
import json
import os
import secrets
import threading


class Store:
    """Records by kind and key. Reads are from memory, writes reach the disk before they are seen.

    `lock` is for whoever reads and then writes; never hold it while a body is read or sent.
    """

    def __init__(self, folder):
        self.folder = folder
        self.blobs = folder / 'blobs'
        self.lock = threading.RLock()
        self._records = {}
        self._pinned = {}
        self.blobs.mkdir(parents=True, exist_ok=True)
        (folder / 'records').mkdir(exist_ok=True)
        for path in (folder / 'records').glob('*/*.json'):
            record = json.loads(path.read_text(encoding='utf-8'))
            self._records.setdefault(path.parent.name, {})[record['key']] = record['value']
        for path in (folder / 'records').glob('*/*.part'):
            path.unlink()
        self._remove_strays()

    def _remove_strays(self):
        """A blob that no record names was being received when the endpoint was killed."""
        known = self._named()
        for path in self.blobs.iterdir():
            if path.name not in known:
                path.unlink()

    def _path(self, kind, key):
        return self.folder / 'records' / kind / (hashlib.sha256(key.encode()).hexdigest()[:32] + '.json')

    def get(self, kind, key):
        """A copy of the record, or None."""
        with self.lock:
            record = self._records.get(kind, {}).get(key)
            return None if record is None else dict(record)

    def put(self, kind, key, value):
        """Write a record; it appears at once or not at all."""
        with self.lock:
            path = self._path(kind, key)
            path.parent.mkdir(exist_ok=True)
            part = path.with_suffix('.part')
            part.write_text(json.dumps({'key': key, 'value': value}), encoding='utf-8')
            os.replace(part, path)
            self._records.setdefault(kind, {})[key] = dict(value)

    def delete(self, kind, key):
        """Remove a record, if it is there."""
        with self.lock:
            self._path(kind, key).unlink(missing_ok=True)
            self._records.get(kind, {}).pop(key, None)

    def all(self, kind, prefix=''):
        """[(key, record)] in the order of the keys."""
        with self.lock:
            return [(key, dict(value)) for key, value in sorted(self._records.get(kind, {}).items()) if key.startswith(prefix)]

    def new_blob(self):
        """The name and path of a blob to write."""
        name = secrets.token_hex(16)
        return name, self.blobs / name

    def pin(self, names):
        """Paths of blobs that stay readable until unpin, whatever becomes of their record."""
        with self.lock:
            for name in names:
                self._pinned[name] = self._pinned.get(name, 0) + 1
        return [self.blobs / name for name in names]

    def unpin(self, names):
        """The reader is done; a blob whose record went meanwhile goes now."""
        with self.lock:
            for name in names:
                self._pinned[name] -= 1
                if not self._pinned[name]:
                    del self._pinned[name]
            self.drop(names)

    def drop(self, names):
        """Remove blobs, but those that are read just now, and those that a record still names (a commit that was killed leaves two)."""
        with self.lock:
            known = self._named()
            for name in names:
                if name not in self._pinned and name not in known:
                    (self.blobs / name).unlink(missing_ok=True)

    def _named(self):
        return {name for kind in ('object', 'part') for record in self._records.get(kind, {}).values() for name in record['blobs']}
