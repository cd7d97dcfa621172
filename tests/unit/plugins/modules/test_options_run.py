# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every option of a module of Oracle's cloud is in a task that tests run: an example (all of them are run), a target, a role, a play of tests."""

from __future__ import annotations

import ast
import contextlib
import importlib
import pathlib

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[4]
MODULES = ("ocne_oci_image_import", "ocne_oci_image_info")
#: of places where a task is
_TARGETS, _ROLES, _PLAYS = "tests/integration/targets/*/tasks/*.yml", "roles/*/tasks/*.yml", "tests/integration/test_*.py"


def documented(module):
    """The options that a module's documentation names, with those of its fragments."""
    literal = {node.targets[0].id: node.value.value for node in ast.parse((ROOT / f"plugins/modules/{module}.py").read_text()).body
               if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)}
    about = yaml.safe_load(literal["DOCUMENTATION"])
    found = set(about["options"])
    for name in about["extends_documentation_fragment"]:
        fragment = importlib.import_module(f"ansible_collections.ocne.images.plugins.doc_fragments.{name.split('.')[2]}")
        found |= set(yaml.safe_load(fragment.ModuleDocFragment.DOCUMENTATION).get("options", {}))
    return found, literal["EXAMPLES"]


def texts():
    """YAML that tests run."""
    for pattern in (_TARGETS, _ROLES):
        for path in ROOT.glob(pattern):
            yield path.read_text()
    for path in ROOT.glob(_PLAYS):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n- hosts:" in node.value:
                yield node.value


def named(text, module):
    """The options that tasks and defaults of a module have."""
    found = set()

    def walk(node):
        if isinstance(node, list):
            for each in node:
                walk(each)
        elif isinstance(node, dict):
            for key, value in node.items():
                if key in (f"ocne.images.{module}", "group/ocne.images.oracle") and isinstance(value, dict):
                    found.update(value)
                walk(value)
    # what a test still has to fill in is no YAML
    with contextlib.suppress(yaml.YAMLError):
        walk(yaml.safe_load(text))
    return found


@pytest.mark.parametrize("module", MODULES)
def test_every_option_is_run(module):
    options, examples = documented(module)
    run = named(examples, module).union(*(named(text, module) for text in texts()))
    assert options - run == set()
    assert run - options == set()
