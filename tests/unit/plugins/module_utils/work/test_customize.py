# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One image in, customized images out. The appliance is none: an edit writes to the disk as it lies there."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import subprocess

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError, Interrupted
from ansible_collections.ocne.images.plugins.module_utils.common.progress import silent
from ansible_collections.ocne.images.plugins.module_utils.files import digests, space
from ansible_collections.ocne.images.plugins.module_utils.work import customize
from ansible_collections.ocne.images.plugins.module_utils.work.disk import qemu_img
from ansible_collections.ocne.images.plugins.module_utils.work.guest.recipe import File, Recipe
from ansible_collections.ocne.images.plugins.module_utils.work.job import Job

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="qemu-img is not installed")
SIZE = 3 << 20


class Appliance:
    """launches: the disks of each; edit(path, output's recipe) is what an edit does, dies(disks) whether the appliance ends early."""

    def __init__(self, monkeypatch):
        self.launches, self.umounts, self.edit, self.dies = [], 0, self.write, lambda disks: False
        monkeypatch.setattr(customize, "appliance", self.appliance)
        monkeypatch.setattr(customize, "Editor", self.Editor(self))

    @staticmethod
    def write(path, recipe):
        """Into the first bytes that the guest sees, by qemu-io: the format of the disk is its own business."""
        kind = "raw" if path.endswith(".raw") else "qcow2"
        subprocess.run(["qemu-io", "-f", kind, "-c", "write -P 7 0 512", path], check=True, stdout=subprocess.DEVNULL)

    @contextlib.contextmanager
    def appliance(self, disks, scratch, progress):
        self.launches.append([disk.path for disk in disks])
        assert os.path.isdir(scratch) and all(os.path.exists(disk.path) and not disk.readonly for disk in disks)
        yield self
        if self.dies(disks):
            raise ImageError("image work in the libguestfs appliance failed: it ended early")

    def mkmountpoint(self, path):
        pass

    def umount_all(self):
        self.umounts += 1

    class Editor:
        def __init__(self, appliance):
            self.appliance = appliance

        def __call__(self, g, device, recipe, uuids):
            self.todo = (self.appliance.launches[-1][ord(device[-1]) - ord("a")], recipe)
            return self

        def run(self):
            self.appliance.edit(*self.todo)
            return {"uuids": {}}


@pytest.fixture
def appliance(monkeypatch):
    return Appliance(monkeypatch)


@pytest.fixture
def src(tmp_path):
    raw = tmp_path / "content.raw"
    raw.write_bytes(os.urandom(200_000))
    os.truncate(raw, SIZE)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", raw, tmp_path / "src.qcow2"], check=True)
    return tmp_path / "src.qcow2"


def output(name, staging=None, **recipe):
    return {"name": name, "recipe": dataclasses.asdict(Recipe(**recipe)), "uuids": {}, "staging": staging}


def run(src, *outputs, **options):
    staging = src.parent / "staging"
    staging.mkdir(exist_ok=True)
    job = Job("customize", dict({"src": str(src), "src_format": "qcow2", "outputs": list(outputs)}, **options), str(staging))
    return customize.run(job, silent())


def left(src):
    return sorted(str(path.relative_to(src.parent / "staging")) for path in (src.parent / "staging").rglob("*") if path.is_file())


def content(path):
    """What a guest sees."""
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, f"{path}.content"], check=True)
    with open(f"{path}.content", "rb") as file:
        return file.read()


def expected(src):
    return b"\7" * 512 + (src.parent / "content.raw").read_bytes()[512:]


@pytest.mark.skipif(not shutil.which("qemu-io"), reason="qemu-io is not installed")
@pytest.mark.parametrize("compression", ["keep", "none", "zlib", "zstd"])
def test_the_edited_image(src, appliance, compression):
    before = src.read_bytes()
    made, = run(src, output("/srv/disk", compression=compression)).artifacts
    assert (made.name, made.format, made.virtual_size, made.values) == ("/srv/disk", "qcow2", SIZE, {"uuids": {}})
    assert (made.sha256, made.size) == digests.sha256_file(made.path)
    assert "backing-filename" not in qemu_img.info(made.path, "qcow2")
    assert left(src) == [os.path.relpath(made.path, src.parent / "staging")]
    assert content(made.path) == expected(src) and src.read_bytes() == before


@pytest.mark.skipif(not shutil.which("qemu-io"), reason="qemu-io is not installed")
def test_a_raw_image_stays_one(src, appliance, tmp_path):
    made, = run(tmp_path / "content.raw", output("disk"), src_format="raw").artifacts
    assert made.format == "raw" and made.sha256 == digests.sparse_digest(made.path)
    assert open(made.path, "rb").read() == expected(src)


def test_each_output_has_its_own_folder(src, appliance, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    appliance.edit = lambda path, recipe: None
    result = run(src, output("a"), output("b", str(tmp_path / "elsewhere")), output("c"))
    assert [os.path.dirname(item.path) for item in result.artifacts] == [f"{tmp_path}/staging/0", f"{tmp_path}/elsewhere", f"{tmp_path}/staging/2"]
    assert len(appliance.launches) == 1 and result.failures == {}


def fail_for(platform, what="it does not work"):
    def edit(path, recipe):
        if recipe.ignition_platform == platform:
            raise ImageError(what, todo="mend it", fact=1)
    return edit


def test_one_that_fails_spoils_no_other(src, appliance):
    appliance.edit = fail_for("bad")
    result = run(src, output("a"), output("b", ignition_platform="bad"), output("c"))
    assert [item.name for item in result.artifacts] == ["a", "c"]
    assert result.failures == {"b": {"what": "it does not work", "where": "b", "todo": "mend it", "details": {"fact": 1}}}
    assert left(src) == ["0/image.qcow2", "2/image.qcow2"] and appliance.umounts == 1


def test_where_all_fail_for_one_reason_it_is_that(src, appliance):
    appliance.edit = fail_for(None, "the image has no partition named root")
    with pytest.raises(ImageError, match="a: the image has no partition named root; mend it"):
        run(src, output("a"))
    assert left(src) == []


def test_an_appliance_that_ends_early_is_one_s_own_fault(src, appliance):
    spoilt = src.parent / "staging/1/image.qcow2"
    appliance.dies = lambda disks: any(disk.path == str(spoilt) for disk in disks)
    appliance.edit = lambda path, recipe: None
    result = run(src, output("a"), output("b"), output("c"))
    assert [item.name for item in result.artifacts] == ["a", "c"] and "ended early" in result.failures["b"]["what"]
    assert [len(disks) for disks in appliance.launches] == [3, 1, 1, 1]
    assert left(src) == ["0/image.qcow2", "2/image.qcow2"]


def test_a_stop_is_no_fault_of_an_output(src, appliance):
    def edit(path, recipe):
        raise Interrupted("received SIGTERM")
    appliance.edit = edit
    with pytest.raises(Interrupted):
        run(src, output("a"), output("b"))
    assert len(appliance.launches) == 1


def test_more_disks_than_one_appliance_takes(src, appliance):
    appliance.edit = lambda path, recipe: None
    result = run(src, *(output(f"disk{number}") for number in range(26)))
    assert [len(disks) for disks in appliance.launches] == [24, 2] and len(result.artifacts) == 26


def test_too_little_space_starts_no_appliance(src, appliance, monkeypatch):
    monkeypatch.setattr(space, "free_space", lambda folder: 1 << 20)
    with pytest.raises(ImageError, match="the customized image needs .* bytes and 1048576 are free"):
        run(src, output("a"))
    assert appliance.launches == [] and left(src) == []


def test_a_source_that_is_written_to_meanwhile(src, appliance):
    def edit(path, recipe):
        with open(src, "r+b") as file:
            file.write(b"QFI")
    appliance.edit = edit
    with pytest.raises(ImageError, match=f"{src}: the source image was changed while it was read"):
        run(src, output("a"))


def test_a_hostile_source(src, appliance, tmp_path):
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", "src.qcow2", "-F", "qcow2", tmp_path / "overlay.qcow2"], check=True, cwd=tmp_path)
    with pytest.raises(ImageError, match="backing file"):
        run(tmp_path / "overlay.qcow2", output("a"))
    assert appliance.launches == []


def test_what_a_builder_must_bring():
    files = [File("/etc/a", "0", 1, src="/home/me/a"), File("/etc/b", "0", 1, content="")]
    options = {"src": "/srv/src.qcow2", "src_format": "qcow2", "outputs": [output("kept", files=files), output("packed", compression="zstd")]}
    inputs = customize.inputs(options)
    assert [(item.path, item.image) for item in inputs] == [("/srv/src.qcow2", "qcow2"), ("/home/me/a", None)]
    for item in inputs:
        item.moved("/there" + item.path)
    assert (options["src"], options["read_path"]) == ("/srv/src.qcow2", "/there/srv/src.qcow2")
    assert options["outputs"][0]["recipe"]["files"][0]["src"] == "/there/home/me/a"
    assert customize.base_of(options, "kept") == "/srv/src.qcow2" and customize.base_of(options, "packed") is None
