# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where Ansible reads literal text only, it is a copy: of choices in the documentation of modules and in the specs of roles.

What the modules themselves take is compared with their documentation by ansible-test (validate-modules).
"""

from __future__ import annotations

import ast
import pathlib

import pytest
import yaml

from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle import launch_metadata
from ansible_collections.ocne.images.plugins.module_utils.platforms import architectures, disk_formats
from ansible_collections.ocne.images.plugins.module_utils.targets import oracle_formats
from ansible_collections.ocne.images.plugins.module_utils.work.guest import recipe

ROOT = pathlib.Path(__file__).resolve().parents[3]
#: what is written, and what can also be a source or a platform's disk
OUTPUTS, IMAGES = tuple(disk_formats.FORMATS), tuple(disk_formats.IMAGES)
#: (file, option): its choices
COPIES = {
    ("plugins/modules/ocne_boot_image.py", "architecture"): architectures.EITHER_NAMES,
    ("plugins/modules/ocne_boot_image.py", "format"): IMAGES,
    ("plugins/modules/ocne_image_info.py", "src_format"): IMAGES,
    ("plugins/modules/ocne_image_convert.py", "src_format"): IMAGES,
    ("plugins/modules/ocne_image_convert.py", "format"): OUTPUTS,
    ("plugins/modules/ocne_image_convert.py", "subformat"): disk_formats.SUBFORMATS,
    ("plugins/modules/ocne_image_convert.py", "adapter_type"): disk_formats.ADAPTERS,
    ("plugins/modules/ocne_image_convert.py", "compression"): ("none", *disk_formats.COMPRESSIONS),
    ("plugins/modules/ocne_image_convert.py", "architecture"): architectures.EITHER_NAMES,
    ("plugins/modules/ocne_image_convert.py", "cloud"): (launch_metadata.OCI, launch_metadata.PCA),
    ("plugins/modules/ocne_image_customize.py", "compression"): recipe.COMPRESSIONS,
    ("plugins/modules/ocne_image_customize.py", "outputs.compression"): recipe.COMPRESSIONS,
    ("plugins/modules/ocne_oci_image_import.py", "architecture"): architectures.EITHER_NAMES,
    ("plugins/modules/ocne_oci_image_import.py", "src_format"): tuple(oracle_formats.SOURCE_TYPES),
    ("plugins/doc_fragments/pod.py", "architecture"): architectures.NAMES,
    ("roles/oci_image/meta/argument_specs.yml", "oci_image_architecture"): ("", *architectures.EITHER_NAMES),
    ("roles/oci_image/meta/argument_specs.yml", "oci_image_compression"): recipe.COMPRESSIONS,
    ("roles/vm_image/meta/argument_specs.yml", "vm_image_variants.architecture"): architectures.NAMES,
    ("roles/vm_image/meta/argument_specs.yml", "vm_image_variants.format"): IMAGES,
    ("roles/vm_image/meta/argument_specs.yml", "vm_image_variants.compression"): recipe.COMPRESSIONS,
    ("roles/vm_image/meta/argument_specs.yml", "vm_image_compression"): recipe.COMPRESSIONS,
}


def options(path):
    """The options of a module, a documentation fragment or a role."""
    text = (ROOT / path).read_text()
    if path.endswith(".yml"):
        return yaml.safe_load(text)["argument_specs"]["main"]["options"]
    for node in ast.walk(ast.parse(text)):
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        if isinstance(target, ast.Name) and target.id == "DOCUMENTATION":
            return yaml.safe_load(node.value.value)["options"]
        if isinstance(target, ast.Attribute) and target.attr == "DOCUMENTATION":
            return {}   # put together from other fragments (builder.py): no copy
    raise AssertionError(f"{path} has no documentation")


def walk(found, prefix=""):
    for name, option in found.items():
        yield prefix + name, option
        yield from walk(option.get("suboptions") or option.get("options") or {}, f"{prefix}{name}.")


@pytest.mark.parametrize("path, name", COPIES, ids=lambda text: text.rpartition("/")[2])
def test_choices(path, name):
    assert tuple(dict(walk(options(path)))[name]["choices"]) == COPIES[path, name]


def test_no_copy_is_forgotten():
    """Whatever has choices that look like some of these is one of them."""
    facts = {choice for choices in COPIES.values() for choice in choices} - {"", "none", "keep"}
    files = [*ROOT.glob("plugins/modules/*.py"), *ROOT.glob("plugins/doc_fragments/*.py"), *ROOT.glob("roles/*/meta/argument_specs.yml")]
    found = set()
    for path in (str(file.relative_to(ROOT)) for file in files):
        if "DOCUMENTATION" in (ROOT / path).read_text() or path.endswith(".yml"):
            found |= {(path, name) for name, option in walk(options(path)) if facts & set(option.get("choices") or [])}
    # it edits what these hold, whatever else there is
    assert found - {("plugins/modules/ocne_image_customize.py", "src_format")} == set(COPIES)
