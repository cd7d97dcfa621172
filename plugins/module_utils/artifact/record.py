# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The record beside an artifact: what is known of it without opening it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import secrets

from ..common.canonical import digest_of
from ..files.digests import digest_file, stat_of

RECORD_SUFFIX = ".record.json"
#: raised when the meaning of a record changes: older ones then count as absent
RECORD_VERSION = 1


@dataclasses.dataclass
class Record:
    """What is known of an artifact without opening it. Never holds a secret."""

    kind: str              # which module made it
    source: dict           # what it was made from: digests, reference
    options: dict          # canonical options; contents that may be secret as their digests
    sha256: str
    format: str
    virtual_size: int      # bytes
    values: dict           # what the module returned about it
    stat: dict = dataclasses.field(default_factory=dict)      # size, mtime_ns, ctime_ns, inode
    extents: list = dataclasses.field(default_factory=list)   # [{name, sha256, size, ...}] further files beside it
    access: dict = dataclasses.field(default_factory=dict)    # how its source's registry is reached: files and flags; no part of the recipe
    version: int = RECORD_VERSION

    @property
    def recipe(self):
        """One digest over all that decides the content."""
        return digest_of({"kind": self.kind, "source": self.source, "options": self.options})

    def dump(self):
        return dict(dataclasses.asdict(self), recipe=self.recipe)


def record_path(path):
    return path + RECORD_SUFFIX


def load_record(path):
    """The record beside `path`, or None where there is none that we understand."""
    try:
        with open(record_path(path), encoding="utf-8") as file:
            return parse_record(file.read())
    except (OSError, ValueError):
        return None


def parse_record(text):
    """The Record that a text is, or None where it is none that we understand."""
    try:
        data = json.loads(text)
        recipe = data.pop("recipe")
        record = Record(**data)
        return record if record.version == RECORD_VERSION and record.recipe == recipe else None
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def record_text(record):
    return json.dumps(record.dump(), indent=2, sort_keys=True) + "\n"


def examine(path, verify=False, progress=None, readonly=False):
    """(record, why): the record that is true of the file at `path`, or None and the reason.

    Opens the file only where its stat differs from the record's, or with verify. A file that was touched but has
    the same content gets its record brought up to date, except with readonly (check mode).
    """
    try:
        now = stat_of(path)
    except FileNotFoundError:
        return None, "it does not exist"
    record = load_record(path)
    if record is None:
        return None, "it has no record"
    folder = os.path.dirname(path)
    for extent in record.extents:
        try:
            same = stat_of(os.path.join(folder, extent["name"]))
        except FileNotFoundError:
            return None, f"its extent {extent['name']} does not exist"
        if (verify or same != extent["stat"]) and digest_file(os.path.join(folder, extent["name"]), extent["sha256"], progress) != extent["sha256"]:
            return None, f"its extent {extent['name']} was changed"
    if verify or now != record.stat:
        if now["size"] != record.stat.get("size") or digest_file(path, record.sha256, progress) != record.sha256:
            return None, "its content is not what its record says"
        if now != record.stat and not readonly:
            record.stat = now
            with contextlib.suppress(OSError):   # the next run hashes again, no more
                write_record(path, record)
    return record, None


def write_record(path, record):
    """Write the record of the file at `path`, atomically."""
    folder, name = os.path.split(record_path(path))
    temporary = os.path.join(folder, f".{name}.{secrets.token_hex(6)}")
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(record_text(record))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, record_path(path))
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
