# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Each task again with nothing to do, against a task that only looks at a file."""

from __future__ import annotations

from measure import Fault, Row, pairs, spread
from plays import play

_GOAL = 1.0   # seconds


def _tasks(bench, folder):
    """name -> a task; each works on what the one before has made."""
    base, edited = f"{folder}/boot.qcow2", f"{folder}/boot.oci"
    pinned = bench.images["1.33"].rpartition(":")[0] + "@" + bench.digests["1.33"]
    pull = {"architecture": "amd64", "registry": {"verify": False}, "dest": base}
    return {
        "ocne_boot_image, by tag": {"ocne.images.ocne_boot_image": dict(pull, source=bench.images["1.33"])},
        "ocne_boot_image, by digest": {"ocne.images.ocne_boot_image": dict(pull, source=pinned, dest=f"{folder}/pinned.qcow2")},
        "ocne_image_customize": {"ocne.images.ocne_image_customize": {"src": base, "dest": edited, "platform": "oci"}},
        "ocne_image_convert": {"ocne.images.ocne_image_convert": {"src": base, "dest": f"{folder}/boot.vmdk", "format": "vmdk"}},
        "ocne_image_info": {"ocne.images.ocne_image_info": {"src": base}},
    }


def _lazy(bench, name, task):
    """Fault where a run with nothing to do changes something, launches an appliance or pulls a layer."""
    _text, end = bench.requests()
    unchanged = {"ansible.builtin.assert": {"that": ["again is not changed"]}}
    processes = play(bench, [dict(task, register="again"), unchanged], watched=True)
    machines = [process.name for process in processes if process.machine or process.name == "supermin"]
    if machines:
        raise Fault(f"{name} with nothing to do launched an appliance")
    asked = [line for line in bench.requests(end)[0].splitlines() if "/blobs/" in line]
    if asked:
        raise Fault(f"{name} with nothing to do asked for {len(asked)} blobs")


def rows(bench):
    """One row for each task."""
    folder = bench.path("rerun")
    tasks = _tasks(bench, folder)
    for name, task in tasks.items():
        try:
            play(bench, [task])
            proof, lazy = "no appliance, no blob asked for", True
            try:
                _lazy(bench, name, task)
            except Fault as fault:
                proof, lazy = str(fault), False
            stat = {"ansible.builtin.stat": {"path": f"{folder}/boot.qcow2", "get_checksum": False}}
            found = pairs(bench.pairs, lambda _to, task=task: play(bench, [task]), lambda _to, stat=stat: play(bench, [stat]),
                          bench.path("rerun-pairs"), name)
        except Fault as fault:
            yield Row(f"again, {name}", "`stat` in the same play", f"failed: {fault}", "<= 1 s more", False)
            continue
        each = [ours - peer for ours, peer in zip(found.ours, found.peer)]
        yield Row(f"again, {name}", "`stat` in the same play", f"{spread(found.difference, each, ' s')} more; {proof}", f"<= {_GOAL:g} s more",
                  lazy and found.difference <= _GOAL)
