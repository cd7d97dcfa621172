# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The work program and the agent as one file, to be sent to where they shall run."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import io
import pkgutil
import zipfile

# the payload of a module holds what is imported: local names every kind of work
from ...agent import server
from .. import local  # noqa: F401  pylint: disable=unused-import

_TIME = (1980, 1, 1, 0, 0, 0)   # of all files: the oldest that a zip file can tell
_ROOT = __name__.rpartition(".builders.")[0]
#: the rooms and files that the program needs
_PARTS = ("common", "files", "platforms.disk_formats", "artifact.record", "artifact.source", "work", "agent")


def _source(name):
    spec = importlib.util.find_spec(name)
    # from a folder, from a module's zip file; Ansible's own loader gives bytes
    source = spec.loader.get_source(name)
    return source if isinstance(source, bytes) else source.encode()


def _files():
    """{path in the zip file: content}"""
    packages, modules = {_ROOT}, []
    for part in _PARTS:
        name = f"{_ROOT}.{part}"
        places = importlib.util.find_spec(name).submodule_search_locations
        if places is None:
            modules.append(name)
            name = name.rpartition(".")[0]
        packages.add(name)
        for found in pkgutil.walk_packages(places or [], f"{name}."):
            (packages.add if found.ispkg else modules.append)(found.name)
    for package in list(packages):
        while "." in package:
            package = package.rpartition(".")[0]
            packages.add(package)
    files = {f"{name.replace('.', '/')}/__init__.py": b"" for name in packages}
    files.update({f"{name.replace('.', '/')}.py": _source(name) for name in modules})
    return files


@functools.lru_cache(maxsize=1)
def program():
    """(zip file as bytes, its sha256): the same everywhere for the same collection, as nothing in it is compressed."""
    files = _files()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(files):
            entry = zipfile.ZipInfo(path, _TIME)
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, files[path])
    data = buffer.getvalue()
    return data, hashlib.sha256(data).hexdigest()


#: python3 -I -c START PROGRAM.zip --workspace ...: the main process of the pod
START = f"import sys; sys.path.insert(0, sys.argv[1]); from {server.__name__} import main; main()"
#: python3 -I -c TUNNEL PROGRAM.zip PORT: standard input and output as a connection to the agent
TUNNEL = f"import sys; sys.path.insert(0, sys.argv[1]); from {server.__name__.rpartition('.')[0]}.tunnel import tunnel; tunnel(int(sys.argv[2]))"
