# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The Python that the libguestfs binding is built for: mostly the system's own, whatever runs a module."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

from . import versions

#: where distributions keep it
SYSTEM_PYTHONS = ("/usr/bin/python3", "/usr/libexec/platform-python")


def with_guestfs():
    """The path of a Python that can import guestfs, this one first; None where there is none."""
    if importlib.util.find_spec("guestfs"):
        return sys.executable
    check = f"import sys; assert sys.version_info >= {versions.PYTHON}; import guestfs"
    for path in SYSTEM_PYTHONS:
        if os.path.exists(path):
            found = subprocess.run(  # pylint: disable=ansible-bad-function
                [path, "-I", "-c", check], stdin=subprocess.DEVNULL, capture_output=True, check=False)
            if found.returncode == 0:
                return path
    return None
