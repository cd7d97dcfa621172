# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The oldest releases that serve, and the copies of them that stand where no Python is read."""

from __future__ import annotations

import pathlib
import re

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common import versions
from ansible_collections.ocne.images.plugins.module_utils.common.versions import text

ROOT = pathlib.Path(__file__).resolve().parents[5]
CORE, PYTHON, PODS, CLIENT = text(versions.ANSIBLE_CORE), text(versions.PYTHON), text(versions.PYTHON_WITH_PODS), text(versions.KUBERNETES)
SDK = text(versions.OCI)
#: an installed collection has no scripts and no pyproject.toml
OPTIONAL = ("scripts/setup", "pyproject.toml")
#: file -> patterns of which each must be there, at least once
COPIES = {
    "meta/runtime.yml": [f'requires_ansible: ">={CORE}.0"'],
    "requirements.txt": [f'kubernetes>={CLIENT}; python_version >= "{PODS}"', f"oci>={SDK}", f"ansible-core {CORE} or newer",
                         f"Python {PYTHON} or newer"],
    "builder/requirements.txt": [f"kubernetes>={CLIENT}", f"oci>={SDK}"],
    "builder/Containerfile": [f"ansible-core>={CORE} "],
    "builder/execution-environment.yml": [f"package_pip: ansible-core>={CORE}"],
    "roles/builder_image/defaults/main.yml": [f'"ansible-core>={CORE}"'],
    "roles/builder_image/meta/argument_specs.yml": [f'"ansible-core>={CORE}"'],
    **{f"roles/{role}/meta/main.yml": [f'min_ansible_version: "{CORE}"'] for role in ("builder_image", "oci_image", "vm_image")},
    "scripts/setup": [f"oldest='ansible-core~={CORE}.0'", f"kubernetes='kubernetes>={CLIENT}'", f"'ansible-core>={CORE}'"],
    "pyproject.toml": [f'target-version = "py{PYTHON.replace(".", "")}"'],
    "tests/config.yml": [f'python_requires: ">={PYTHON}"'],
    "README.md": [f"ansible-core {CORE} or newer", f"Python {PYTHON} or newer", f"binding {text(versions.LIBGUESTFS)} or newer",
                  f"qemu-img {text(versions.QEMU_IMG)} or newer", f"skopeo {text(versions.SKOPEO)} or newer",
                  f"Python {PODS}, and kubernetes {versions.KUBERNETES[0]} or newer", f"oci {SDK} or newer"],
    "plugins/doc_fragments/artifact.py": [f"Python {PYTHON} or newer"],
    "plugins/doc_fragments/oracle.py": [f"Python {PYTHON} or newer", f"oci {SDK} or newer"],
    "plugins/doc_fragments/pod.py": [f"needs Python {PYTHON} or newer"],
    "plugins/modules/ocne_image_info.py": [f"Python {PYTHON} or newer"],
    "plugins/modules/ocne_boot_image.py": [f"skopeo {text(versions.SKOPEO)} or newer"],
    **{f"plugins/modules/{name}.py": [f"Python {PODS} or newer", f"kubernetes {CLIENT} or newer"] for name in ("ocne_builder", "ocne_builder_info")},
}
#: what an oldest release is called where people read of it
SPOKEN = re.compile(r"(Python|ansible-core|kubernetes|oci|skopeo|qemu-img) (\d+\.\d+) or newer")
ALLOWED = {"Python": {PYTHON, PODS}, "ansible-core": {CORE}, "kubernetes": {CLIENT}, "oci": {SDK}, "skopeo": {text(versions.SKOPEO)},
           "qemu-img": {text(versions.QEMU_IMG)}}
PLACES = ("plugins/**/*.py", "roles/**/*.yml", "roles/*/README.md", "docs/*", "README.md", "requirements.txt", "builder/*")


@pytest.mark.parametrize("name, copies", COPIES.items())
def test_copies_are_equal(name, copies):
    path = ROOT / name
    if name in OPTIONAL and not path.exists():
        pytest.skip("not in an installed collection")
    content = path.read_text()
    assert [copy for copy in copies if copy not in content] == []


def test_no_other_release_is_named_anywhere():
    found = [(str(path.relative_to(ROOT)), match.group()) for place in PLACES for path in sorted(ROOT.glob(place)) if path.is_file()
             for match in SPOKEN.finditer(path.read_text()) if match.group(2) not in ALLOWED[match.group(1)]]
    assert found == []


def test_as_people_write_it():
    assert text((3, 10)) == "3.10"
