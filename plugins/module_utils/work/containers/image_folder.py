# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An image in a folder as the `dir:` transport writes it: manifest.json, and one file per blob, named by its digest."""

from __future__ import annotations

import hashlib
import json
import os
import re

from ...common.errors import ImageError

_PIECE = 1 << 20            # bytes read at once
_JSON_LIMIT = 16 << 20      # bytes of a manifest or a configuration


class ImageFolder:
    """The same face as ImageProxy, for a folder of our own."""

    def __init__(self, path):
        self._path = path
        self._manifest = None

    def close(self):
        """Nothing is held open."""

    def _file(self, descriptor):
        _algorithm, colon, name = descriptor["digest"].partition(":")
        if not re.match(r"^[0-9a-f]{64,128}$", name):
            raise ImageError("a digest in the manifest is malformed", self._path)
        return open(os.path.join(self._path, name), "rb", buffering=0)   # pylint: disable=consider-using-with

    def manifest(self):
        with open(os.path.join(self._path, "manifest.json"), "rb") as file:
            data = file.read(_JSON_LIMIT)
        self._manifest = json.loads(data)
        return "sha256:" + hashlib.sha256(data).hexdigest(), self._manifest

    def config(self):
        descriptor = (self._manifest or self.manifest()[1])["config"]
        with self._file(descriptor) as file:
            data = file.read(_JSON_LIMIT)
        if descriptor["digest"] != "sha256:" + hashlib.sha256(data).hexdigest():
            raise ImageError("the image's configuration is not what its digest says", self._path, "copy or pull the image again")
        return json.loads(data)

    def blob(self, descriptor):
        with self._file(descriptor) as file:
            while True:
                piece = file.read(_PIECE)
                if not piece:
                    break
                yield piece
