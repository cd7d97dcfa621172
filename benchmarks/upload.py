# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An image file to the cloud: how fast, in how much memory and processor time, and through faults."""

from __future__ import annotations

import datetime
import json
import os
import secrets
import statistics
import sys

from bench import ROOT
from cloudlab import MIB, Child, Task, multipart_md5, opened, random_image, sparse_image
from measure import Fault, Pairs, Row, pairs, say, spread
from pods import faster
from tools import run
from watch import MARK, Watch

from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle.upload import PART_SIZE

_SIZE, _RATE = 512 * MIB, 10_000_000    # bytes; bytes a second of each connection
_LARGE = 4096 * MIB
_MEMORY = 256 * MIB
_PEER = f"{ROOT}/benchmarks/cloudpeer.py"


def _peer(kind, **arguments):
    return [sys.executable, _PEER, kind, json.dumps(arguments)]


# --- throughput --------------------------------------------------------------------------------------


class _Held:
    """An image to a cloud whose connections are slow: all of a task until the import has begun, and the peer's process."""

    def __init__(self, cloud, folder):
        self.cloud, self.bucket, self.path = cloud, cloud.bucket(), f"{folder}/image.qcow2"
        self.sha256 = random_image(self.path, _SIZE)
        self.object = None

    def ours(self, _folder):
        self.object = self.cloud.task(self.path, self.bucket, wait=False)["object"]["name"]

    def peer(self, _folder):
        about = self.cloud.about
        run(_peer("put", config=about["config"], ca=about["ca"], endpoint=about["endpoint"], namespace=about["namespace"], bucket=self.bucket, name="peer",
                  path=self.path))

    def same(self, *_folders):
        """Both objects have the bytes of the file."""
        self.cloud.control.set(rate=0)
        for name in (self.object, "peer"):
            if self.cloud.digests(self.bucket, name)[1] != self.sha256:
                raise Fault(f"the object {name} is not what was sent")
        self.cloud.control.set(rate=_RATE)

    def after(self, folder):
        """Nothing is there any more, and nothing goes on in the cloud."""
        if folder.endswith("ours"):
            # the image comes of the upload, and its object goes
            self.cloud.forget_image(self.cloud.task(self.path, self.bucket)["image_id"])
        elif f"{self.bucket}/peer" in self.cloud.control.left()["objects"]:
            self.cloud.storage.delete_object(self.cloud.namespace, self.bucket, "peer")


def _throughput(bench, cloud):
    held = _Held(cloud, bench.path("upload"))
    cloud.control.set(rate=_RATE)
    found = pairs(bench.pairs, held.ours, held.peer, bench.path("upload-pairs"), "upload", held.same, held.after)
    cloud.control.set(rate=0)
    left = cloud.leftovers(held.path, held.bucket)
    if left:
        raise Fault(f"uploads left behind: {', '.join(left)}")
    yield faster(found, f"upload of {_SIZE // MIB} MiB, each connection held to 10 MB/s", "one PutObject, as `ocne` does it", 4)


# --- memory and processor time -----------------------------------------------------------------------


def _sdk():
    """Bytes that the SDK's import alone takes."""
    code = "{}; print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    names = "import oci; oci.object_storage.ObjectStorageClient, oci.core.ComputeClient, oci.work_requests.WorkRequestClient, oci.identity.IdentityClient"
    with_it, without = (int(run([sys.executable, "-c", code.format(what)])) << 10 for what in (names, "pass"))
    return with_it - without


def _plain(cloud, bucket, path):
    """Seconds of processor time of the plain client."""
    import oci
    expires = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
    details = oci.object_storage.models.CreatePreauthenticatedRequestDetails(name="peer", access_type="ObjectWrite", object_name="peer", time_expires=expires)
    share = cloud.storage.create_preauthenticated_request(cloud.namespace, bucket, details).data
    child = cloud.start(Child(_peer("plain", ca=cloud.about["ca"], url=cloud.endpoint + share.access_uri, path=path)))
    if child.wait():
        raise Fault(f"the plain client failed: {child.said}")
    cloud.storage.delete_object(cloud.namespace, bucket, "peer")
    cloud.storage.delete_preauthenticated_request(cloud.namespace, bucket, share.id)
    return child.used


def _ours(cloud, bucket, path):
    """(seconds of processor time, bytes of memory at most) of a whole task, its import included. All its processes count, each at its own highest."""
    mark = secrets.token_hex(8)
    cloud.control.forget()
    with Watch(mark) as watch:
        task = cloud.start(Task(cloud.options(path, bucket), {MARK: mark}))
        answer = task.answer()
    if min(answer["uploaded"], cloud.control.counters()["bytes_in"]) < os.path.getsize(path):
        raise Fault("it did not send the file")
    cloud.forget_image(answer["image_id"])
    return task.used, sum(process.memory for process in watch.processes)


def _costs(bench, cloud):
    path, bucket = f"{bench.path('large')}/image.qcow2", cloud.bucket()
    sparse_image(path, _LARGE)
    memory, found = [], {"ours": [], "peer": []}
    for number in range(bench.pairs):
        for name in sorted(found, reverse=number % 2 == 1):
            if name == "peer":
                found[name].append(_plain(cloud, bucket, path))
            else:
                used, most = _ours(cloud, bucket, path)
                found[name].append(used)
                memory.append(most)
        say(f"upload of 4 GiB: {found['ours'][-1]:.2f} s of processor time, plain {found['peer'][-1]:.2f} s; {memory[-1] // MIB} MiB")
    left = cloud.leftovers(path, bucket)
    os.unlink(path)
    if left:
        raise Fault(f"uploads left behind: {', '.join(left)}")
    ratios = [most / _MEMORY for most in memory]
    yield Row("memory of all processes of a task that uploads and imports 4 GiB", f"256 MiB (the SDK's import alone takes {_sdk() // MIB})",
              spread(statistics.median(ratios), ratios), "<= 1", max(memory) <= _MEMORY)
    yield Pairs(**found).row("processor time of the same task", "MD5 and one plain `http.client` PUT over TLS", 1.2)


def rows(bench):
    """Throughput, memory and processor time."""
    with opened(bench) as cloud:
        yield from _throughput(bench, cloud)
        yield from _costs(bench, cloud)


# --- faults ------------------------------------------------------------------------------------------

_UPLOAD = 200 * MIB
_AT_ONCE, _BATCHES = 10, 5       # of a whole run; each pair is a batch
_SHARE = 0.3
#: of every request; a stall is longer than the client's patience
_KINDS = ("429", "500", "503", "reset", "lost_answer", "stall")
_PATIENCE, _STALL = 3, 5         # seconds
_UNDER_WAY = 60                  # seconds of an import while its object is looked at
#: only of what has a digest in its answer or bytes in its body
_DIGESTS = {"damage": ["upload_part"], "wrong_md5": ["upload_part", "commit_multipart_upload", "head_object"]}


def _faulty(cloud, seed):
    # one rule after the other is asked
    each = 1 - (1 - _SHARE) ** (1 / len(_KINDS))
    cloud.control.faults(*({"kind": kind, "share": each, **({"seconds": _STALL} if kind == "stall" else {})} for kind in _KINDS),
                         *({"kind": kind, "share": each, "operations": operations} for kind, operations in _DIGESTS.items()), seed=seed)


class _Batch:
    """Some images at once, each to a bucket of its own."""

    def __init__(self, cloud, folder, number):
        self.cloud, self._number = cloud, number
        self.files = {f"{folder}/{index}.qcow2": cloud.bucket() for index in range(_AT_ONCE)}
        self.sha256 = {path: random_image(path, _UPLOAD) for path in self.files}
        self.requests = self.faults = 0

    def through(self, **more):
        """{path: what a task has returned}, of a task for each image while requests fail."""
        self.cloud.control.forget()
        _faulty(self.cloud, self._number)
        tasks = {path: self.cloud.start(Task(self.cloud.options(path, bucket, read_timeout=_PATIENCE, **more))) for path, bucket in self.files.items()}
        # all, before the fault of one ends this
        for task in tasks.values():
            task.wait()
        self.cloud.control.faults()
        self.cloud.settle()
        told = self.cloud.control.counters()
        self.requests, self.faults = self.requests + sum(told["operations"].values()), self.faults + sum(told["faults"].values())
        return {path: task.answer() for path, task in tasks.items()}

    def check_objects(self, answers):
        for path, answer in answers.items():
            wanted = (multipart_md5(path, PART_SIZE), self.sha256[path])
            if self.cloud.digests(self.files[path], answer["object"]["name"]) != wanted:
                raise Fault("an object is not what was sent")

    def check_rest(self, answers):
        for path, answer in answers.items():
            if self.cloud.images(self.sha256[path]) != [answer["image_id"]]:
                raise Fault("an import came twice")
            left = self.cloud.leftovers(path, self.files[path])
            if left:
                raise Fault(f"left behind: {', '.join(left)}")
            self.cloud.forget_image(answer["image_id"])
            os.unlink(path)


def faults(bench):
    """Uploads while a third or so of all requests fail, and the imports and clean-ups after them."""
    done = requests = failed = 0
    words, against = f"uploads of {_UPLOAD // MIB} MiB while requests fail in all ways of the lab", "digests equal, one image each, nothing left behind"
    with opened(bench) as cloud:
        for number in range(min(bench.pairs, _BATCHES)):
            batch = _Batch(cloud, bench.path("uploadfaults"), number)
            try:
                # a run that asks twice for the import must not find it done: the object would be gone
                cloud.control.set(import_seconds=_UNDER_WAY)
                batch.check_objects(batch.through(wait=False))
                cloud.control.set(import_seconds=0.1)
                batch.check_rest(batch.through())
            except Fault as fault:
                yield Row(words, against, f"failed after {done}: {fault}", "all", False)
                return
            requests, failed, done = requests + batch.requests, failed + batch.faults, done + _AT_ONCE
            say(f"{done} uploads, {failed} of {requests} requests failed")
    if failed < 0.9 * _SHARE * requests:
        raise Fault(f"only {failed} of {requests} requests failed")
    yield Row(f"{done} {words}", against, f"all, with {failed} of {requests} requests failing ({100 * failed / requests:.0f} %)", "all", True)
