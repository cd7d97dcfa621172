# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab's stand-in for Oracle's cloud, and runs of ocne_oci_image_import against it, for rows about the cloud."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time

from bench import ROOT
from measure import Fault
from tools import run

from ansible_collections.ocne.images.plugins.module_utils.artifact.record import Record, write_record
from ansible_collections.ocne.images.plugins.module_utils.files.digests import sha256_file, stat_of

MIB = 1 << 20
_LAB = f"{ROOT}/tests/lab/oci"
_SERVICES = ("object_storage", "compute", "work_requests", "identity")
_CONTENT = "ocne-images/content"
#: the module in a process of its own; its arguments come as ansible-core hands them over
_START = """
import sys
from ansible.module_utils import basic
basic._ANSIBLE_ARGS, basic._ANSIBLE_PROFILE = sys.stdin.buffer.read(), "legacy"
from ansible_collections.ocne.images.plugins.modules.ocne_oci_image_import import main
main()
"""
_PATIENCE = 1200      # seconds after which a run of the module counts as hung
_QUIET = 0.5          # seconds in which nothing comes in any more
#: of the environment: what would win over the lab's own configuration
_FOREIGN = ("OCI_", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


class Child:
    """A process in a group of its own, begun. At its end `used` is known, seconds of processor time, and `said`, all that it wrote."""

    def __init__(self, command, text="", environ=()):
        self._out = tempfile.TemporaryFile()
        self._child = subprocess.Popen(command, env=dict(os.environ, **dict(environ)), stdin=subprocess.PIPE, stdout=self._out, stderr=self._out,
                                       start_new_session=True)
        self._child.stdin.write(text.encode())
        self._child.stdin.close()
        self.used, self.said, self._deadline = None, None, time.monotonic() + _PATIENCE

    @property
    def status(self):
        """Its exit status; None as long as it runs."""
        if self._child.returncode is None:
            pid, status, usage = os.wait4(self._child.pid, os.WNOHANG)
            if pid:
                self._child.returncode, self.used = os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime
                with self._out as out:
                    out.seek(0)
                    self.said = out.read().decode(errors="replace").strip()
        return self._child.returncode

    def kill(self):
        """All of its processes at once, with -9."""
        if self.status is None:
            os.killpg(self._child.pid, signal.SIGKILL)
            self.wait()

    def wait(self):
        while self.status is None:
            if time.monotonic() > self._deadline:
                os.killpg(self._child.pid, signal.SIGKILL)
            time.sleep(0.005)
        return self.status


class Task(Child):
    """A run of the module."""

    def __init__(self, options, environ=()):
        super().__init__([sys.executable, "-c", _START], json.dumps({"ANSIBLE_MODULE_ARGS": options}), environ)

    def answer(self):
        """What it returns, at its end. Raises Fault where it failed."""
        status = self.wait()
        if not self.said.startswith("{"):
            raise Fault(f"the module ended with {status}: {self.said[-1000:]}")
        found = json.loads(self.said)
        if found.get("failed"):
            raise Fault(f"the module failed: {found['msg']}")
        return found


class Cloud:
    """An endpoint with its switches (`control`), a bucket of it, and clients of the SDK that know nothing of our code."""

    def __init__(self, bench):
        sys.path.append(_LAB)
        self._state = bench.path("cloud")
        self.about = json.loads(run([sys.executable, f"{_LAB}/main.py", "up", "--state", self._state]))
        from endpoint.client import Control
        self.control = Control(self.about["control"])
        self.namespace, self.compartment = self.about["namespace"], self.about["compartments"]["images"]
        self.endpoint = self.about["endpoint"]
        self.control.set(page_size=1000, import_seconds=0.1)
        self._started = []

    def close(self):
        for child in self._started:
            child.kill()
        told = self.control.left()["faults_of_the_lab"]
        run([sys.executable, f"{_LAB}/main.py", "down", "--state", self._state, "--purge"])
        if told:
            raise Fault(f"the lab itself failed: {told}")

    # --- clients -------------------------------------------------------------------------------------

    def _client(self, kind):
        import oci
        made = kind(oci.config.from_file(self.about["config"]), service_endpoint=self.endpoint, timeout=(10, 60),
                    retry_strategy=oci.retry.NoneRetryStrategy(), circuit_breaker_strategy=oci.circuit_breaker.NoCircuitBreakerStrategy())
        made.base_client.session.verify, made.base_client.session.trust_env = self.about["ca"], False
        return made

    @property
    def storage(self):
        import oci
        return self._client(oci.object_storage.ObjectStorageClient)

    @property
    def compute(self):
        import oci
        return self._client(oci.core.ComputeClient)

    def bucket(self):
        """The name of a new bucket."""
        import oci
        name = f"bench-{secrets.token_hex(4)}"
        self.storage.create_bucket(self.namespace, oci.object_storage.models.CreateBucketDetails(name=name, compartment_id=self.compartment))
        return name

    # --- runs ----------------------------------------------------------------------------------------

    def options(self, path, bucket, **more):
        """The options of a task that makes an image of a file; but for how to reach the lab, and how often to ask for an import of seconds, the defaults."""
        return {"config_file_location": self.about["config"], "cert_bundle": self.about["ca"],
                "service_endpoints": dict.fromkeys(_SERVICES, self.endpoint), "src": path, "architecture": "amd64", "bucket": bucket,
                "compartment": self.compartment, "wait_interval": 1, **more}

    def as_instance(self, options):
        """(options, environment) of the same task as an instance runs it, for which the cloud reads no object by its name."""
        mine = {name: value for name, value in options.items() if name != "config_file_location"}
        mine.update(auth_type="instance_principal", service_endpoints=dict(options["service_endpoints"], auth=self.about["federation"]))
        # a configuration file at home would be somebody else's
        return mine, {"OCI_METADATA_BASE_URL": self.about["metadata"] + "/opc/v2", "HOME": self._state}

    def start(self, child):
        """A Child that does not outlive this."""
        self._started = [one for one in self._started if one.status is None] + [child]
        return child

    def task(self, path, bucket, **more):
        """What a task returns."""
        return self.start(Task(self.options(path, bucket, **more))).answer()

    # --- what is there -------------------------------------------------------------------------------

    def images(self, content):
        """The OCIDs of all images of a content that there ever were."""
        client, found = self.compute, []
        for state in (None, "DELETED"):
            found += client.list_images(self.compartment, **({"lifecycle_state": state} if state else {})).data
        return [image.id for image in found if image.freeform_tags.get(_CONTENT) == content]

    def forget_image(self, identity):
        """Remove an image, so that the next run makes another."""
        self.compute.delete_image(identity)

    def settle(self):
        """Wait until nothing of a client that is gone comes in any more."""
        before = None
        while before != (before := self._came()):
            time.sleep(_QUIET)

    def _came(self):
        told = self.control.counters()
        return told["bytes_in"], told["operations"], told["parts"]

    def leftovers(self, path, *buckets):
        """What imports of a file have left behind, in words; [] is as it should be."""
        told = self.control.left()
        found = [f"{kind[:-1]} {one}" for kind in ("objects", "uploads") for one in told[kind] if one.partition("/")[0] in buckets]
        found += [f"pre-authenticated request {name}" for bucket in buckets for name in
                  (one.name for one in self.storage.list_preauthenticated_requests(self.namespace, bucket).data)]
        return found + glob.glob(f"{glob.escape(os.path.dirname(path))}/.{glob.escape(os.path.basename(path))}.*")

    def digests(self, bucket, name):
        """(the digest that the cloud tells of an object, SHA-256 of its bytes as they are read back)."""
        answer, made = self.storage.get_object(self.namespace, bucket, name), hashlib.sha256()
        for data in answer.data.raw.stream(MIB, decode_content=False):
            made.update(data)
        return answer.headers.get("opc-multipart-md5") or answer.headers.get("content-md5"), made.hexdigest()


@contextlib.contextmanager
def opened(bench):
    """An endpoint of this row's own, with nothing in it."""
    before = dict(os.environ)
    try:
        import oci  # noqa: F401
    except ImportError as error:
        raise Fault(f"Oracle's SDK (the Python package oci) is not there: {error}") from error
    for name in [name for name in os.environ if name.startswith(_FOREIGN)]:
        del os.environ[name]
    os.environ.update(no_proxy="localhost,127.0.0.1", NO_PROXY="localhost,127.0.0.1")
    cloud = Cloud(bench)
    try:
        yield cloud
    finally:
        try:
            cloud.close()
        finally:
            os.environ.clear()
            os.environ.update(before)


# --- images ------------------------------------------------------------------------------------------


def random_image(path, size):
    """A sound qcow2 with so many bytes that no compression makes smaller, and the record that ocne_image_customize leaves. Returns its SHA-256."""
    with tempfile.NamedTemporaryFile(dir=os.path.dirname(path)) as raw:
        for _number in range(size // MIB):
            raw.write(os.urandom(MIB))
        raw.flush()
        run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw.name, path])
    return _record(path, size)


def sparse_image(path, size):
    """A sound qcow2 with so many bytes of zeros, which are in it as clusters and not on the disk; its record, too. Returns its SHA-256."""
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", "preallocation=metadata", path, str(size)])
    return _record(path, size)


def _record(path, size):
    digest = sha256_file(path)[0]
    # nobody else's recipe: the lab's images are known by it
    write_record(path, Record("ocne_image_customize", {"sha256": secrets.token_hex(32)}, {}, digest, "qcow2", size, {}, stat_of(path)))
    return digest


def multipart_md5(path, part_size):
    """What the cloud tells of an object that came in parts, by hashlib alone."""
    digests = []
    with open(path, "rb") as file:
        while data := file.read(part_size):
            digests.append(hashlib.md5(data).digest())
    return _base64(hashlib.md5(b"".join(digests)).digest()) + f"-{len(digests)}"


def _base64(data):
    import base64
    return base64.b64encode(data).decode()
