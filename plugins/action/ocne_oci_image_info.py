# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module of this name, with live progress."""

from __future__ import annotations

from ansible_collections.ocne.images.plugins.plugin_utils.live_progress import LiveProgressAction


class ActionModule(LiveProgressAction):
    """See LiveProgressAction."""
