# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a platform profile knows of disks, for roles."""

from __future__ import annotations

DOCUMENTATION = r"""
name: platform_disk
short_description: The disk that a platform takes best
version_added: 0.1.0
author: ocne.images contributors (@oracle-cne)
description:
  - Tells the format, subformat and file suffix of a platform profile's disk, as P(ocne.images.ocne_image_convert#module) names them.
positional: format
options:
  _input:
    description: A platform's name, or a dictionary of one's own, as O(ocne.images.ocne_image_customize#module:platform).
    type: raw
    required: true
  format:
    description:
      - A disk format to take in place of the platform's.
      - Where it is another one, subformat and suffix are what that format has by default.
    type: str
"""

EXAMPLES = r"""
- name: Show the format for VMware, vmdk
  ansible.builtin.debug:
    msg: "{{ ('vmware' | ocne.images.platform_disk).format }}"

- name: Show the suffix of a VHD for VMware, .vhd
  ansible.builtin.debug:
    msg: "{{ ('vmware' | ocne.images.platform_disk('vpc')).suffix }}"
"""

RETURN = r"""
_value:
  description: The disk.
  type: dict
  contains:
    format:
      description: The format, such as V(vmdk).
      type: str
      returned: always
    subformat:
      description: Its variant, such as V(monolithicSparse), or null for a format that has none.
      type: str
      returned: always
    suffix:
      description: What the name of its file ends in, such as V(.vmdk).
      type: str
      returned: always
"""

from ansible.errors import AnsibleFilterError

from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.platforms.profiles import profile


def platform_disk(platform, format=None):
    """{format, subformat, suffix} of a platform's disk. Raises AnsibleFilterError where there is no such platform or format."""
    try:
        return profile(dict(platform) if isinstance(platform, dict) else str(platform)).disk(format)
    except ImageError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Filters of ocne.images."""

    def filters(self):
        return {"platform_disk": platform_disk}
