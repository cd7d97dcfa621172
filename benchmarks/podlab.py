# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab's cluster, for rows about builder pods."""

from __future__ import annotations

import contextlib
import json
import secrets
import subprocess

from bench import ROOT
from measure import Fault
from plays import play
from tools import run

LAB = f"{ROOT}/tests/lab/cluster"
IMAGE = "10.244.0.1:5000/ocne/builder:latest"


class Cluster:
    """The lab's cluster, a namespace on it and a builder there."""

    def __init__(self, bench):
        self.bench, self.name = bench, f"bench-{secrets.token_hex(3)}"
        self.known = json.loads(run([f"{LAB}/up"]))
        run([f"{LAB}/builder-image"])
        self.images = {tag: image["plain"] for tag, image in json.loads(run([f"{LAB}/push"])).items()}
        self.kubeconfig = json.loads(run([f"{LAB}/namespace", self.name]))["kubeconfig"]

    def close(self):
        run([f"{LAB}/ctl", "delete", "namespace", self.name, "--wait=false"])
        if self.known["started"]:
            run([f"{LAB}/down"])

    def options(self, **more):
        return dict({"namespace": self.name, "kubeconfig": self.kubeconfig, "image": IMAGE}, **more)

    def builder(self, **more):
        return self.options(type="pod", **more)

    def play(self, tasks, extra=None):
        play(self.bench, tasks, extra, within=[f"{LAB}/enter"])

    def ctl(self, *arguments, **options):
        if "input" not in options:
            options["stdin"] = subprocess.DEVNULL
        return subprocess.run([f"{LAB}/ctl", "-n", self.name, *arguments], check=True, stderr=subprocess.DEVNULL, **options)

    def pod(self):
        return json.loads(self.ctl("get", "pods", "-l", "ocne.images/builder=bench", "-o", "json", stdout=subprocess.PIPE).stdout)[
            "items"][0]["metadata"]["name"]


@contextlib.contextmanager
def opened(bench):
    """The lab's cluster with a namespace of this run; a cluster that was started for it is stopped."""
    try:
        cluster = Cluster(bench)
    except Fault as error:
        raise Fault(f"this machine has no cluster: {error}") from error
    try:
        yield cluster
    finally:
        cluster.close()


def job(cluster, folder, **more):
    """The variables of the main job."""
    return {"oci_image_source": cluster.images["1.33"], "oci_image_registry": {"verify": False}, "oci_image_directory": folder,
            "oci_image_architecture": "amd64", **more}
