# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The members of a tar stream, one after the other, without copying their data: ustar, pax, GNU and old formats.

Unlike tarfile's own stream mode, a malformed header is an error wherever it is, and memory has a limit.
"""

from __future__ import annotations

import tarfile

_BLOCK = tarfile.BLOCKSIZE
_ZEROS = bytes(_BLOCK)
#: bytes of a long name or of pax headers: real ones have less than a page
_EXTENSION_LIMIT = 1 << 20
_PAX_TYPES = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.XGLTYPE)


class TarStream:
    """Iterates over (TarInfo, pieces): pieces is an iterator over the member's data and may be left unread.

    pieces: iterable of bytes, the tar itself. refuse(why): makes the exception that is raised where it is malformed or cut off.
    """

    def __init__(self, pieces, refuse):
        self._pieces, self._refuse = iter(pieces), refuse
        self._piece, self._at = memoryview(b""), 0
        self._left = 0        # bytes of the current member's data and padding

    def _some(self, count):
        """The next 1 to `count` bytes, or nothing at the end."""
        while self._at == len(self._piece):
            piece = next(self._pieces, None)
            if piece is None:
                return memoryview(b"")
            self._piece, self._at = memoryview(piece), 0
        some = self._piece[self._at:self._at + count]
        self._at += len(some)
        return some

    def _exactly(self, count):
        data = bytearray()
        while len(data) < count:
            some = self._some(count - len(data))
            if not some:
                raise self._refuse("it is cut off")
            data += some
        return bytes(data)

    def _skip(self, count):
        while count:
            some = self._some(count)
            if not some:
                raise self._refuse("it is cut off")
            count -= len(some)

    def _data(self, size):
        while size:
            some = self._some(size)
            if not some:
                raise self._refuse("it is cut off")
            size -= len(some)
            self._left -= len(some)
            yield some

    def _header(self):
        """The next header, or None at the archive's end."""
        block = self._some(_BLOCK)
        if not block:
            return None       # no end-of-archive blocks: Go's reader takes that too
        if len(block) < _BLOCK:
            block = bytes(block) + self._exactly(_BLOCK - len(block))
        block = bytes(block)
        if block == _ZEROS:
            return None
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except (tarfile.HeaderError, ValueError) as error:
            raise self._refuse(f"a header is malformed ({error})") from error
        if info.size < 0:
            raise self._refuse("a member has a negative size")
        if info.type == tarfile.GNUTYPE_SPARSE:
            more = block[482]
            while more:       # the sparse map goes on
                more = self._exactly(_BLOCK)[504]
        return info

    def _extension(self, info):
        if info.size > _EXTENSION_LIMIT:
            raise self._refuse("a header is absurdly large")
        data = self._exactly(info.size)
        self._skip(-info.size % _BLOCK)
        return data

    def __iter__(self):
        common, own, name, link = {}, {}, None, None
        while True:
            info = self._header()
            if info is None:
                break
            if info.type in _PAX_TYPES:
                values = self._pax(self._extension(info))
                if info.type == tarfile.XGLTYPE:
                    common.update(values)
                else:
                    own = values
                continue
            if info.type == tarfile.GNUTYPE_LONGNAME:
                name = _text(self._extension(info).partition(b"\0")[0])
                continue
            if info.type == tarfile.GNUTYPE_LONGLINK:
                link = _text(self._extension(info).partition(b"\0")[0])
                continue
            pax = dict(common, **own)
            info.name = pax.get("path") or name or info.name
            info.linkname = pax.get("linkpath") or link or info.linkname
            info.pax_headers = pax
            size = info.size
            if "size" in pax:
                if not (pax["size"].isascii() and pax["size"].isdigit() and len(pax["size"]) < 20):
                    raise self._refuse("a member's size is malformed")
                size = info.size = int(pax["size"])
            if info.islnk() or info.issym() or info.isdir() or info.isdev():
                size = 0      # whatever the field says, no data follows
            own, name, link = {}, None, None
            self._left = size + -size % _BLOCK
            yield info, self._data(size)
            self._skip(self._left)
            self._left = 0
        # to the end: whoever gives the pieces may check them as a whole
        while self._some(1 << 20):
            pass

    def _pax(self, data):
        """The records "length key=value\\n" of a pax header."""
        values = {}
        while data.strip(b"\0"):
            length, space, _rest = data.partition(b" ")
            if not space or not length.isdigit() or len(length) > 7 or not len(length) + 1 < int(length) <= len(data):
                raise self._refuse("a pax header is malformed")
            record, data = data[len(length) + 1:int(length)], data[int(length):]
            key, equals, value = record.partition(b"=")
            if not equals or not value.endswith(b"\n"):
                raise self._refuse("a pax header is malformed")
            values[_text(key)] = _text(value[:-1])
        return values


def is_sparse(info):
    """Whether a member's data is not its content, but a map and parts of it."""
    return info.type == tarfile.GNUTYPE_SPARSE or any(key.startswith("GNU.sparse.") for key in info.pax_headers)


def _text(data):
    return data.decode("utf-8", "surrogateescape")
