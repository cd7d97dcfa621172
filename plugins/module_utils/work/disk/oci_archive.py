# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The .oci archive that Oracle's cloud exports and imports: a tar of a qcow2 and of what is said of it, as a gzip.

Nothing of it is ever a file of its own, and memory does not grow with the image.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tarfile

from ...common import advice
from ...common.errors import ImageError, from_os_error
from ...common.progress import silent
from ...files.gzip_stream import BLOCK, GzipWriter, gunzipped
from ...files.tar_stream import TarStream, is_sparse
from . import headers

#: the members, with exactly these names
METADATA_MEMBER, DISK_MEMBER = "image_metadata.json", "output.QCOW2"
#: bytes of the metadata: real ones have a hundredth of it
MAX_METADATA = 1 << 20
_GZIP = b"\x1f\x8b"
_MOST_INFLATED = 1040            # bytes that one of deflate can become (zlib's own documentation says 1032), and a little more
_PIECE = 256 << 10               # bytes read at once
_MAGIC = b"QFI\xfb"              # of a qcow2
_MAKE_IT = "make one of the image with ocne_image_convert (format: pca_archive)"
_MAKE_ANEW = "make it anew from its image, with ocne_image_convert (format: pca_archive)"
_NOT_BY_OCNE = f"ocne image upload makes such ones of files whose name does not end in .oci; {_MAKE_ANEW}"


@dataclasses.dataclass
class Archive:
    """What an archive holds."""

    metadata: dict
    header: headers.Header       # of the qcow2
    size: int                    # of the qcow2, bytes
    sha256: str = None           # of the qcow2, hexadecimal, where it was read to the end


def check_image(header):
    """ImageError where the cloud may not read a qcow2 (headers.Header) that is otherwise sound."""
    if header.compression_type == "zstd":
        raise ImageError("its clusters are compressed with zstd, which the import of the cloud may not read", header.where,
                         "convert it first, with ocne_image_convert (format: qcow2, compression: none or zlib)")


# --- writing -----------------------------------------------------------------------------------------


class _Output:
    """A new file, its size in bytes, and the sha256 of it that is made on the way."""

    def __init__(self, file):
        self._file, self._sums, self.size = file, hashlib.sha256(), 0

    def write(self, data):
        self._sums.update(data)
        self._file.write(data)
        self.size += len(data)

    def hexdigest(self):
        return self._sums.hexdigest()


def write(path, metadata, image, progress=None):
    """Pack a qcow2 into a new archive at `path`; returns (sha256, size in bytes). Raises ImageError.

    metadata: bytes of that member; image: headers.Header of the file. The same ones give the same archive. progress: a phase in bytes of the image.
    """
    progress = progress or silent()
    if len(metadata) > MAX_METADATA:
        raise ImageError("the metadata of the archive is absurdly large", path, "name fewer shapes", size=len(metadata), limit=MAX_METADATA)
    try:
        with open(path, "xb") as file:
            output = _Output(file)
            _pack(output, metadata, image, progress)
    except OSError as error:
        raise from_os_error(error, "writing the archive", path) from error
    return output.hexdigest(), output.size


def _pack(output, metadata, image, progress):
    with GzipWriter(output.write) as archive:
        archive.add(_member(METADATA_MEMBER, len(metadata)) + metadata + _padding(len(metadata)) + _member(DISK_MEMBER, image.file_size))
        done = 0
        for block in _blocks(image):
            archive.add(block)
            done += len(block)
            progress.update(done)
        archive.add(_padding(image.file_size) + bytes(2 * tarfile.BLOCKSIZE))
        archive.finish()


def _member(name, size):
    """A header: the same for the same size, of root, readable, of no time."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    # sizes from 8 GiB on are binary numbers in it, and need no further header
    return info.tobuf(tarfile.GNU_FORMAT)


def _padding(size):
    return bytes(-size % tarfile.BLOCKSIZE)


def _blocks(image):
    left = image.file_size
    with headers.Reader(image.path, image.where) as reader:
        while left:
            block = reader.up_to(image.file_size - left, min(BLOCK, left))
            if not block:
                raise reader.refusal("the source image was changed while it was read", advice.RUN_AGAIN_UNDISTURBED)
            left -= len(block)
            yield block


# --- reading -----------------------------------------------------------------------------------------


def read(path, where=None, to_the_end=False, progress=None):
    """The Archive at `path`: gzip or not, its members in either order. Raises ImageError for any other.

    The disk is not kept. where: the name for the reader of a message. to_the_end: read all of it, which takes as long as unpacking it: without that
    the checksum of gzip is not compared, nothing that follows the second member is seen, and the sha256 is not known. progress: a phase in
    bytes of the archive.
    """
    with headers.Reader(path, where) as reader:
        return _Reading(reader, progress or silent()).archive(to_the_end)


class _Reading:
    """One archive that is being read."""

    def __init__(self, reader, progress):
        self._reader, self._progress = reader, progress
        self._packed = reader.up_to(0, len(_GZIP)) == _GZIP

    def archive(self, to_the_end):
        if headers.recognise(self._reader) == "qcow2":
            raise self._refusal("it is a bare qcow2 image, not an archive that holds one", _MAKE_IT)
        found = {}
        for info, data in TarStream(self._stream(), self._malformed):
            self._check(info, found)
            found[info.name] = self._metadata(data) if info.name == METADATA_MEMBER else self._disk(info.size, data, to_the_end)
            if len(found) == 2 and not to_the_end:
                break
        missing = [name for name in (METADATA_MEMBER, DISK_MEMBER) if name not in found]
        if missing:
            raise self._refusal(f"it lacks {' and '.join(missing)}")
        header, sha256 = found[DISK_MEMBER]
        return Archive(found[METADATA_MEMBER], header, header.file_size, sha256)

    def _refusal(self, what, todo=_MAKE_ANEW, **details):
        return self._reader.refusal(what, todo, **details)

    def _malformed(self, why):
        return self._refusal(f"it is not a sound .oci archive: {why}", advice.COPY_AGAIN)

    def _stream(self):
        """Pieces of the tar."""
        pieces = self._pieces()
        return gunzipped(pieces, lambda why: self._malformed(f"its gzip is broken ({why})")) if self._packed else pieces

    def _pieces(self):
        offset, piece = 0, True
        while piece:
            piece = self._reader.up_to(offset, _PIECE)
            offset += len(piece)
            self._progress.update(offset)
            yield piece

    def _check(self, info, found):
        """ImageError where a member must not be there."""
        if info.name in found:
            raise self._refusal(f"it has two members that are named {info.name}", _NOT_BY_OCNE)
        if info.name not in (METADATA_MEMBER, DISK_MEMBER):
            raise self._refusal(f"it has a member that does not belong there: {info.name[:200]!r}", member=info.name[:200])
        if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or is_sparse(info):
            raise self._refusal(f"its member {info.name} is not a plain file")
        if info.size > self._reader.size * (_MOST_INFLATED if self._packed else 1):
            raise self._refusal(f"its member {info.name} has an absurd size ({info.size} bytes in a file of {self._reader.size})", advice.COPY_AGAIN,
                                size=info.size)

    def _metadata(self, data):
        content = bytearray()
        for piece in data:
            content += piece
            if content[:len(_MAGIC)] == _MAGIC:
                raise self._refusal(f"its {METADATA_MEMBER} is the qcow2 image", _NOT_BY_OCNE)
            if len(content) > MAX_METADATA:
                raise self._refusal(f"its {METADATA_MEMBER} is absurdly large", limit=MAX_METADATA)
        try:
            metadata = json.loads(content)
        except (ValueError, RecursionError):
            metadata = None
        if not isinstance(metadata, dict):
            raise self._refusal(f"its {METADATA_MEMBER} is no JSON object")
        return metadata

    def _disk(self, size, data, to_the_end):
        """(Header, sha256 or None) of the other member."""
        start, sums = bytearray(), hashlib.sha256()
        header = None
        for piece in data:
            if to_the_end:
                sums.update(piece)
            if header is None:
                start += piece[:headers.START - len(start)]
                if len(start) == min(size, headers.START):
                    header = headers.read_start(start, size, f"{self._reader.where}, {DISK_MEMBER}")
                    check_image(header)
                    if not to_the_end:
                        break
        if header is None:
            raise self._refusal(f"its {DISK_MEMBER} is empty")
        return header, sums.hexdigest() if to_the_end else None
