# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The name of a processor architecture, for roles."""

from __future__ import annotations

DOCUMENTATION = r"""
name: image_architecture
short_description: A processor architecture as images name it
version_added: 0.1.0
author: ocne.images contributors (@oracle-cne)
description:
  - Tells how container images and Kubernetes name a processor architecture that a kernel names otherwise.
options:
  _input:
    description: The name of an architecture, such as V(x86_64). One that is not known stays as it is.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show the architecture of this host
  ansible.builtin.debug:
    msg: "{{ ansible_facts.architecture | ocne.images.image_architecture }}"
"""

RETURN = r"""
_value:
  description: The name, such as V(amd64).
  type: str
"""

from ansible_collections.ocne.images.plugins.module_utils.platforms.architectures import image_name


class FilterModule:
    """Filters of ocne.images."""

    def filters(self):
        return {"image_architecture": image_name}
