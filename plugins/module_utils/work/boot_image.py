# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Work: the disk out of a boot media image."""

from __future__ import annotations

import dataclasses
import os

from ..common.errors import ImageError
from .containers import mounted_image, reference
from .containers.image import open_image, resolve
from .containers.layers import Extraction, inside
from .containers.policy import accepts_everything
from .containers.skopeo import FILES, Registry, Skopeo
from .disk.headers import read_header
from .job import Artifact, Input, Result, load_options

READS_ONLY = False   # whether it makes nothing, in any mode


@dataclasses.dataclass
class Recipe:
    """What decides which disk it is, beside the image."""

    architecture: str          # as images name it (platforms/architectures)
    path: str                  # of the disk inside the image
    format: str                # of the disk


@dataclasses.dataclass
class Options:
    source: str                # as the user wrote it, with a transport
    architecture: str          # these three as in a Recipe
    path: str
    format: str
    registry: dict             # skopeo.Registry's fields
    retries: int
    known: list = dataclasses.field(default_factory=list)   # digests (of index and manifest) of the image whose disk is there already
    describe: bool = False     # in check mode: tell all that is known of the image without its layers
    mounted: dict = None       # where the cluster has mounted the image: {"path": folder, "values": as `describe` told them}


def needs_guestfs(_options):
    """Whether the libguestfs binding is used."""
    return False


def inputs(options):
    """The files of the module host that the options name: a list of job.Input."""
    image, registry = reference.parse(options["source"]), options["registry"]
    found = [Input(registry, key) for key in FILES if registry.get(key)]
    if image.archive:
        options["source"] = image.text   # with an absolute path
        before = f"{image.transport}:"
        found.append(Input(options, "source", before=before, after=image.text[len(before) + len(image.archive):]))
    elif image.transport != "docker":
        raise ImageError(f"what {image.transport} names is on the module host, and cannot be sent to a builder pod", image.text,
                         "copy it to an archive first (skopeo copy ... oci-archive:FILE)")
    return found


def base_of(_options, _name):
    """The image, as an Input's path, that an artifact differs little from, or None."""
    return None


def run(job, progress):
    """One artifact, or none where the image, or its part for the architecture, is `known` (values["changed"] tells). Raises ImageError."""
    options = load_options(Options, job.options)
    image, path = reference.parse(options.source), os.path.join(job.staging, "disk")
    if options.mounted:
        values = dict(options.mounted["values"], changed=True)
        sha256, size = mounted_image.take(options.mounted["path"], inside(options.path), path, image.text, progress)
        return _finished(options, image, path, sha256, size, values)
    with Skopeo(image, load_options(Registry, options.registry), job.staging, options.architecture, options.retries, progress) as skopeo:
        resolved = resolve(skopeo)
        values = {"image_digest": resolved.digest, "changed": not {resolved.digest, *(resolved.platforms or [])} & set(options.known)}
        if options.describe:
            values.update(_described(skopeo, resolved))
        if job.check or not values["changed"]:
            return Result([], values)
        extraction, more = skopeo.persist(lambda: _pull(skopeo, resolved, options, path, progress))
        values.update(more)
    return _finished(options, image, path, extraction.sha256, extraction.size, values)


def _finished(options, image, path, sha256, size, values):
    facts = read_header(path, options.format, where=f"{image.text}, {options.path}")
    return Result([Artifact("disk", path, options.format, size, sha256, facts.virtual_size)], values)


def _described(skopeo, resolved):
    """What is told of an image, from its manifest and configuration. Raises ImageError where the signature policy has a word in it."""
    if not accepts_everything(skopeo.reference, skopeo.registry.policy):
        raise ImageError("the signature policy (policy.json) must see the image as it is pulled", skopeo.reference.text, "let source_transfer be pull")
    with open_image(skopeo, resolved) as (_image, digest, manifest, config):
        layers = manifest.get("layers") or []
        # which of several layers has the disk is only known to those who read them
        return {"manifest_digest": digest, "layer_digest": layers[0]["digest"] if len(layers) == 1 else None, "labels": _labels(config)}


def _labels(config):
    return (config.get("config") or {}).get("Labels") or {}


def _pull(skopeo, resolved, options, path, progress):
    with open_image(skopeo, resolved) as (image, digest, manifest, config):
        extraction = Extraction(image, manifest, config, options.path, path, skopeo.reference.text, progress)
        extraction.extract()
    return extraction, {"manifest_digest": digest, "layer_digest": extraction.layer_digest, "labels": _labels(config)}
