# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Work: one boot image in, customized boot images out, all in one launch of the appliance."""

from __future__ import annotations

import contextlib
import dataclasses
import os

from ..common import advice
from ..common.background import Background
from ..common.errors import ImageError
from ..files import digests, space
from ..files.copying import copy
from .disk import headers, qemu_img
from .guest import recipe
from .guest.appliance import Disk, appliance
from .guest.edit import Editor
from .guest.partitions import make_mountpoints
from .job import Artifact, Input, Result, load_options

#: bytes an edit writes at most, beside files and configurations: the logs of two xfs file systems, written anew with their UUIDs, and metadata
GROWTH = 160 << 20
_DEVICES = 24                  # disks of one appliance: /dev/sda to /dev/sdx


READS_ONLY = False   # whether it makes nothing, in any mode


@dataclasses.dataclass
class Options:
    src: str
    src_format: str            # qcow2 or raw
    outputs: list              # of Output, as dictionaries
    read_path: str = None         # where to read the source, if not at src (artifact.source.HeldOpen)


@dataclasses.dataclass
class Output:
    name: str                  # the destination, for messages and as the name of its Artifact
    recipe: dict               # recipe.Recipe, as a dictionary
    uuids: dict                # new ones for "boot" and "root", or empty
    staging: str = None        # a folder of its own on the file system of its destination; default: one in the Job's


class _Build:
    """One output on its way from the source to a finished file."""

    def __init__(self, output, source):
        self.name = output.name
        self.recipe = recipe.load(output.recipe)
        self.uuids = output.uuids
        self._source = source
        self._folder = output.staging
        self._keep = self.recipe.compression == "keep"
        self.format = source.format if self._keep else "qcow2"
        self._disk = os.path.join(self._folder, f"image.{source.format}" if self._keep else "overlay.qcow2")
        self.values = None

    def prepare(self, progress):
        """Make the disk to edit: a copy whose clusters stay as they are, or an overlay to flatten. Returns a Disk. Raises ImageError."""
        self.discard()
        # the logs only where they are written anew; a file that is large may be stored twice, in its overlay and in the image
        needed = (GROWTH if self.uuids else GROWTH // 10) + sum(item.size for item in self.recipe.files) + len(self.recipe.ignition_config or "")
        if self.recipe.compression in ("keep", "none"):
            needed = self._source.allocated_size + needed * (1 if self._keep else 2)
        space.check_space(self._folder, needed, "the customized image")
        if self._keep:
            copy(self._source.path, self._disk, progress)
        else:
            qemu_img.overlay(self._disk, self._source.path, self._source.format, self.name)
        return Disk(self._disk, self.format if self._keep else "qcow2")

    def discard(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._disk)

    def finish(self, progress):
        """The Artifact, checked, hashed and on the disk. Raises ImageError."""
        path = self._disk
        if not self._keep:
            path = os.path.join(self._folder, "image.qcow2")
            self._flatten(path, progress)
            self.discard()
        progress.phase("check")
        facts = headers.read_header(path, self.format, self.name)
        hashing = Background(lambda: digests.digest_file(path, digests.SPARSE_PREFIX if facts.full_length else ""))
        syncing = Background(lambda: digests.sync_file(path))
        if facts.virtual_size != self._source.virtual_size:
            raise ImageError("the size that the guest sees has changed", self.name, "this is a defect of qemu-img: choose another compression")
        qemu_img.check(path, self.format, where=self.name)
        syncing.result()
        digest = hashing.result()
        progress.finish()
        return Artifact(self.name, path, self.format, os.path.getsize(path), digest, facts.virtual_size, values=self.values)

    def _flatten(self, path, progress):
        progress.phase("write image", 100, "percent")
        qemu_img.convert(self._disk, "qcow2", path, "qcow2", self._source.virtual_size, progress, qemu_img.compressed(self.recipe.compression),
                         self.name, "writing the customized image")
        progress.finish()


def needs_guestfs(_options):
    """Whether the libguestfs binding is used."""
    return True


def inputs(options):
    """The files of the module host that the options name: a list of job.Input."""
    files = [item for output in options["outputs"] for item in output["recipe"]["files"] if item["src"] is not None]
    return [Input(options, "src", options["src_format"]), *(Input(item, "src") for item in files)]


def base_of(options, name):
    """The image, as an Input's path, that an artifact differs little from, or None."""
    kept = any(output["name"] == name and output["recipe"]["compression"] == "keep" for output in options["outputs"])
    return options["src"] if kept else None


def run(job, progress):
    """One Artifact per output, by its name; what could not be made is in failures. Raises ImageError where nothing could be made."""
    options = load_options(Options, job.options)
    source = headers.read_header(options.read_path or options.src, options.src_format, options.src)
    before = digests.stat_of(source.path)
    # where another process writes to it, its lock says so
    qemu_img.info(source.path, source.format, where=source.where)
    builds = []
    for number, output in enumerate(options.outputs):
        output = load_options(Output, output)
        if output.staging is None:
            output.staging = os.path.join(job.staging, str(number))
            os.makedirs(output.staging, exist_ok=True)
        builds.append(_Build(output, source))
    result, errors = Result(), {}
    for start in range(0, len(builds), _DEVICES):
        edited = _edit(builds[start:start + _DEVICES], job.staging, progress, errors)
        for build in edited:
            try:
                result.artifacts.append(build.finish(progress))
            except ImageError as error:
                errors[build.name] = error
    if not digests.same_content(before, digests.stat_of(source.path)):
        raise ImageError("the source image was changed while it was read", source.where, advice.RUN_AGAIN_UNDISTURBED)
    if errors and not result.artifacts and len({str(error) for error in errors.values()}) == 1:
        raise next(iter(errors.values()))
    result.failures = {name: error.as_dict() for name, error in errors.items()}
    return result


def _edit(builds, scratch, progress, errors):
    """Prepare and edit builds in one appliance; returns those that went well, the others are in errors.

    An appliance that ends early takes all its disks with it: then each gets one of its own, so that one's fault spoils no other.
    """
    try:
        return _edit_together(builds, scratch, progress, errors)
    except ImageError as error:
        if len(builds) == 1:
            builds[0].discard()
            errors[builds[0].name] = error
            return []
    for build in builds:
        build.discard()
    return [done for build in builds if build.name not in errors for done in _edit([build], scratch, progress, errors)]


def _edit_together(builds, scratch, progress, errors):
    prepared, disks, syncing = [], [], []
    for build in builds:
        try:
            disks.append(build.prepare(progress))
            prepared.append(build)
            # what the copies have left in memory goes to the disk while the appliance starts
            syncing.append(Background(lambda path=disks[-1].path: digests.sync_file(path)))
        except ImageError as error:
            build.discard()
            errors[build.name] = error
    if not prepared:
        return []
    edited = []
    with appliance(disks, scratch, progress) as g:
        make_mountpoints(g)
        progress.phase("customize", len(prepared), "steps")
        for number, build in enumerate(prepared):
            try:
                build.values = Editor(g, f"/dev/sd{chr(ord('a') + number)}", build.recipe, build.uuids).run()
                edited.append(build)
            except ImageError as error:
                try:
                    g.umount_all()
                except RuntimeError:
                    # the appliance has gone: its own words are in the first error
                    raise error from None
                errors[build.name] = ImageError(error.what, error.where or build.name, error.todo, **error.details)
            progress.update(number + 1)
        progress.finish()
        for sync in syncing:
            sync.result()
    for build in prepared:
        if build not in edited:
            build.discard()
    return edited
