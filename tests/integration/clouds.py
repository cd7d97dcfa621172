# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab's stand-in for Oracle's cloud, for plays: where it is, and Oracle's own command line to prepare and to look at what is in it."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import time

from endpoint.client import Control
from plays import ROOT, VENVS

LAB = ROOT / "tests/lab/oci"
OCI = VENVS / "oci-cli/bin/oci"
#: seconds that an import in the lab may take on a busy machine
_PATIENCE = 120


class Cloud:
    """One endpoint. It is shared: each test has names of its own in it, and leaves its switches alone. about: what `oci/up` tells."""

    def __init__(self, about):
        self.about, self.control = about, Control(about["control"])
        self.namespace, self.region, self.compartments = about["namespace"], about["region"], about["compartments"]

    def options(self, **more):
        """The options of a task that reach it."""
        return {"config_file_location": self.about["config"], "cert_bundle": self.about["ca"],
                "service_endpoints": dict.fromkeys(("object_storage", "compute", "work_requests", "identity"), self.about["endpoint"]), **more}

    def cli(self, *argv):
        """What oci-cli says, `data` of it; None where it says nothing."""
        environment = dict(os.environ, SUPPRESS_LABEL_WARNING="True", OCI_CLI_SUPPRESS_FILE_PERMISSIONS_WARNING="True", NO_PROXY="localhost",
                           # the bundle of the environment wins over its own option
                           REQUESTS_CA_BUNDLE=self.about["ca"], CURL_CA_BUNDLE=self.about["ca"])
        command = [OCI, "--config-file", self.about["config"], "--cert-bundle", self.about["ca"], "--endpoint", self.about["endpoint"], *map(str, argv)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout).get("data") if done.stdout.strip() else None

    def bucket(self, compartment="images"):
        """The name of a new bucket."""
        name = f"t-{secrets.token_hex(4)}"
        self.cli("os", "bucket", "create", "-ns", self.namespace, "--name", name, "--compartment-id", self.compartments[compartment])
        return name

    def left(self, bucket):
        """The objects and unfinished uploads in a bucket."""
        told = self.control.left()
        return [name for kind in ("objects", "uploads") for name in told[kind] if name.startswith(bucket + "/")]

    def image(self, disk, name, compartment="images", tags=None):
        """The OCID of a new image that is AVAILABLE, of a qcow2 file."""
        bucket = self.bucket(compartment)
        self.cli("os", "object", "put", "-ns", self.namespace, "-bn", bucket, "--file", disk, "--name", "disk")
        made = self.cli("compute", "image", "import", "from-object", "-ns", self.namespace, "-bn", bucket, "--name", "disk", "--compartment-id",
                        self.compartments[compartment], "--display-name", name, "--source-image-type", "QCOW2")["id"]
        deadline = time.monotonic() + _PATIENCE
        while True:
            state = self.cli("compute", "image", "get", "--image-id", made)["lifecycle-state"]
            if state == "AVAILABLE":
                break
            assert state != "DELETED" and time.monotonic() < deadline, state
        if tags:
            self.cli("compute", "image", "update", "--image-id", made, "--freeform-tags", json.dumps(tags), "--force")
        return made

    def schema(self, image, compartment="images", **values):
        """Give an image a capability schema, of one value each: schema(image, **{"Compute.Firmware": "UEFI_64"})."""
        version = self.cli("compute", "global-image-capability-schema", "list")[0]["current-version-name"]
        data = {name: {"descriptorType": "enumstring", "source": "IMAGE", "defaultValue": value, "values": [value]} for name, value in values.items()}
        self.cli("compute", "image-capability-schema", "create", "--compartment-id", self.compartments[compartment], "--image-id", image,
                 "--global-image-capability-schema-version-name", version, "--schema-data", json.dumps(data))


def lab(name, state, *arguments):
    """The output of one of the lab's commands."""
    return subprocess.run([LAB / name, "--state", state, *arguments], stdout=subprocess.PIPE, text=True, check=True).stdout


def up(state):
    """Start it, unless it runs; the Cloud."""
    return Cloud(json.loads(lab("up", state)))


def down(state):
    """Stop it and forget what is in it."""
    lab("down", state, "--purge")
