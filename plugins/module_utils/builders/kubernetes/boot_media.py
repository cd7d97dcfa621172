# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Boot media images as sources of work in a builder pod: what a cluster needs to mount one, and the pod to pull it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import tempfile

from ...artifact.record import load_record
from ...files.digests import stat_of
from ...platforms.architectures import image_name
from ...work.containers import logins, reference
from ...work.containers.policy import accepts_everything
from ...work.containers.skopeo import Registry, check_files
from ...work.job import load_options

KIND = "boot_image"                  # of the work that gets a disk out of one
_MODULE = "ocne_boot_image"          # in records
#: the API server's statuses for a pod that it does not take as it is: unknown kind of volume, Pod Security
_NOT_TAKEN = (400, 403, 422)


@dataclasses.dataclass
class Source:
    """One image for one architecture."""

    reference: str         # host/repository@digest of the manifest, as a cluster names images
    architecture: str      # one of architectures.NAMES
    login: dict            # an auth file's content with the login that the registry wants, or None
    options: dict          # of the work that gets its disk
    values: dict           # what that work tells of it
    sha256: str = None     # of the disk, where that is known

    def fits(self, mounted, machine):
        """Whether it is what a pod has mounted, on a node of its architecture. machine: as the node's kernel names that."""
        # by an index a node gets the disk of its own architecture, and not all runtimes mount others
        return self.reference == mounted and image_name(machine) == self.architecture

    def known(self, digests):
        """Whether its disk is there already, as the digests of index and manifest tell."""
        return not {self.values["image_digest"], self.values["manifest_digest"]}.isdisjoint(digests)

    def mounted_at(self, path):
        """The options of the work where it is mounted."""
        return dict(self.options, registry={}, mounted={"path": path, "values": self.values})


def in_registry(job):
    """Whether a Job is to get a disk out of an image in a registry."""
    return job.kind == KIND and reference.parse(job.options["source"]).transport == "docker"


def of_job(options, run_locally):
    """The Source that the options of a Job name. run_locally(options): the values of that work in check mode. Raises ImageError."""
    image = reference.parse(options["source"])
    registry = load_options(Registry, options["registry"])
    check_files(registry)
    values = run_locally(dict(options, known=[], retries=0, describe=True))
    values.pop("changed")
    return Source(f"{image.name}@{values['manifest_digest']}", options["architecture"], logins.only(registry, image), options, values)


def of_record(path):
    """The Source that the artifact at `path` came from, as its record says; None where it came from no registry. Asks nobody."""
    record = load_record(path)
    try:
        if not record or record.kind != _MODULE or record.stat != stat_of(path):
            return None
    except OSError:
        return None
    image, digest = reference.parse(record.source["reference"]), record.values["manifest_digest"]
    if image.transport != "docker":
        return None
    registry = load_options(Registry, record.access)
    options = dict(record.options, source=image.pinned(digest), registry=dict(record.access), retries=0, known=[])
    values = {name: record.values[name] for name in ("image_digest", "manifest_digest", "layer_digest", "labels")}
    return Source(f"{image.name}@{digest}", options["architecture"], logins.only(registry, image), options, values, record.sha256)


def may_be_mounted(source):
    """Whether nobody's signature policy wants to see the image as it is pulled."""
    return accepts_everything(reference.parse(source.options["source"]), source.options["registry"].get("policy"))


def not_mountable(error, source):
    """Whether a pod was not made, or does not start, because of the image it was to mount."""
    if error.details.get("waiting"):
        return source.reference in error.what or "pulled" not in error.what
    return error.details.get("status") in _NOT_TAKEN or error.details.get("mountable") is False


@contextlib.contextmanager
def to_be_carried(options):
    """The options of the work, with no other login than that of its registry, in a file."""
    registry = dict(options["registry"])
    check_files(load_options(Registry, registry))
    login = logins.only(load_options(Registry, registry), reference.parse(options["source"]))
    for name in ("username", "password", "auth_file"):
        registry.pop(name, None)
    with tempfile.NamedTemporaryFile("w", prefix="ocne-images-", encoding="utf-8") as file:
        if login:
            json.dump(login, file)
            file.flush()
            registry["auth_file"] = file.name
        yield dict(options, registry=registry)
