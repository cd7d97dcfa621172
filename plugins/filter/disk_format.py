# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a platform profile knows, for roles."""

from __future__ import annotations

DOCUMENTATION = r"""
name: disk_format
short_description: The disk format that a platform takes best
version_added: 0.1.0
author: ocne.images contributors (@oracle-cne)
description:
  - Tells the disk format of a platform profile, as P(ocne.images.ocne_image_convert#module) names formats.
options:
  _input:
    description: A platform's name, or a dictionary of one's own, as O(ocne.images.ocne_image_customize#module:platform).
    type: raw
    required: true
"""

EXAMPLES = r"""
- name: Show the format for VMware
  ansible.builtin.debug:
    msg: "{{ 'vmware' | ocne.images.disk_format }}"
"""

RETURN = r"""
_value:
  description: The format, such as V(vmdk).
  type: str
"""

from ansible.errors import AnsibleFilterError

from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.platforms.profiles import profile


def disk_format(platform):
    """The disk format of a platform's profile. Raises AnsibleFilterError where there is no such platform."""
    try:
        return profile(dict(platform) if isinstance(platform, dict) else str(platform)).disk_format
    except ImageError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Filters of ocne.images."""

    def filters(self):
        return {"disk_format": disk_format}
