# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Shows what the boot harness saw, for people."""

from __future__ import annotations

import json
import sys
import textwrap


def _wrapped(line):
    """A table keeps its columns, prose is wrapped."""
    return [line] if "  " in line else textwrap.wrap(line, 96, break_long_words=False, break_on_hyphens=False)


def main():
    seen = json.load(sys.stdin)
    rows = [("login prompt after", f"{seen['seconds_to_login']} s (no KVM)"), ("kernel command line", seen["cmdline"]), ("host name", seen["hostname"])]
    rows += [(path, text or "absent") for path, text in seen["files"].items()]
    rows += [(command, answer["stdout"]) for command, answer in seen["commands"].items()]
    for name, text in rows:
        lines = [part for line in text.strip().splitlines() for part in _wrapped(line) or [""]]
        for number, line in enumerate(lines or [""]):
            label = f"\033[1m{name:<36}\033[0m" if number == 0 else " " * 36
            print(f"  {label} {line}")


if __name__ == "__main__":
    main()
