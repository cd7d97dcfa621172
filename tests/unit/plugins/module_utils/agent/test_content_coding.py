# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Chunks, compressed as it pays."""

from __future__ import annotations

import os
import random
import zlib

import pytest

from ansible_collections.ocne.images.plugins.module_utils.agent import content_coding
from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError

TEXT = b"".join(b"line %09d of some text\n" % number for number in range(20000))
RANDOM = os.urandom(600_000)


@pytest.mark.parametrize("encoding", content_coding.available())
@pytest.mark.parametrize("data", [TEXT, TEXT[:100], TEXT + RANDOM[:100_000], bytes(1 << 20)], ids=["text", "small", "mixed", "zeros"])
def test_there_and_back(encoding, data):
    body, used = content_coding.encode(data, [encoding])
    assert used == encoding and len(body) < 0.7 * len(data)
    assert content_coding.decode(bytes(body), used, len(data)) == data


def test_zstd_is_used_where_both_have_it():
    assert content_coding.encode(TEXT, ["deflate", "zstd", "br"])[1] == content_coding.available()[0]
    assert content_coding.encode(TEXT, ["br"]) == (TEXT, None)
    assert content_coding.encode(TEXT, []) == (TEXT, None)


@pytest.mark.parametrize("data", [b"", b"x", RANDOM, RANDOM[:1000], RANDOM + TEXT[:30_000]], ids=["nothing", "byte", "random", "short", "mostly"])
def test_what_does_not_pay_goes_as_it_is(data):
    assert content_coding.encode(data, content_coding.available()) == (data, None)
    assert content_coding.decode(data, None, len(data)) == data


def test_a_chunk_half_of_which_pays_is_compressed():
    # 32 KiB that pay and 32 KiB that do not, in turn
    data = b"".join(TEXT[at:at + 32768] + RANDOM[at:at + 32768] for at in range(0, 450_000, 32768))
    assert content_coding.encode(data, ["zstd"])[1] == ("zstd" if "zstd" in content_coding.available() else None)


def test_without_the_library(monkeypatch):
    monkeypatch.setattr(content_coding, "_library", lambda: None)
    assert content_coding.available() == ["deflate"]
    body, used = content_coding.encode(TEXT, ["zstd", "deflate"])
    assert used == "deflate" and content_coding.decode(body, used, len(TEXT)) == TEXT
    with pytest.raises(ImageError, match="cannot read the encoding zstd"):
        content_coding.decode(body, "zstd", len(TEXT))


@pytest.mark.parametrize("encoding", [*content_coding.available(), None])
@pytest.mark.parametrize("difference", [-1, 1])
def test_another_length_than_said_is_refused(encoding, difference):
    body = bytes(content_coding.encode(TEXT, [encoding])[0])
    with pytest.raises(ImageError):
        content_coding.decode(body, encoding, len(TEXT) + difference)


@pytest.mark.parametrize("encoding", content_coding.available())
def test_what_is_not_sound_is_refused(encoding):
    body = bytes(content_coding.encode(TEXT, [encoding])[0])
    for spoilt in (b"", b"abc", body[:-20], RANDOM[:2000]):
        with pytest.raises(ImageError):
            content_coding.decode(spoilt, encoding, len(TEXT))
    with pytest.raises(ImageError, match="br"):
        content_coding.decode(body, "br", len(TEXT))


@pytest.mark.parametrize("encoding", content_coding.available())
def test_a_bomb_does_not_become_large(encoding):
    bomb = bytes(content_coding.encode(bytes(64 << 20), [encoding])[0])
    assert len(bomb) < 1 << 20
    with pytest.raises(ImageError):
        content_coding.decode(bomb, encoding, 1000)


def test_a_flipped_bit_is_found():
    place = random.randrange(len(RANDOM))
    spoilt = RANDOM[:place] + bytes([RANDOM[place] ^ 4]) + RANDOM[place + 1:]
    assert content_coding.checksum(spoilt) != content_coding.checksum(RANDOM) == f"{zlib.crc32(RANDOM):08x}"
    assert len(content_coding.checksum(b"")) == 8
