# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The program as one file, far from the collection."""

from __future__ import annotations

import hashlib
import io
import json
import pathlib
import subprocess
import sys
import zipfile

from ansible_collections.ocne.images.plugins.module_utils.builders.remote import package
from ansible_collections.ocne.images.plugins.module_utils.work import program
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.builders.remote.agents import environment

MODULE_UTILS = pathlib.Path(package.__file__).parents[2]
TELL = f"from {package.__name__} import program; print(program()[1])"


def parts():
    """The files of the rooms that go along, by their path in module_utils."""
    for part in package._PARTS:
        place = MODULE_UTILS / part.replace(".", "/")
        for path in place.rglob("*.py") if place.is_dir() else [place.with_suffix(".py")]:
            yield path.relative_to(MODULE_UTILS)


def test_it_holds_what_the_work_needs_and_no_more():
    data, digest = package.program()
    assert hashlib.sha256(data).hexdigest() == digest and package.program() == (data, digest)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        folder = "ansible_collections/ocne/images/plugins/module_utils"
        names = {name[len(folder) + 1:] for name in archive.namelist() if name.startswith(folder) and not name.endswith("__init__.py")}
        assert names == {str(path) for path in parts() if path.name != "__init__.py"}
        for name in names:
            assert archive.read(f"{folder}/{name}") == (MODULE_UTILS / name).read_bytes()
        assert all(archive.read(name) == b"" for name in archive.namelist() if name.endswith("__init__.py"))


def test_it_is_the_same_from_a_module_s_zip_file(tmp_path):
    payload = tmp_path / "payload.zip"
    with zipfile.ZipFile(payload, "w", zipfile.ZIP_DEFLATED) as archive:
        for package_folder in ("", "/ocne", "/ocne/images", "/ocne/images/plugins"):
            archive.writestr(f"ansible_collections{package_folder}/__init__.py", "")
        for path in sorted(MODULE_UTILS.rglob("*.py")):
            archive.write(path, "ansible_collections/ocne/images/plugins/module_utils/" + str(path.relative_to(MODULE_UTILS)))
        archive.writestr("ansible_collections/ocne/images/plugins/module_utils/__init__.py", "")
    told = subprocess.run([sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, sys.argv[1]); {TELL}", str(payload)],
                          stdout=subprocess.PIPE, check=True, cwd="/")
    assert told.stdout.decode().strip() == package.program()[1]


def test_all_of_it_is_imported_here():
    """The payload of a module holds what is imported: what is not would be missing there, and the digest another one."""
    told = subprocess.run([sys.executable, "-c", f"import sys, {package.__name__}; print('\\n'.join(sys.modules))"],
                          stdout=subprocess.PIPE, check=True, env=environment())
    loaded = set(told.stdout.decode().split())
    wanted = {f"{package._ROOT}.{'.'.join(path.with_suffix('').parts)}" for path in parts() if path.name != "__init__.py"}
    assert len(wanted) > 40 and wanted <= loaded


def test_each_file_finds_what_it_imports(tmp_path):
    (tmp_path / "program.zip").write_bytes(package.program()[0])
    names = [".".join(path.with_suffix("").parts) for path in parts() if path.name != "__init__.py"]
    source = "import importlib, sys; sys.path.insert(0, sys.argv[1])\nfor name in sys.argv[2:]: importlib.import_module(name)"
    subprocess.run([sys.executable, "-I", "-c", source, str(tmp_path / "program.zip"), *(f"{package._ROOT}.{name}" for name in names)],
                   cwd="/", check=True)


def test_the_program_runs_alone(tmp_path):
    (tmp_path / "program.zip").write_bytes(package.program()[0])
    start = f"import sys; sys.path.insert(0, sys.argv[1]); from {program.__name__} import main; main()"
    ended = subprocess.run([sys.executable, "-I", "-c", start, str(tmp_path / "program.zip")], input=b'{"job": {"protocol": 0}}\n',
                           stdout=subprocess.PIPE, cwd="/", check=False)
    assert ended.returncode == 1 and "another protocol" in json.loads(ended.stdout)["error"]["what"]
