# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Oracle's SDK for Python, or one sentence about how to get it."""

from __future__ import annotations

import re
import sys

from ...common import versions
from ...common.errors import ImageError


def load():
    """The package oci. It takes a second or so to import. Raises ImageError where it is missing or too old."""
    todo = f"install it for {sys.executable}: pip install 'oci>={versions.text(versions.OCI)}'"
    try:
        import oci
    except ImportError as error:
        raise ImageError("the Python package oci, Oracle's SDK, is missing on the module host", todo=todo) from error
    if tuple(int(number) for number in re.findall(r"\d+", oci.__version__)[:2]) < versions.OCI:
        raise ImageError(f"the Python package oci {oci.__version__} is too old", todo=todo)
    return oci
