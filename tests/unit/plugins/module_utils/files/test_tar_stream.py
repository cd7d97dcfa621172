# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The members of a tar, sound and malformed."""

from __future__ import annotations

import io
import tarfile

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.files.tar_stream import TarStream
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.work.containers.images import NOISE, member, tar


def names(data, size=1 << 16):
    return [info.name for info, _pieces in TarStream((data[at:at + size] for at in range(0, len(data), size)), ImageError)]


def test_pieces_of_any_size_make_the_same_members():
    data = tar(*(member(f"folder/{'n' * number}", NOISE[:number * 7]) for number in range(1, 200, 9)))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        expected = archive.getnames()
    for size in (1, 7, 512, 513, 10_000, 1 << 20):
        assert names(data, size) == expected


def test_a_malformed_header_in_the_middle_is_told():
    good = tar(member("a", b"x"), end=False)
    assert names(good + tar(member("b"))) == ["a", "b"]
    with pytest.raises(ImageError, match="a header is malformed"):
        names(good + b"\xff" * 512 + tar(member("b")))


@pytest.mark.parametrize("value", ["-5", "1e3", "٣", "9" * 100, ""])
def test_a_pax_size_that_is_none(value):
    with pytest.raises(ImageError, match="size is malformed"):
        names(tar(member("a", pax_headers={"size": value})))


def test_a_negative_size():
    info = member("a")[0]
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[124:136] = b"\xff" * 12
    block[148:156] = b"        "
    block[148:155] = b"%06o\0" % sum(block)
    with pytest.raises(ImageError, match="negative size"):
        names(bytes(block))


@pytest.mark.parametrize("record", [b"5 a=b\n", b"999999 a=b\n", b"x a=b\n", b"7 abcd\n", b"6 a=b", b"1 a=b\n", b"6a=bcd\n"])
def test_a_malformed_pax_record(record):
    with pytest.raises(ImageError, match="pax header is malformed"):
        names(tar(member("pax", record, kind=tarfile.XHDTYPE), member("a")))


def test_an_absurdly_large_header():
    with pytest.raises(ImageError, match="absurdly large"):
        names(tar(member("pax", bytes(2 << 20), kind=tarfile.XHDTYPE), member("a")))
