# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Imports into the cloud that are killed, and one that has nothing to do."""

from __future__ import annotations

import os
import random
import time

from cloudlab import MIB, Task, opened, random_image
from measure import Fault, Row, pairs, say, spread
from plays import play

_ROUNDS, _OF_A_PAIR = 20, 4
#: bytes; bytes a second of each connection. What is in the kernel's buffers arrives after a kill: a part is larger than those
_SIZE, _PART, _RATE = 192 * MIB, 12 * MIB, 6 * MIB
_IMPORT = 3     # seconds


# --- killed ------------------------------------------------------------------------------------------


class _Victim:
    """An image of its own, and the task that imports it: as a user, or as an instance, which needs a pre-authenticated request."""

    def __init__(self, cloud, folder, instance):
        self.cloud, self.bucket, self.path = cloud, cloud.bucket(), f"{folder}/image.qcow2"
        self.sha256 = random_image(self.path, _SIZE)
        options = cloud.options(self.path, self.bucket, part_size=_PART)
        self._task = cloud.as_instance(options) if instance else (options, {})

    def begin(self):
        """A run whose first request has come in."""
        self.cloud.control.set(rate=_RATE, import_seconds=_IMPORT)
        self.cloud.control.forget()
        task = self.cloud.start(Task(*self._task))
        while not self.cloud.control.counters()["operations"] and task.status is None:
            time.sleep(0.01)
        return task

    def parts(self):
        """How often parts of this image came in, all in all."""
        return sum(times for parts in self.cloud.control.counters()["parts"].values() for times in parts.values())

    def converge(self):
        """A run to the end, and one more; whether the first found anything. Raises Fault for what is not as it should be."""
        self.cloud.control.set(rate=0, import_seconds=0.5)
        self.cloud.settle()
        before = self.parts()
        answer = self.cloud.start(Task(*self._task)).answer()
        came, whole = self.parts(), -(-os.path.getsize(self.path) // _PART)
        if came != whole:
            raise Fault(f"{came} parts came in of an image of {whole}; {before} were there after the kill")
        if self.cloud.images(self.sha256) != [answer["image_id"]] or answer["lifecycle_state"] != "AVAILABLE":
            raise Fault("there is not one image")
        left = self.cloud.leftovers(self.path, self.bucket)
        if left:
            raise Fault(f"left behind: {', '.join(left)}")
        if self.cloud.start(Task(*self._task)).answer()["changed"]:
            raise Fault("the run after that changed something")
        self.cloud.forget_image(answer["image_id"])
        return before


def _uninterrupted(cloud, folder, instance):
    """Seconds from the first request to the end."""
    victim = _Victim(cloud, folder, instance)
    task = victim.begin()
    began = time.monotonic()
    task.answer()
    took = time.monotonic() - began
    victim.converge()
    return took


def _killed(cloud, folder, instance, moment):
    """One round; where the run was killed: the last request that it made."""
    victim = _Victim(cloud, folder, instance)
    task = victim.begin()
    time.sleep(moment)
    if task.status is not None:
        task.answer()
        return None
    task.kill()
    last = cloud.control.counters()["requests"][-1:]
    there = victim.converge()
    return f"at {moment:.1f} s, after {last[0][0] if last else 'nothing'}; {there} parts were there"


def killed(bench):
    """kill -9 at random moments, spread over the whole of a run."""
    rounds, chance, failed = min(_ROUNDS, _OF_A_PAIR * bench.pairs), random.Random(), []
    with opened(bench) as cloud:
        folder = bench.path("importkill")
        takes = {instance: _uninterrupted(cloud, folder, instance) for instance in (False, True)}
        for number in range(rounds):
            instance, told = number % 2 == 1, None
            while told is None:
                moment = (number + chance.random()) / rounds * takes[instance]
                try:
                    told = _killed(cloud, folder, instance, moment)
                except Fault as fault:
                    told = f"at {moment:.1f} s: {fault}"
                    failed.append(told)
                # it was ready before that
                takes[instance] *= 1 if told else 0.9
            say(f"import killed as {'an instance' if instance else 'a user'} {told}")
    yield Row(f"`kill -9` of an import at {rounds} random moments", "one image, nothing left behind, no part sent twice that the cloud had",
              "passed" if not failed else f"failed {len(failed)} times: {failed[0]}", "passed", not failed)


# --- nothing to do -----------------------------------------------------------------------------------

_MOST = 8
_READS = ("list", "get", "head")


def rerun(bench):
    """The task again, in a play."""
    with opened(bench) as cloud:
        path, bucket = f"{bench.path('importrerun')}/image.qcow2", cloud.bucket()
        random_image(path, 8 * MIB)
        task = {"ocne.images.ocne_oci_image_import": cloud.options(path, bucket)}
        play(bench, [task])
        cloud.control.forget()
        play(bench, [dict(task, register="again"), {"ansible.builtin.assert": {"that": ["again is not changed"]}}])
        told = cloud.control.counters()
        requests, others = len(told["requests"]), sorted(name for name in told["operations"] if name.split("_")[0] not in _READS)
        say(f"again: {told['operations']}")
        stat = {"ansible.builtin.stat": {"path": path, "get_checksum": False}}
        found = pairs(bench.pairs, lambda _to: play(bench, [task]), lambda _to: play(bench, [stat]), bench.path("importrerun-pairs"), "again, import")
    each = [ours - peer for ours, peer in zip(found.ours, found.peer)]
    what = f"not reads: {', '.join(others)}" if others else "all reads"
    yield Row("again, ocne_oci_image_import", "`stat` in the same play", f"{requests} requests, {what}; {spread(found.difference, each, ' s')} more",
              f"<= {_MOST} requests, all reads", requests <= _MOST and not others)
