# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The main playbook as a whole: what Ansible adds to the image work, and how much memory the largest process has."""

from __future__ import annotations

import shutil
import statistics
import time

from bench import ROOT
from measure import Row, say, spread
from plays import play

_MEMORY = 256 << 20   # bytes
_WORK = "module_utils.work.program"


def rows(bench):
    """The play's overhead."""
    ratios = []
    for _number in range(bench.pairs):
        folder = bench.path("whole")
        started = time.monotonic()
        processes = play(bench, f"{ROOT}/playbooks/build-oci-image.yml", {
            "oci_image_source": bench.images["1.33"], "oci_image_registry": {"verify": False}, "oci_image_directory": folder,
            "oci_image_architecture": "amd64"}, watched=True)
        whole = time.monotonic() - started
        work = _covered(process for process in processes if _WORK in process.command)
        ratios.append(whole / work)
        say(f"play: {whole:.2f} s, of which {work:.2f} s in the work program")
        shutil.rmtree(folder)
    yield Row("`build-oci-image.yml`, the whole play", "its time in the work program", spread(statistics.median(ratios), ratios))


def _covered(processes):
    """Seconds in which at least one of them was there: libguestfs forks one that waits."""
    total, end = 0.0, 0.0
    for process in sorted(processes, key=lambda process: process.first):
        total += max(0.0, process.last - max(end, process.first))
        end = max(end, process.last)
    return total


def memory(bench):
    """Every module and format in one play; then its largest process."""
    folder = bench.path("memory")
    base, pull = f"{folder}/base.qcow2", {"architecture": "amd64", "registry": {"verify": False}}
    convert = {"src": base, "verify": True}
    tasks = [
        {"ocne.images.ocne_boot_image": dict(pull, source=bench.images["1.33-zstd"], dest=f"{folder}/zstd.qcow2")},
        {"ocne.images.ocne_boot_image": dict(pull, source=bench.images["1.33"], dest=base)},
        {"ocne.images.ocne_image_info": {"src": base, "check": True}},
        {"ocne.images.ocne_image_customize": {"src": base, "dest": f"{folder}/oci.qcow2", "platform": "oci"}},
        *({"ocne.images.ocne_image_convert": dict(convert, format=kind, dest=f"{folder}/{kind}")} for kind in ("raw", "vmdk", "vdi", "vhdx", "vpc")),
        {"ocne.images.ocne_image_convert": dict(convert, format="qcow2", compression="zstd", dest=f"{folder}/small.qcow2")},
        {"ocne.images.ocne_image_convert": dict(convert, format="vmdk", subformat="streamOptimized", dest=f"{folder}/stream.vmdk")},
    ]
    processes = [process for process in play(bench, tasks, watched=True) if not process.machine]
    shutil.rmtree(folder)
    largest = {}
    for process in sorted(processes, key=lambda process: process.memory):
        largest[_kind(process)] = process.memory
    for name, size in sorted(largest.items(), key=lambda item: -item[1])[:8]:
        say(f"memory: {name} {size >> 20} MiB")
    name, top = max(largest.items(), key=lambda item: item[1])
    yield Row("memory of the largest process, all modules, all formats", f"256 MiB, QEMU's virtual machines left out ({name})",
              f"{top / _MEMORY:.2f}", "<= 1", top <= _MEMORY)


def _kind(process):
    if _WORK in process.command:
        return "the work program"
    return "ansible-playbook" if "ansible-playbook" in process.command else "a module" if "AnsiballZ" in process.command else process.name
