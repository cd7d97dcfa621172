# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the modules of this collection support."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and tell what would change, without changing it.
    support: full
  diff_mode:
    description: Tells what has changed, or would change in check mode, as a difference of the artifact's recipe.
    support: full
  idempotent:
    description: A second run with the same options and sources changes nothing.
    support: full
  async:
    description: Can be run with C(async). Progress is not shown in that case.
    support: full
"""

    INFO = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode; the module changes nothing in any mode.
    support: full
  diff_mode:
    description: There is nothing that could differ.
    support: N/A
  idempotent:
    description: The module changes nothing.
    support: full
  async:
    description: Can be run with C(async). Progress is not shown in that case.
    support: full
"""
