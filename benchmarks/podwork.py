# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One Job in a builder pod, as a module has it done, without Ansible: podwork.py < {"builder": options, "kind": ..., "options": ..., "staging": ...}"""

from __future__ import annotations

import contextlib
import json
import sys

from ansible_collections.ocne.images.plugins.module_utils.builders.kubernetes import builder as pod
from ansible_collections.ocne.images.plugins.module_utils.builders.kubernetes import options
from ansible_collections.ocne.images.plugins.module_utils.work.job import Job


def main():
    """Prints the Result's values as JSON."""
    asked = json.load(sys.stdin)
    defaults = {name: spec.get("default") for name, spec in options.BUILDER_SPEC["builder"]["options"].items()}
    with contextlib.closing(pod.PodBuilder(dict(defaults, **asked["builder"]), lambda event: None)) as builder:
        result = builder.run(Job(asked["kind"], asked["options"], asked["staging"]), lambda event: None)
    print(json.dumps(result.values))


if __name__ == "__main__":
    main()
