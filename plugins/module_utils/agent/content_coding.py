# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Compression of one chunk of a transfer, decided for each: zstd where its library is, else zlib, else as it is.

libzstd is called in this process: it is on nearly every Linux (dpkg, rpm and systemd need it), its program is not,
and a child process for each chunk costs more than the compression.
"""

from __future__ import annotations

import ctypes
import functools
import zlib

from ..common.errors import ImageError
from ..files.scratch import Scratch

_LEVEL = 1
_SAMPLES, _SAMPLE = 16, 8 << 10     # pieces of a chunk that are tried first, and their bytes
#: part of the size that must be saved; zlib takes ten times the time of zstd, and the network is not that slow
_GAIN = {"zstd": 0.15, "deflate": 0.4}
_packed, _unpacked = Scratch(), Scratch()


@functools.lru_cache(maxsize=1)
def _library():
    """libzstd, or None. The functions used are the same since its release 1.0 (zstd.h, "Simple API")."""
    try:
        library = ctypes.CDLL("libzstd.so.1")
    except OSError:
        return None
    size, pointer = ctypes.c_size_t, ctypes.c_void_p
    for name, result, arguments in (("ZSTD_compressBound", size, [size]), ("ZSTD_isError", ctypes.c_uint, [size]),
                                    ("ZSTD_compress", size, [pointer, size, ctypes.c_char_p, size, ctypes.c_int]),
                                    ("ZSTD_decompress", size, [pointer, size, ctypes.c_char_p, size])):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def available():
    """What this end can read and write, best first."""
    return (["zstd"] if _library() else []) + ["deflate"]


def _pointer(data):
    """For a function of the library: bytes as they are, other memory where it is."""
    return data if isinstance(data, bytes) else (ctypes.c_char * len(data)).from_buffer(data)


def _compress(data, encoding):
    if encoding == "deflate":
        return zlib.compress(data, _LEVEL)
    library = _library()
    room = library.ZSTD_compressBound(len(data))
    buffer = _packed.take(room)
    length = library.ZSTD_compress(_pointer(buffer), room, _pointer(data), len(data), _LEVEL)
    if library.ZSTD_isError(length):
        raise ImageError("compressing a chunk of the transfer failed")
    return buffer[:length]


def encode(data, accepted):
    """(body, encoding) of one chunk: compressed if that pays, else (data, None).

    data: bytes, or a memoryview of what can be written to; accepted: what the other end can read. Of a large chunk a sample tells
    whether it is worth trying. The body is good until this thread calls this function again.
    """
    encoding = next((name for name in available() if name in accepted), None)
    if encoding is None or not data:
        return data, None
    limit = 1 - _GAIN[encoding]
    if len(data) > 2 * _SAMPLES * _SAMPLE:
        step = (len(data) - _SAMPLE) // (_SAMPLES - 1)
        sample = b"".join(data[start:start + _SAMPLE] for start in range(0, step * _SAMPLES, step))
        if len(_compress(sample, encoding)) > limit * len(sample):
            return data, None
    body = _compress(data, encoding)
    return (body, encoding) if len(body) <= limit * len(data) else (data, None)


def decode(body, encoding, size):
    """The chunk again: exactly `size` bytes, good until this thread calls this function again.

    body: bytes, or a memoryview of what can be written to. Raises ImageError; never makes more than that of a hostile body.
    """
    if not encoding:
        data = body
    elif encoding == "zstd" and _library():
        buffer = _unpacked.take(size)
        length = _library().ZSTD_decompress(_pointer(buffer), size, _pointer(body), len(body))
        if _library().ZSTD_isError(length):
            raise ImageError("a chunk of the transfer is not sound zstd")
        data = buffer[:length]
    elif encoding == "deflate":
        try:
            # one byte more than is right shows what is too long
            data = zlib.decompressobj().decompress(body, size + 1)
        except zlib.error as error:
            raise ImageError("a chunk of the transfer is not sound zlib") from error
    else:
        raise ImageError(f"this end cannot read the encoding {encoding}")
    if len(data) != size:
        raise ImageError("a chunk of the transfer has another length than was said", expected_bytes=size, got_bytes=len(data))
    return data


def checksum(data):
    """What finds a byte that changed on the way: CRC-32, eight hexadecimal digits. The whole file has its sha256."""
    return f"{zlib.crc32(data):08x}"
