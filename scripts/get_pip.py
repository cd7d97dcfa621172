# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Brings pip into an environment without it; its arguments are packages (for scripts/ansible-test of ocne.images)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

if __name__ == "__main__":
    packages = [word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel")]
    # Some thirty environments are made: the words of their installs would bury the results of the tests.
    Path(sys.prefix, "pip.conf").write_text("[global]\nquiet = 1\n", encoding="utf-8")
    subprocess.check_call([sys.executable, "-m", "ensurepip", "--default-pip"], stdout=subprocess.DEVNULL)
    subprocess.check_call([sys.executable, "-m", "pip", "install", *packages])
