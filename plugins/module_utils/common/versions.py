# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The oldest releases that serve: (major, minor).

Copies of it that no Python reads (requirements, metadata, documentation) are held equal to it by its test.
"""

from __future__ import annotations

#: ansible-core, on the controller
ANSIBLE_CORE = (2, 16)
#: Python on the module host, and where the work is done: Oracle Linux 9's own, which has the libguestfs binding
PYTHON = (3, 9)
#: Python on the module host where a builder is a pod: the kubernetes client's own
PYTHON_WITH_PODS = (3, 10)
#: the kubernetes client; older ones lose frames of a stream (kubernetes-client/python 2650, 2651)
KUBERNETES = (37, 0)
LIBGUESTFS = (1, 44)
QEMU_IMG = (6, 2)
SKOPEO = (1, 9)
#: Oracle's SDK for Python, package oci: the oldest that the units of clouds/ have passed with, on Python 3.9
OCI = (2, 126)


def text(version):
    """As people write it."""
    return ".".join(str(part) for part in version)
