# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One file out of the layers of a container image, streamed: nothing else is ever written.

Layers are read from the top down, so the first one that has the file, or hides it, decides
(whiteouts: https://github.com/opencontainers/image-spec/blob/main/layer.md).
"""

from __future__ import annotations

import hashlib
import posixpath

from ...common import advice
from ...common.errors import ImageError
from ...common.progress import human_bytes
from ...files.tar_stream import TarStream, is_sparse
from .disk_writer import Output
from .pipeline import ahead, decompressed, hashed

#: bytes that a file may have; a header that says more is a lie or no boot image
MAX_FILE = 1 << 40
#: bytes that a layer may have beside the file: more is a decompression bomb
MAX_OTHERS = 64 << 30
_OPAQUE = ".wh..wh..opq"
_WHITEOUT = ".wh."


def normalised(name):
    """A member's name from the root, without a slash before it; None where it would leave the root."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return None if ".." in parts else "/".join(parts)


def inside(path):
    """The normalised name of the file that a user wants. Raises ImageError."""
    name = normalised(path)
    if not name:
        raise ImageError("the path inside the image is not one of a file", path, "name a file from the image's root, such as disk/boot.qcow2")
    return name


def _hiding(wanted):
    """Names of the members that hide `wanted` in the layers below theirs."""
    parts, names = wanted.split("/"), {_OPAQUE}
    for depth, part in enumerate(parts):
        names.add(posixpath.join(*parts[:depth], _WHITEOUT + part))
        names.add(posixpath.join(*parts[:depth], _OPAQUE))
    return names


class Extraction:
    """extract() once; then digest (of the layer), sha256 and size of the file."""

    def __init__(self, image, manifest, config, wanted, path, where, progress):
        self._image, self._path, self._where, self._progress = image, path, where, progress
        self._layers = manifest.get("layers") or []
        self._diff_ids = (config.get("rootfs") or {}).get("diff_ids") or []
        self._wanted = inside(wanted)
        self.layer_digest = self.sha256 = self.size = None

    def extract(self):
        """Write the file. Raises ImageError where it is not there, is no plain file, or a layer is not what its digests say."""
        if len(self._layers) != len(self._diff_ids):
            raise ImageError(f"its manifest has {len(self._layers)} layers and its configuration {len(self._diff_ids)}", self._where, advice.PULL_AGAIN)
        for number in reversed(range(len(self._layers))):
            found, hidden = self._layer(number)
            if found:
                self.layer_digest = self._layers[number]["digest"]
                return
            if hidden:
                raise ImageError(f"it has no {self._wanted}: an upper layer removed it ({hidden})", self._where,
                                 "name the file with path, or use an image that holds a disk")
        raise ImageError(f"it has no {self._wanted}", self._where,
                         "is it a boot media image? Name the file with path if it is elsewhere in it")

    def _layer(self, number):
        """(whether the file was found, name of what hides it below or None) of one layer, which is read to its end."""
        descriptor = self._layers[number]
        algorithm, colon, expected = descriptor["digest"].partition(":")
        if (descriptor.get("mediaType") or "").endswith("+encrypted"):
            raise ImageError("its layers are encrypted", self._where, "decrypt the image first (skopeo copy --decryption-key)")
        if algorithm not in ("sha256", "sha384", "sha512") or not self._diff_ids[number].startswith("sha256:"):
            raise ImageError(f"a digest of the kind {algorithm[:20]} is not supported", self._where)
        packed, plain, taken = hashlib.new(algorithm), hashlib.sha256(), [0]

        def count(size):
            taken[0] += size

        self._progress.phase(f"pull layer {len(self._layers) - number} of {len(self._layers)}", descriptor.get("size"))
        stream = ahead(hashed(self._image.blob(descriptor), packed, count))
        stream = ahead(decompressed(stream, self._where))
        stream = self._told(ahead(hashed(stream, plain)), taken)
        try:
            verdict = self._members(TarStream(stream, self._malformed))
        finally:
            stream.close()
        self._progress.finish()
        if packed.hexdigest() != expected or taken[0] != descriptor.get("size", taken[0]):
            raise ImageError(f"a layer is not what its digest says ({descriptor['digest']})", self._where, advice.PULL_AGAIN, digest=packed.hexdigest())
        if "sha256:" + plain.hexdigest() != self._diff_ids[number]:
            raise ImageError("the content of a layer is not what the image's configuration says", self._where, advice.PULL_AGAIN,
                             expected=self._diff_ids[number], digest=plain.hexdigest())
        return verdict

    def _malformed(self, why):
        return ImageError(f"a layer is not a sound tar archive: {why}", self._where, advice.PULL_AGAIN)

    def _told(self, pieces, taken):
        try:
            for piece in pieces:
                yield piece
                self._progress.update(taken[0])
        finally:
            pieces.close()

    def _members(self, members):
        wanted, hiding = self._wanted, _hiding(self._wanted)
        parents = {wanted[:at] for at, letter in enumerate(wanted) if letter == "/"}
        found, hidden, others = False, None, 0
        for info, data in members:
            name = normalised(info.name)
            if name == wanted:
                self._plain_file(info)
                with Output(self._path, info.size, self._where) as output:
                    output.write(data)
                found, self.sha256, self.size = True, output.sha256, output.size
                continue
            if name in parents and not info.isdir():
                raise ImageError(f"{name} in the image is not a folder but a {_kind(info)}", self._where,
                                 advice.NAME_PATH)
            if name in hiding:
                hidden = name
            others += info.size + 512
            if others > MAX_OTHERS:
                raise ImageError(f"a layer holds more than {human_bytes(MAX_OTHERS)} beside the disk", self._where, advice.UNTRUSTED)
        return found, hidden

    def _plain_file(self, info):
        if not info.isreg() or is_sparse(info):
            raise ImageError(f"{self._wanted} in the image is not a plain file but a {_kind(info)}", self._where,
                             advice.NAME_PATH)
        if info.size > MAX_FILE:
            raise ImageError(f"{self._wanted} in the image says that it has {info.size} bytes, which is absurd", self._where, advice.UNTRUSTED,
                             size=info.size, limit=MAX_FILE)


def _kind(info):
    if is_sparse(info):
        return "sparse file"
    return ("symbolic link" if info.issym() else "hard link" if info.islnk() else "folder" if info.isdir()
            else "device" if info.isdev() else "special file" if not info.isreg() else "file")
