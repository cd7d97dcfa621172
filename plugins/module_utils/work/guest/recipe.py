# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What customizing is asked to do: checked before anything is started, and in the one form that a Job and a record have."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
import os
import re
import uuid

from ...common import advice
from ...common.canonical import canonical, digest_of, text_digest, without_defaults
from ...common.errors import ImageError, from_os_error
from ...files.digests import sha256_file
from ...platforms.disk_formats import FORMATS
from . import bls, ignition

#: raised when the same options begin to mean other content
VERSION = 1
COMPRESSIONS = ("keep", "none", *FORMATS["qcow2"].compressions)
UUIDS = ("derived", "random", "keep")
MACHINE_IDS = ("remove", "keep")
#: where files may go: the rest belongs to the ostree commit
_PREFIXES = ("/etc/", "/var/", "/boot/")
_NAMESPACE = uuid.UUID("7c0d2c1e-5d0e-5c3f-9a53-0b1f3a7d6e42")   # of the UUIDs that are derived from a recipe
_SMALL = 1 << 20   # bytes of a file that is compared byte by byte


@dataclasses.dataclass
class File:
    """One file to put into the image. Its content is here (base64) or in a file where the work is done (src)."""

    path: str                  # as the booted system has it
    sha256: str
    size: int                  # bytes
    content: str = None        # base64
    src: str = None
    mode: int = None           # None: 0644 for a new file, else as it is
    owner: str = None          # name or number; None: root for a new file, else as it is
    group: str = None

    def canonical(self):
        return {key: value for key, value in without_defaults(self).items() if key not in ("size", "content", "src")}

    @property
    def small(self):
        return self.size <= _SMALL

    def data(self):
        """The content. Raises ImageError where a src is not any more what it was when the task began."""
        if self.src is None:
            return base64.b64decode(self.content)
        try:
            with open(self.src, "rb") as file:
                data = file.read()
        except OSError as error:
            raise from_os_error(error, "reading a file for the image", self.src) from error
        if text_digest(data) != self.sha256:
            raise ImageError("the file was changed while the task ran", self.src, advice.RUN_AGAIN)
        return data


@dataclasses.dataclass
class KernelArguments:
    """One set of edits of the kernel arguments, as bls.edit() does them."""

    append: list = dataclasses.field(default_factory=list)
    delete: list = dataclasses.field(default_factory=list)
    replace: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Recipe:
    """Everything that customizing one output can change. None or empty: nothing."""

    ignition_platform: str = None
    kernel_arguments: list = dataclasses.field(default_factory=list)   # of KernelArguments, as dictionaries; done in turn
    files: list = dataclasses.field(default_factory=list)              # of File
    ignition_config: str = None                                        # JSON text; "" removes what is embedded
    uuids: str = "keep"
    machine_id: str = "keep"
    compression: str = "keep"

    def canonical(self):
        """What a record keeps: contents as digests only, and nothing that is a default."""
        config = self.ignition_config
        kept = dataclasses.replace(self, files=[file.canonical() for file in self.files], ignition_config=text_digest(config) if config else config,
                                   kernel_arguments=[without_defaults(KernelArguments(**edits)) for edits in self.kernel_arguments])
        return dict(without_defaults(kept), version=VERSION)

    def new_uuids(self, source):
        """{"boot": ..., "root": ...} for a source digest, or nothing where they are kept."""
        if self.uuids == "keep":
            return {}
        if self.uuids == "random":
            return {name: str(uuid.uuid4()) for name in ("boot", "root")}
        base = digest_of({"source": source, "options": self.canonical()})
        return {name: str(uuid.uuid5(_NAMESPACE, f"{base}.{name}")) for name in ("boot", "root")}


def load(data):
    """A Recipe from its dictionary (dataclasses.asdict)."""
    return Recipe(**dict(data, files=[File(**item) for item in data["files"]]))


def build(options, profile):
    """The Recipe of a task's options over a platform's profile (platforms.Profile). Raises ImageError.

    options: ignition_provider, kernel_arguments, files, ignition_config, identity, compression, each as the module documents it.
    """
    edits = [kernel_arguments(item) for item in (profile.kernel_arguments, options.get("kernel_arguments")) if item]
    platform = options.get("ignition_provider") or profile.ignition_platform
    if platform is not None:
        bls.check(f"ignition.platform.id={platform}")
    files = {}
    for item in [*(file(each) for each in profile.files), *_distinct([file(each) for each in options.get("files") or []])]:
        files[item.path] = item   # a task's own file replaces the platform's
    identity = {"uuids": "keep", "machine_id": "keep", **profile.identity,
                **{key: value for key, value in (options.get("identity") or {}).items() if value is not None}}
    for key, value in identity.items():
        known = {"uuids": UUIDS, "machine_id": MACHINE_IDS}.get(key)
        if not known or value not in known:
            raise ImageError(f"identity has no {key}: {value}", todo=f"{key} is one of {', '.join(known)}" if known else "it has uuids and machine_id")
    return Recipe(ignition_platform=platform, kernel_arguments=[edit for edit in edits if any(edit.values())], files=list(files.values()),
                  ignition_config=ignition_config(options.get("ignition_config")), compression=options.get("compression") or "keep", **identity)


def kernel_arguments(data):
    """{append, delete, replace} with every argument checked."""
    unknown = sorted(set(data) - {"append", "delete", "replace"})
    if unknown:
        raise ImageError(f"kernel_arguments has no {unknown[0]!r}", todo="it has append, delete and replace")
    edits = {"append": list(data.get("append") or []), "delete": list(data.get("delete") or []), "replace": dict(data.get("replace") or {})}
    bls.edit([], **edits)
    return edits


def ignition_config(config):
    """The canonical JSON text of an Ignition configuration; "" for an empty one (remove), None for None. Raises ImageError."""
    if config is None:
        return None
    if isinstance(config, (str, bytes)):
        if not config.strip():
            return ""
        try:
            config = json.loads(config)
        except ValueError as error:
            # its words may quote a secret: only the place is told
            place = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
            raise ImageError(f"the Ignition configuration is not JSON{place}", "ignition_config",
                             "give a dictionary or JSON text; Butane's YAML must be translated first") from None
    if config == {}:
        return ""
    version = config.get("ignition", {}) if isinstance(config, dict) else None
    version = version.get("version") if isinstance(version, dict) else None
    if not isinstance(version, str) or not re.fullmatch(r"\d+\.\d+\.\d+(-[a-z]+)?", version):
        raise ImageError("the Ignition configuration has no ignition.version", "ignition_config",
                         'it is an object such as {"ignition": {"version": "3.4.0"}, ...}')
    text = canonical(config)
    if len(text) > ignition.MAX_CONFIG:
        raise ImageError(f"the Ignition configuration has {len(text)} bytes, and at most {ignition.MAX_CONFIG} fit", "ignition_config",
                         "let it fetch large contents from a URL")
    return text


# --- files -------------------------------------------------------------------------------------------


def file(item):
    """A File of {path, content | content_base64 | src, mode, owner, group}. Raises ImageError."""
    item = {key: value for key, value in item.items() if value is not None}
    unknown = sorted(set(item) - {"path", "content", "content_base64", "src", "mode", "owner", "group"})
    if unknown or "path" not in item:
        raise ImageError(f"a file has no {unknown[0]!r}" if unknown else "a file has no path", "files")
    path = check_path(item["path"])
    given = [key for key in ("content", "content_base64", "src") if key in item]
    if len(given) != 1:
        raise ImageError(f"the file has {' and '.join(given) or 'no content'}", path, "give one of content, content_base64, src")
    facts = {"path": path, "mode": _mode(item.get("mode"), path), "owner": _principal(item.get("owner"), path),
             "group": _principal(item.get("group"), path)}
    if "src" in item:
        src = os.path.abspath(os.path.expanduser(item["src"]))
        if not os.path.isfile(src):
            raise ImageError("the file to put into the image does not exist" if not os.path.exists(src) else "only regular files can be put into the image",
                             src, advice.CHECK_PATH)
        sha256, size = _digest_of(src)
        return File(src=src, sha256=sha256, size=size, **facts)
    data = item["content"].encode() if "content" in item else _decoded(item["content_base64"], path)
    return File(content=base64.b64encode(data).decode(), sha256=text_digest(data), size=len(data), **facts)


def _digest_of(src):
    try:
        return sha256_file(src)
    except OSError as error:
        raise from_os_error(error, "reading a file for the image", src) from error


def _decoded(text, path):
    try:
        return base64.b64decode(text, validate=True) if isinstance(text, bytes) else base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageError("content_base64 is not base64", path, "give what `base64 FILE` prints") from error


def _distinct(files):
    paths = [item.path for item in files]
    twice = sorted({path for path in paths if paths.count(path) > 1})
    if twice:
        raise ImageError("the file is given twice", twice[0], "give each path once")
    return files


def check_path(path):
    """A path of the booted system where a file may be put, normalised. Raises ImageError with the reason where it may not."""
    parts = path.split("/")
    if not path.startswith("/") or ".." in parts or not path.isprintable() or path.endswith("/") or len(path) > 4095 or max(map(len, parts)) > 255:
        raise ImageError("not the path of a file in an image", path, "give an absolute path without `..`")
    path = "/" + "/".join(part for part in parts if part not in ("", "."))
    if path.startswith("/boot/efi/") or path == "/boot/efi":
        raise ImageError("the EFI partition has neither owners nor labels, and is not for files of users", path, "put it elsewhere below /boot")
    if path.startswith("/usr/") or path == "/usr":
        raise ImageError("/usr belongs to the ostree commit: it is mounted read-only, shared between deployments and replaced by the next update", path,
                         "put the file below /etc or /var, or build it into the ostree image")
    if not path.startswith(_PREFIXES):
        raise ImageError("only /etc, /var and /boot hold files of their own in an ostree system", path, "put the file below one of them")
    return path


def _mode(mode, path):
    if mode is None:
        return None
    try:
        number = int(mode, 8) if isinstance(mode, str) else int(mode)
    except (TypeError, ValueError):
        number = -1
    if not 0 <= number <= 0o7777:
        raise ImageError(f"not the mode of a file: {mode!r}", path, 'give it in quotes, as "0644"')
    return number


def _principal(name, path):
    if name is None:
        return None
    name = str(name)
    if not re.fullmatch(r"\d{1,9}|[A-Za-z_][A-Za-z0-9_.-]{0,31}\$?", name):
        raise ImageError(f"not the name or number of a user or group: {name!r}", path)
    return name
