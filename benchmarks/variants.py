# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Role vm_image: what each further variant of one base costs."""

from __future__ import annotations

import functools
import os

from bench import ROOT
from measure import Row, pairs, spread
from plays import play
from tools import run

_GOAL = 0.35
#: the dearest kind: new UUIDs, files and kernel arguments in each
_VARIANTS = [{"name": f"variant-{number}", "platform": "oci", "architecture": "amd64", "kernel_arguments": {"append": [f"ocne.variant={number}"]}}
             for number in range(6)]


def _build(bench, count, folder):
    play(bench, f"{ROOT}/playbooks/build-vm-images.yml",
         {"vm_image_source": bench.images["1.33"], "vm_image_registry": {"verify": False}, "vm_image_directory": folder,
          "vm_image_variants": _VARIANTS[:count]})


def _check(folder):
    for variant in _VARIANTS:
        path = os.path.join(folder, variant["name"] + ".qcow2")
        if os.path.exists(path):
            run(["qemu-img", "check", "-q", "-f", "qcow2", path])


def rows(bench):
    """(T6 - T1) / 5 / T1."""
    found = pairs(bench.pairs, functools.partial(_build, bench, len(_VARIANTS)), functools.partial(_build, bench, 1), bench.path("variants"),
                  "6 variants, peer: 1 variant", after=_check)

    def share(ratio):
        return (ratio - 1) / (len(_VARIANTS) - 1)
    result = share(found.ratio)
    yield Row("`vm_image`, each of 5 further qcow2 variants", "the first one, with its pull", spread(result, [share(ratio) for ratio in found.ratios]),
              f"<= {_GOAL:g}", result <= _GOAL)
