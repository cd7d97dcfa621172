# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An Ignition configuration at the end of an initramfs."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import subprocess

import pytest

from ansible_collections.ocne.images.plugins.module_utils.work.guest import ignition

CONFIG = b'{"ignition":{"version":"3.4.0"}}'
BASES = {
    "gzip": gzip.compress(os.urandom(100_000), mtime=0),
    "odd size": gzip.compress(os.urandom(5_000), mtime=0) + b"x",
    "large": gzip.compress(bytes(ignition.MAX_CONFIG * 2), mtime=0),
    "xz": os.urandom(50_000) + b"\0\x04YZ",
    "ends in NULs": gzip.compress(b"abc", mtime=0) + bytes(512),
    "tiny": b"x",
}


def look(data):
    """As the editor reads it: the tail first."""
    tail = data[-ignition.TRAILER:]
    for window in ignition.windows(tail, len(data)):
        found = ignition.find(data[-window:], len(data))
        if found:
            return found
    return None


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
@pytest.mark.parametrize("config", [b"{}", CONFIG, b"a" * 3_000_000, random.Random(1).randbytes(300_000)], ids=["empty", "small", "large", "random"])
def test_what_is_appended_is_found(base, config):
    assert look(base) is None
    start = len(base) + len(ignition.padding(len(base)))
    data = base + ignition.padding(len(base)) + ignition.archive(config)
    assert start % 4 == 0
    assert look(data) == (start, config)
    assert look(data + bytes(512)) == (start, config)


def test_the_same_bytes_every_time():
    assert ignition.archive(CONFIG) == ignition.archive(CONFIG)


def test_the_header_has_a_name_and_no_time():
    data = ignition.archive(CONFIG)
    assert data[:4] == b"\x1f\x8b\x08\x08" and data[4:8] == bytes(4)
    assert data[10:].split(b"\0")[0] == ignition.NAME


def test_the_last_one_counts():
    data = BASES["gzip"]
    for config in (b'{"a":1}', CONFIG):
        data += ignition.padding(len(data)) + ignition.archive(config)
    assert look(data)[1] == CONFIG


@pytest.mark.skipif(not shutil.which("cpio"), reason="there is no cpio")
def test_cpio_reads_it_and_what_cpio_writes_is_found(tmp_path):
    subprocess.run(["cpio", "-id", "--quiet"], input=gzip.decompress(ignition.archive(CONFIG)), cwd=tmp_path, check=True)
    assert (tmp_path / ignition.PATH).read_bytes() == CONFIG
    assert (tmp_path / ignition.PATH).stat().st_mode & 0o777 == 0o600
    names = "".join(f"{name}\n" for name in (".", "usr", "usr/lib", "usr/lib/ignition", ignition.PATH)).encode()
    other = subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], input=names, cwd=tmp_path, check=True, capture_output=True).stdout
    data = BASES["gzip"] + gzip.compress(other)
    assert look(data) == (len(BASES["gzip"]), CONFIG)


def test_a_cpio_with_other_files_is_not_ours():
    member = ignition._member
    content = member("usr/lib/ignition/base.ign", 0o100644, b"{}", 1) + member(ignition.PATH, 0o100600, CONFIG, 2) + member("TRAILER!!!", 0, b"", 0)
    assert look(BASES["gzip"] + gzip.compress(content)) is None


@pytest.mark.parametrize("damage", [
    lambda data: data[:-1], lambda data: data[:-7] + bytes([data[-7] ^ 1]) + data[-6:], lambda data: data + b"x", lambda data: data[3:],
], ids=["short", "wrong sum", "something behind it", "no magic"])
def test_a_damaged_one_is_none(damage):
    data = BASES["xz"] + ignition.archive(CONFIG)
    assert look(data)
    assert look(damage(data) if damage(data)[:3] == data[:3] else BASES["xz"] + damage(ignition.archive(CONFIG))) is None


def test_another_archive_is_none():
    assert look(gzip.compress(gzip.decompress(ignition.archive(CONFIG)).replace(b"070701", b"070709"))) is None


def test_a_bomb_is_not_unpacked():
    bomb = gzip.compress(bytes(ignition.MAX_CONFIG * 4), mtime=0)
    # its length lies, so that it looks like one of ours
    assert look(bomb[:-4] + (1000).to_bytes(4, "little")) is None
