# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The client of `skopeo experimental-image-proxy`: an image of any transport, read without a copy on disk.

JSON packets over a SOCK_SEQPACKET pair, blobs through pipes that come as descriptors
(skopeo's cmd/skopeo/proxy.go, later go.podman.io/common/pkg/json-proxy; protocols 0.2.3 to 0.2.8).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import socket
import subprocess
import tempfile
import threading

from ...common import advice
from ...common.errors import ImageError
from .skopeo import READ_TIMEOUT

_PACKET = 32 << 10           # bytes, the protocol's limit
_JSON_LIMIT = 16 << 20       # bytes of a manifest or a configuration
_PIECE = 1 << 20             # bytes read at once
_F_SETPIPE_SZ = 1031         # linux/fcntl.h; Python's fcntl has it from 3.10 on


class ImageProxy:
    """One opened image: manifest(), config(), blob(). Raises ImageError. Start it from the main thread."""

    def __init__(self, skopeo):
        self._skopeo = skopeo
        # only a registry can be silent for good; an archive takes as long as it takes
        self._timeout = READ_TIMEOUT if skopeo.reference.transport == "docker" else None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket, self._log = ours, tempfile.TemporaryFile(dir=skopeo.folder)
        try:
            self._child = skopeo.start([*skopeo.arguments("experimental-image-proxy"), "--sockfd", str(theirs.fileno())],
                                       theirs.fileno(), stdout=subprocess.DEVNULL, stderr=self._log)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._image = None
        try:
            self._socket.settimeout(self._timeout)
            #: the protocol's version, as a tuple of numbers
            self.version = tuple(int(part) for part in self._ask("Initialize")[0].split(".")[:3])
        except BaseException:
            self.close()
            raise

    def close(self):
        self._child.kill()
        self._child.wait()
        self._socket.close()
        self._log.close()

    def open(self, reference):
        """reference: as skopeo takes it."""
        self._image = self._ask("OpenImage", reference)[0]

    # --- the protocol ------------------------------------------------------------------------------

    def _ask(self, method, *arguments):
        """(value, pipe's id, descriptor or None) of one request."""
        try:
            self._socket.send(json.dumps({"method": method, "args": arguments}).encode())
            data, descriptors, _flags, _address = socket.recv_fds(self._socket, _PACKET, 2)
        except socket.timeout:
            raise ImageError(f"the registry did not answer in {READ_TIMEOUT} s", self._skopeo.reference.text,
                             advice.CHECK_NETWORK, transient=True) from None
        except OSError:
            data, descriptors = b"", []
        if not data:
            raise self._died()
        answer = json.loads(data)
        if not answer["success"]:
            for fd in descriptors:
                os.close(fd)
            error = self._skopeo.failure(answer.get("error") or f"{method} failed")
            if answer.get("error_code") == "retryable":
                error.details["transient"] = True
            raise error
        return answer.get("value"), answer.get("pipeid"), descriptors[0] if descriptors else None

    def _died(self):
        status = self._child.wait()
        self._log.seek(0)
        words = self._log.read().decode("utf-8", "replace")
        if "unknown command" in words or "experimental-image-proxy" in words:
            return ImageError("this skopeo cannot serve images (experimental-image-proxy)", None,
                              "install skopeo 1.9 or newer", stderr=words[-4000:])
        return self._skopeo.failure(words, status)

    def _pieces(self, pipe, fd):
        """The bytes of a pipe; its end comes only while FinishPipe is asked, whose answer is the proxy's verdict."""
        verdict = []

        def finish():
            try:
                self._socket.settimeout(None)
                self._ask("FinishPipe", pipe)
            except (ImageError, OSError, ValueError) as error:
                verdict.append(error)

        with contextlib.suppress(OSError):   # a limit of the system's: then it stays small
            fcntl.fcntl(fd, _F_SETPIPE_SZ, _PIECE)
        finisher = threading.Thread(target=finish, daemon=True, name="finish-pipe")
        finisher.start()
        try:
            while True:
                if self._timeout and not select.select([fd], [], [], self._timeout)[0]:
                    raise ImageError(f"no data came for {self._timeout} s", self._skopeo.reference.text,
                                     advice.CHECK_NETWORK, transient=True)
                piece = os.read(fd, _PIECE)
                if not piece:
                    break
                yield piece
        finally:
            os.close(fd)
        finisher.join()
        self._socket.settimeout(self._timeout)
        if verdict:
            raise verdict[0]

    def _json(self, method):
        value, pipe, fd = self._ask(method, self._image)
        data = bytearray()
        for piece in self._pieces(pipe, fd):
            data += piece
            if len(data) > _JSON_LIMIT:
                raise ImageError("its manifest or configuration is absurdly large", self._skopeo.reference.text,
                                 "do not use an image that you have no reason to trust")
        return value, json.loads(data)

    # --- the image ---------------------------------------------------------------------------------

    def manifest(self):
        """(digest of the platform's manifest, the manifest as OCI has it)."""
        return self._json("GetManifest")

    def config(self):
        """The image's configuration, as OCI has it."""
        return self._json("GetFullConfig")[1]

    def blob(self, descriptor):
        """An iterator over the bytes of a layer, as they are in the registry."""
        _size, pipe, fd = self._ask("GetBlob", self._image, descriptor["digest"], descriptor["size"])
        return self._pieces(pipe, fd)
