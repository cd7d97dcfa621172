# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An Ignition configuration inside an initramfs: a gzip member with a cpio (newc) of user.ign, at its end.

Ignition reads usr/lib/ignition/user.ign of the initramfs whatever its platform is. The kernel unpacks one archive after
another, each at a multiple of 4 bytes (init/initramfs.c); of a gzip header it understands the name only (lib/decompress_inflate.c).
"""

from __future__ import annotations

import struct
import zlib

PATH = "usr/lib/ignition/user.ign"
#: the name in the gzip header of what we embed
NAME = b"ocne-images.user.ign"
#: bytes of a configuration: more than any has, and little enough to look for
MAX_CONFIG = 16 << 20
#: bytes at the end of an initramfs that decide whether there may be one: see windows()
TRAILER = 4096
_MAX_ARCHIVE = MAX_CONFIG + 4096
_MAGIC = b"\x1f\x8b\x08"
_MAX_ATTEMPTS = 64


def archive(config):
    """The gzip member to append for a configuration (bytes); the same bytes for the same configuration."""
    members = [_member("usr", 0o40755, b"", 1), _member("usr/lib", 0o40755, b"", 2), _member("usr/lib/ignition", 0o40755, b"", 3),
               _member(PATH, 0o100600, config, 4), _member("TRAILER!!!", 0, b"", 0)]
    data = b"".join(members)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    # flags: a name; time 0; best compression; an unknown system (RFC 1952)
    head = _MAGIC + struct.pack("<BIBB", 8, 0, 2, 255) + NAME + b"\0"
    return head + packer.compress(data) + packer.flush() + struct.pack("<II", zlib.crc32(data), len(data))


def _member(name, mode, data, inode):
    fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)


def padding(size):
    """NULs between an initramfs of `size` bytes and what is appended."""
    return b"\0" * (-size % 4)


def windows(tail, size):
    """How many bytes from its end find() wants of an initramfs of `size` bytes: to be tried in turn. tail: its last TRAILER bytes.

    The end of a gzip member tells how large its content is: that of a whole initramfs is larger than any of ours, so
    mostly nothing has to be read. NULs may follow a member, and its length's high bytes are NULs too.
    """
    stripped = len(tail.rstrip(b"\0"))
    seen = set()
    for stop in (len(tail), *range(min(len(tail), stripped + 3), stripped - 1, -1)):
        length = int.from_bytes(tail[max(0, stop - 4):stop], "little")
        # deflate adds to what it cannot compress 5 bytes in 16 KiB
        window = min(size, length + length // 1000 + len(tail) + 1024)
        if len(PATH) < length <= _MAX_ARCHIVE and window not in seen:
            seen.add(window)
            yield window


def find(data, end):
    """(where it begins in the file, configuration) of the user.ign embedded last, or None.

    data: the last bytes of the initramfs, see windows(); end: its size in bytes. Members of other makers count too, as long
    as nothing but the configuration is in them.
    """
    base, position = end - len(data), len(data)
    for _attempt in range(_MAX_ATTEMPTS):
        position = data.rfind(_MAGIC, 0, position)
        if position < 0:
            return None
        config = _unpacked(data[position:])
        if config is not None:
            return base + position, config
    return None


def _unpacked(data):
    """The configuration in one gzip member that is all of `data`, but for NULs at the end; else None."""
    unpacker = zlib.decompressobj(31)
    try:
        content = unpacker.decompress(data, _MAX_ARCHIVE)
    except zlib.error:
        return None
    if not unpacker.eof or unpacker.unused_data.strip(b"\0"):
        return None
    return _user_ign(content)


def _user_ign(content):
    """user.ign of a cpio that has nothing else but folders on the way to it; else None."""
    config, position = None, 0
    while content[position:position + 6] in (b"070701", b"070702"):
        try:
            mode, size, length = (int(content[position + start:position + start + 8], 16) for start in (14, 54, 94))
        except ValueError:
            return None
        name = content[position + 110:position + 110 + length - 1].decode("utf-8", "replace")
        name = name.lstrip("./") if name != "TRAILER!!!" else name
        start = position + (110 + length + 3) // 4 * 4
        if name == "TRAILER!!!":
            return config
        if name == PATH and mode & 0o170000 == 0o100000:
            config = content[start:start + size]
        elif mode & 0o170000 != 0o40000 or not (PATH.startswith(name + "/") or not name):
            return None
        position = start + (size + 3) // 4 * 4
    return None
