# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Processor architectures that there are boot images for."""

from __future__ import annotations

#: as kernels name them -> as container images and Kubernetes name them
BY_KERNEL = {"x86_64": "amd64", "aarch64": "arm64"}
NAMES = tuple(BY_KERNEL.values())
#: for options that take both kinds of names
EITHER_NAMES = (*NAMES, *BY_KERNEL)


def image_name(name):
    """An architecture as images name it, by either of its names; another name stays as it is."""
    return BY_KERNEL.get(name, name)
