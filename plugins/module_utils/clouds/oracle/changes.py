# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What something was, and what it is or would be."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Change:
    """before and after as plain data, for a diff; both are the same where there was nothing to do."""

    before: object
    after: object

    @property
    def changed(self):
        return self.before != self.after
