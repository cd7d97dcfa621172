# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The collection as users get it: built, installed in an empty folder, used by its full names from there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VENVS = Path(os.environ.get("OCNE_VENVS", ""))
CORES = os.environ.get("OCNE_CORES", "").split()
MODULES = sorted("ocne.images." + path.stem for path in ROOT.glob("plugins/modules/ocne_*.py"))
PLAYBOOKS = sorted("ocne.images." + path.stem for path in ROOT.glob("playbooks/*.yml") if path.stem.isidentifier())

pytestmark = pytest.mark.skipif(not CORES, reason="scripts/test-integration says where the ansible-cores are")


def run(core, *command, cwd=None, **env):
    """Runs a command of one ansible-core; returns its output."""
    env = {**os.environ, "PATH": f"{VENVS / core / 'bin'}:{os.environ['PATH']}", **env}
    env.pop("PYTHONPATH", None)
    process = subprocess.run(command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert process.returncode == 0, f"{' '.join(command)}\n{process.stdout}\n{process.stderr}"
    return process.stdout


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """The built archive, from what git has or would add."""
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("archive")
    listed = subprocess.run(
        ["git", "ls-files", "-coz", "--exclude-standard"], cwd=ROOT, stdout=subprocess.PIPE, check=True
    )
    names = [name for name in listed.stdout.split(b"\0") if name and os.path.lexists(os.fsencode(ROOT) + b"/" + name)]
    packed = subprocess.run(
        ["tar", "--null", "--no-recursion", "-T", "-", "-cf", "-"],
        cwd=ROOT, input=b"\0".join(names), stdout=subprocess.PIPE, check=True,
    )
    subprocess.run(["tar", "-xf", "-"], cwd=tree, input=packed.stdout, check=True)
    run(CORES[0], "ansible-galaxy", "collection", "build", "--output-path", str(out), str(tree))
    (path,) = out.iterdir()
    return path


@pytest.fixture(scope="module", params=CORES)
def installed(request, archive, tmp_path_factory):
    """A core's name, and a collections path on which nothing else is."""
    path = tmp_path_factory.mktemp(f"collections-{request.param}")
    install = ["ansible-galaxy", "collection", "install", "--offline", "-p", str(path), str(archive)]
    run(request.param, *install, ANSIBLE_COLLECTIONS_PATH=str(path))
    return request.param, str(path)


def test_archive_has_what_users_need_only(archive):
    """Machinery of the checkout stays out; what the modules run is in."""
    with tarfile.open(archive) as tar:
        names = set(tar.getnames())
    assert {"COPYING", "README.md", "meta/runtime.yml", "meta/execution-environment.yml", "bindep.txt"} <= names
    unwanted = r"(\.git|\.ci|scripts|benchmarks|build|tests/lab|tests/output)(/|$)|.*(_cache|__pycache__|\.pyc)(/|$)"
    assert [name for name in names if re.match(unwanted, name)] == []
    assert archive.stat().st_size < 1 << 20


@pytest.mark.parametrize("module", MODULES)
def test_documentation(installed, module):
    """ansible-doc finds each module in the installed collection."""
    core, path = installed
    shown = json.loads(run(core, "ansible-doc", "-t", "module", "--json", module, ANSIBLE_COLLECTIONS_PATH=path))
    assert shown[module]["doc"]["filename"].startswith(path)
    assert shown[module]["examples"] and shown[module]["return"]


@pytest.mark.parametrize("module", MODULES)
def test_module_says_what_it_needs(installed, module, tmp_path):
    """Each module is found, packed and started by its full name: without options, it says which are required, or that it finds no cluster."""
    core, path = installed
    play = tmp_path / "play.yml"
    task = {"name": "Call", module: {}, "register": "result", "ignore_errors": True}
    show = {"name": "Show", "ansible.builtin.debug": {"msg": "SAID {{ result.msg }}"}}
    play.write_text(json.dumps([{"name": "Play", "hosts": "localhost", "gather_facts": False, "tasks": [task, show]}]))
    said = run(core, "ansible-playbook", str(play), ANSIBLE_COLLECTIONS_PATH=path, HOME=str(tmp_path), KUBECONFIG="")
    assert re.search(r"SAID .*(required|one of|are missing|there is no kubeconfig)", said), said


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_playbook_by_name(installed, playbook):
    """Each playbook is reached by its full name, and all that it names is found."""
    core, path = installed
    assert "TASK" in run(core, "ansible-playbook", "--list-tasks", playbook, ANSIBLE_COLLECTIONS_PATH=path).upper()


def test_galaxy_importer(archive):
    """What Galaxy itself checks when an archive is uploaded."""
    tools = VENVS / "tools"
    if not (tools / "bin" / "python").exists():
        pytest.skip("the environment 'tools' is not there: scripts/setup test")
    config = archive.parent / "galaxy-importer.cfg"
    config.write_text("[galaxy-importer]\nCHECK_CHANGELOG = False\nRUN_ANSIBLE_TEST = False\nRUN_FLAKE8 = False\n")
    said = run("tools", "python", "-m", "galaxy_importer.main", str(archive), GALAXY_IMPORTER_CONFIG=str(config), cwd=archive.parent)
    assert "ERROR" not in said
