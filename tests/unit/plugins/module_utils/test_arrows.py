# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The rooms of plugins/module_utils and who may know whom (ARCHITECTURE.md)."""

from __future__ import annotations

import ast
import pathlib
import sys

import pytest

PLUGINS = pathlib.Path(__file__).parents[4] / "plugins"
COLLECTION = "ansible_collections.ocne.images.plugins."
#: what every room may use
COMMON = {"errors", "progress", "lifeline", "artifact"}
#: room -> the rooms and files of module_utils that it may import
ARROWS = {
    "work": COMMON,
    "oci": COMMON,
    "builders": COMMON | {"work"},
    "modules": COMMON | {"module", "platforms", "oci", "work", "registry", "oci_hostname", "inspections", "builders"},
    "platforms": COMMON | {"oci_hostname"},
    "module": COMMON | {"builders", "work"},
    "inspections": COMMON | {"work"},
    "plugin_utils": {"progress"},
    "filter": COMMON | {"platforms"},
    "action": {"plugin_utils"},
}
#: packages outside the standard library: room -> which
OUTSIDE = {
    "work": {"guestfs"}, "modules": {"ansible"}, "module": {"ansible"}, "oci": {"oci"}, "plugin_utils": {"ansible"}, "filter": {"ansible"}, "action": set(),
    "builders": {"kubernetes", "urllib3", "websocket"},   # the client brings the others
}


def room_of(path):
    parts = path.relative_to(PLUGINS).with_suffix("").parts
    if parts[0] == "module_utils":
        return parts[1]
    return parts[0]


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
    room = room_of(path)
    allowed = ARROWS.get(room, COMMON if path.parent.name == "module_utils" else set())
    for name in imports(path):
        if name.startswith(COLLECTION):
            parts = name[len(COLLECTION):].split(".")
            target = parts[1] if parts[0] == "module_utils" else parts[0]
            if target != room and target not in allowed:
                yield f"{path.relative_to(PLUGINS)} ({room}) must not import {target}"
        else:
            top = name.split(".")[0]
            if top not in OUTSIDE.get(room, set()) and top != "__future__" and top not in standard_library():
                yield f"{path.relative_to(PLUGINS)} ({room}) must not import {top}"


def standard_library():
    if hasattr(sys, "stdlib_module_names"):
        return sys.stdlib_module_names
    return {"abc", "argparse", "array", "ast", "base64", "binascii", "collections", "concurrent", "contextlib", "copy", "ctypes", "dataclasses", "datetime",
            "email", "errno", "fcntl", "functools", "getpass", "glob", "gzip", "hashlib", "hmac", "http", "importlib", "io", "itertools", "json", "lzma",
            "math", "mmap", "os", "pathlib", "pkgutil", "platform", "posixpath", "queue", "random", "re", "resource", "secrets", "select", "shlex", "shutil",
            "signal", "socket", "socketserver", "ssl", "stat", "string", "struct", "subprocess", "sys", "tarfile", "tempfile", "textwrap", "threading",
            "time", "traceback", "typing", "urllib", "uuid", "zipfile", "zlib"}


FILES = sorted(path for path in PLUGINS.rglob("*.py") if path.relative_to(PLUGINS).parts[0] != "doc_fragments")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PLUGINS)))
def test_arrows_go_one_way(path):
    assert list(faults(path)) == []


@pytest.mark.parametrize("file, text", [
    ("module_utils/work/x.py", "from ..builders import local"),
    ("module_utils/work/x.py", "import requests"),
    ("module_utils/work/x.py", "from ansible.module_utils.basic import AnsibleModule"),
    ("module_utils/oci/x.py", "from ..work.job import Job"),
    ("module_utils/errors.py", "from .work import job"),
    ("module_utils/builders/x.py", "from ..oci import session"),
])
def test_a_forbidden_import_is_found(tmp_path, monkeypatch, file, text):
    monkeypatch.setattr(sys.modules[__name__], "PLUGINS", tmp_path)
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert list(faults(path))
