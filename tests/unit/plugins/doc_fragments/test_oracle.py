# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is said of the options of the cloud is what they do."""

from __future__ import annotations

import re

import pytest
import yaml

from ansible_collections.ocne.images.plugins.doc_fragments import oracle
from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle import session

FRAGMENT = yaml.safe_load(oracle.ModuleDocFragment.DOCUMENTATION)
DEFAULTS = re.compile(r"Default (E\([^.]*?)(?:, else|\.)")


@pytest.mark.parametrize("option", session.SPEC)
def test_the_variables_that_stand_in_for_an_option_are_told_in_their_order(option):
    found = DEFAULTS.search(" ".join(FRAGMENT["options"][option]["description"]))
    assert tuple(re.findall(r"E\((\w+)\)", found.group(1)) if found else ()) == session._VARIABLES.get(option, ())


def test_each_kind_of_authentication_is_told():
    text = " ".join(FRAGMENT["options"]["auth_type"]["description"])
    assert [kind for kind in session.AUTH_TYPES if f"V({kind})" not in text] == []


def test_where_no_file_is_named():
    assert f"C({session._DEFAULT_FILE})" in FRAGMENT["options"]["config_file_location"]["description"][0]
    assert f"C({session._DEFAULT_PROFILE})" in FRAGMENT["options"]["config_profile_name"]["description"][0]
