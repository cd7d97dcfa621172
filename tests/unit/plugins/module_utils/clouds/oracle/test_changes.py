# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What something was, and what it is."""

from __future__ import annotations

from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle.changes import Change


def test_what_is_the_same_has_not_changed():
    assert not Change([1], [1]).changed and Change({}, {"a": 1}).changed
