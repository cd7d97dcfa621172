# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The contract between a builder and the work program: a Job goes in, a Result (or an error) comes back.

On the wire: one Job as one line of JSON on standard input; then JSON lines on standard output,
each an object with one key: {"progress": event}, and last {"result": Result} or {"error": ImageError}.
"""

from __future__ import annotations

import dataclasses
import json

from ..common.errors import ImageError, from_wire

#: raised when the meaning of a Job or a Result changes
PROTOCOL = 1


@dataclasses.dataclass
class Artifact:
    """A finished, checked and fsynced file in the staging folder, not yet at its destination."""

    name: str              # which output of the Job this is
    path: str              # where it is, inside the staging folder
    format: str            # as qemu-img names it
    size: int              # bytes
    sha256: str            # of the file, hexadecimal
    virtual_size: int      # bytes the guest sees
    extents: list = dataclasses.field(default_factory=list)   # further files it names, next to `path`
    values: dict = dataclasses.field(default_factory=dict)    # what the module returns about it


@dataclasses.dataclass
class Job:
    """What to do. `options` is checked by the kind of work itself (a dataclass in its file)."""

    kind: str
    options: dict
    staging: str           # a folder of this Job's own, on the file system of the destination
    check: bool = False    # say what would be done; write nothing
    protocol: int = PROTOCOL


@dataclasses.dataclass
class Input:
    """A file of the module host that a Job's options name: holder[key], between `before` and `after`.

    A builder elsewhere brings it there and writes its path there in its place; for a disk image, and what else is `named`,
    into holder["read_path"], so that messages go on to name it as the user did.
    """

    holder: dict
    key: str
    image: str = None      # its format, where it is a disk image
    before: str = ""
    after: str = ""
    named: bool = False

    def __post_init__(self):
        self.named = self.named or bool(self.image)

    @property
    def path(self):
        text = self.holder[self.key]
        return text[len(self.before):len(text) - len(self.after)]

    def moved(self, path):
        self.holder["read_path" if self.named else self.key] = self.before + path + self.after


@dataclasses.dataclass
class Result:
    """What was done. failures: one ImageError dictionary per output that could not be made, by name."""

    artifacts: list = dataclasses.field(default_factory=list)
    values: dict = dataclasses.field(default_factory=dict)
    failures: dict = dataclasses.field(default_factory=dict)


def dump(key, value):
    """One line of the wire, as bytes."""
    if dataclasses.is_dataclass(value):
        value = dataclasses.asdict(value)
    return json.dumps({key: value}, separators=(",", ":")).encode() + b"\n"


def load_job(text):
    data = json.loads(text)["job"]
    if data.get("protocol") != PROTOCOL:
        raise ImageError("the Job speaks another protocol than this program", todo="use one version of ocne.images on both sides",
                         job=data.get("protocol"), program=PROTOCOL)
    return Job(**data)


def load_result(data):
    result = Result(**data)
    result.artifacts = [Artifact(**item) for item in result.artifacts]
    return result


class Answer:
    """What a work program says, line by line: each event goes to on_event, what else it says last is its result or its error."""

    def __init__(self, on_event):
        self._on_event, self._data = on_event, None
        self.last_event = None

    @property
    def complete(self):
        """Whether it has told a result or an error."""
        return self._data is not None

    def read(self, line):
        """One line, as bytes. What is none of the wire is passed over: libraries print."""
        try:
            data = json.loads(line)
        except ValueError:
            return
        if "progress" in data:
            self.last_event = data["progress"]
            self._on_event(self.last_event)
        else:
            self._data = data

    def result(self):
        """The Result, once complete. Raises the ImageError or Interrupted that was told instead."""
        if "error" in self._data:
            raise from_wire(self._data["error"])
        return load_result(self._data["result"])


def load_options(cls, data):
    """The options of one kind of work, as its dataclass; unknown or missing ones are an error of the caller."""
    names = {field.name for field in dataclasses.fields(cls)}
    unknown = sorted(set(data) - names)
    if unknown:
        raise ImageError(f"unknown options in the Job: {', '.join(unknown)}", cls.__name__)
    try:
        return cls(**data)
    except TypeError as error:
        raise ImageError(f"the Job is incomplete: {error}", cls.__name__) from error
