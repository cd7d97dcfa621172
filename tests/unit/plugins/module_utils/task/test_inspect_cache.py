# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import fcntl
import os
import subprocess
import sys

import pytest

from ansible_collections.ocne.images.plugins.module_utils.task import inspect_cache
from ansible_collections.ocne.images.plugins.module_utils.task.inspect_cache import Inspections

ANSWER = {"in_use": False, "extents": [], "format": "raw"}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # else each test would have to wait until its image is old enough
    monkeypatch.setattr(inspect_cache, "CLOCK_TICK_NS", 0)
    return tmp_path / "cache/ocne-images/inspections"


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "disk.raw"
    path.write_bytes(b"disk")
    return path


def keep(image, answer=None, **options):
    Inspections(str(image), dict(options, src_format="raw")).keep(answer or ANSWER)


def known(image, **options):
    return Inspections(str(image), dict(options, src_format="raw")).known()


def test_an_answer_is_told_again(image, cache):
    assert known(image) is None
    keep(image)
    assert known(image) == ANSWER
    answer, = cache.iterdir()
    assert answer.stat().st_mode & 0o777 == 0o600 and cache.stat().st_mode & 0o777 == 0o700


def test_not_with_other_options(image):
    keep(image, files=["/etc/fstab"])
    assert known(image) is None and known(image, files=["/etc/fstab"]) == ANSWER


def test_not_after_the_image_was_touched(image):
    keep(image)
    os.utime(image, ns=(1, image.stat().st_mtime_ns + 1))
    assert known(image) is None


def test_not_of_another_file_at_that_path(image, tmp_path):
    keep(image)
    status = image.stat()
    other = tmp_path / "other"
    other.write_bytes(b"DISK")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    os.replace(other, image)
    assert known(image) is None


def test_not_what_was_written_to_while_it_was_read(image):
    reading = Inspections(str(image), {"src_format": "raw"})
    image.write_bytes(b"DISK")
    reading.keep(ANSWER)
    assert known(image) is None


def test_not_what_was_written_just_before(image, monkeypatch):
    monkeypatch.setattr(inspect_cache, "CLOCK_TICK_NS", 10 ** 9)
    keep(image)
    assert known(image) is None


@pytest.mark.parametrize("answer", [dict(ANSWER, in_use=True), dict(ANSWER, extents=["disk-s001.vmdk"])])
def test_not_of_images_whose_stat_does_not_tell_all(image, answer):
    keep(image, answer)
    assert known(image) is None


def test_not_while_a_machine_runs_on_it(image):
    keep(image)
    # as QEMU locks what it writes to (see work/inspect.py)
    script = ("import fcntl, struct, sys\nfile = open(sys.argv[1], 'r+b')\n"
              f"fcntl.fcntl(file, {fcntl.F_OFD_SETLK}, struct.pack('@hhqqi4x', {fcntl.F_RDLCK}, 0, 101, 1, 0))\nprint(flush=True)\ninput()")
    with subprocess.Popen([sys.executable, "-c", script, image], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as machine:
        machine.stdout.readline()
        assert known(image) is None
        machine.communicate(b"\n")
    assert known(image) == ANSWER


def test_a_cache_that_cannot_be_used_is_none(image, cache):
    cache.parent.mkdir(parents=True)
    cache.write_text("a file where the folder should be")
    keep(image)
    assert known(image) is None


def test_a_spoilt_answer_is_none(image, cache):
    keep(image)
    answer, = cache.iterdir()
    answer.write_text('{"format": ')
    assert known(image) is None


def test_old_answers_go(image, cache, monkeypatch):
    monkeypatch.setattr(inspect_cache, "_KEPT", 3)
    for number in range(5):
        keep(image, max_read_size=number)
    assert len(list(cache.iterdir())) == 3 and known(image, max_read_size=4) == ANSWER
