# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The rooms of plugins/module_utils and who may know whom (ARCHITECTURE.md)."""

from __future__ import annotations

import ast
import pathlib
import sys

import pytest

PLUGINS = pathlib.Path(__file__).parents[4] / "plugins"
COLLECTION = "ansible_collections.ocne.images.plugins."
#: the rooms of module_utils: each knows only those below it
ORDER = (
    "task",
    "builders/kubernetes", "builders/remote", "builders",
    "agent",
    "work", "work/containers", "work/guest", "work/disk", "work/ostree", "work/media",
    "targets", "clouds/oracle", "clouds",
    "artifact", "files", "platforms", "common",
)
#: what a room knows of those below, where that is not all of them
NARROW = {
    "agent": {"work/job", "files", "common"},
    # they go to a pod: of artifacts only the records and sources, of platforms only the disk formats
    **{room: {"artifact/record", "artifact/source", "platforms/disk_formats", "files", "common",
              *(below for below in ORDER[number + 1:] if below.startswith("work/"))}
       for number, room in enumerate(ORDER) if room.split("/")[0] == "work"},
    "clouds/oracle": {"files", "common"},
    "clouds": {"common"},
    "files": {"common"},
    "platforms": {"common"},
}
#: what the other plugins know of module_utils, and of each other
PLUGINS_KNOW = {"modules": set(ORDER), "filter": {"platforms", "common"}, "plugin_utils": {"common"}, "action": {"plugin_utils"}}
#: packages outside the standard library: room -> which
OUTSIDE = {
    "task": {"ansible"}, "plugin_utils": {"ansible"}, "filter": {"ansible"},
    "builders/kubernetes": {"kubernetes", "urllib3", "websocket"},   # the client brings the others
    "work/guest": {"guestfs"}, "clouds/oracle": {"oci", "cryptography"},   # the SDK brings the other
}


def place_of(parts):
    """(room, "room/file") of a path below plugins/, or of a dotted name: ["module_utils", "work", "disk", "headers", ...]."""
    if parts[0] != "module_utils":
        return parts[0], parts[0]
    room = "/".join(parts[1:3]) if "/".join(parts[1:3]) in ORDER else parts[1]
    depth = 1 + len(room.split("/"))
    return room, "/".join([room, *parts[depth:depth + 1]])


def allowed(room, target, file):
    """Whether a room may import a file of another one."""
    if room == target:
        return True
    if room not in ORDER:
        return target in PLUGINS_KNOW[room]
    if room in NARROW:
        return target in NARROW[room] or file in NARROW[room]
    return target in ORDER and ORDER.index(target) > ORDER.index(room)


def imports(path):
    """(absolute dotted names of what a file imports)"""
    parts = path.relative_to(PLUGINS).with_suffix("").parts
    package = list(parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                base = package[:len(package) - node.level + 1]
                stem = COLLECTION + ".".join(base + ([node.module] if node.module else []))
            else:
                stem = node.module
            # `from .. import x` names a file, `from ..x import y` a thing in it: the longer name holds both
            for alias in node.names:
                yield f"{stem}.{alias.name}"


def faults(path):
    room, _file = place_of(path.relative_to(PLUGINS).with_suffix("").parts)
    if room not in ORDER and room not in PLUGINS_KNOW:
        yield f"{path.relative_to(PLUGINS)} is in no room"
        return
    for name in imports(path):
        if name.startswith(COLLECTION):
            target, file = place_of(name[len(COLLECTION):].split("."))
            if not allowed(room, target, file):
                yield f"{path.relative_to(PLUGINS)} ({room}) must not import {file}"
        else:
            top = name.split(".")[0]
            if top not in OUTSIDE.get(room, set()) and top != "__future__" and top not in standard_library():
                yield f"{path.relative_to(PLUGINS)} ({room}) must not import {top}"


def standard_library():
    if hasattr(sys, "stdlib_module_names"):
        return sys.stdlib_module_names
    return {"abc", "argparse", "array", "ast", "base64", "binascii", "collections", "concurrent", "configparser", "contextlib", "copy", "ctypes",
            "dataclasses", "datetime", "difflib", "email", "errno", "fcntl", "functools", "getpass", "glob", "gzip", "hashlib", "hmac", "http",
            "importlib", "io", "itertools", "json", "lzma", "math", "mmap", "os", "pathlib", "pkgutil", "platform", "posixpath", "queue", "random",
            "re", "resource", "secrets", "select", "shlex", "shutil", "signal", "socket", "socketserver", "ssl", "stat", "string", "struct",
            "subprocess", "sys", "tarfile", "tempfile", "termios", "textwrap", "threading", "time", "traceback", "typing", "urllib", "uuid", "zipfile", "zlib"}


FILES = sorted(path for path in PLUGINS.rglob("*.py") if path.relative_to(PLUGINS).parts[0] != "doc_fragments")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PLUGINS)))
def test_arrows_go_one_way(path):
    assert list(faults(path)) == []


def test_files_import_each_other_in_no_circle():
    named = {COLLECTION + ".".join(path.relative_to(PLUGINS).with_suffix("").parts): path for path in FILES}
    todo = {name: {other for found in imports(path) for other in (found, found.rpartition(".")[0]) if other in named} for name, path in named.items()}
    while todo:
        free = {name for name, others in todo.items() if not others & set(todo)}
        assert free, f"these import each other: {sorted(todo)}"
        for name in free:
            del todo[name]


@pytest.mark.parametrize("file, text", [
    ("module_utils/work/x.py", "from ..builders import local"),
    ("module_utils/work/x.py", "from ..artifact import staging"),
    ("module_utils/work/x.py", "from ..platforms import profiles"),
    ("module_utils/work/x.py", "import requests"),
    ("module_utils/work/x.py", "import guestfs"),
    ("module_utils/work/x.py", "from ansible.module_utils.basic import AnsibleModule"),
    ("module_utils/work/disk/x.py", "from ..guest import bls"),
    ("module_utils/work/guest/x.py", "from ..job import Job"),
    ("module_utils/agent/x.py", "from ..work import convert"),
    ("module_utils/agent/x.py", "from ..work.disk import headers"),
    ("module_utils/builders/remote/x.py", "from ..kubernetes import cluster"),
    ("module_utils/builders/remote/x.py", "import kubernetes"),
    ("module_utils/builders/x.py", "from .remote import client"),
    ("module_utils/builders/kubernetes/x.py", "from ...task import module"),
    ("module_utils/clouds/oracle/x.py", "from ...work.job import Job"),
    ("module_utils/common/x.py", "from ..files import extents"),
    ("module_utils/errors.py", "import json"),
    ("filter/x.py", f"from {COLLECTION}module_utils.work import job"),
])
def test_a_forbidden_import_is_found(tmp_path, monkeypatch, file, text):
    monkeypatch.setattr(sys.modules[__name__], "PLUGINS", tmp_path)
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert list(faults(path))
