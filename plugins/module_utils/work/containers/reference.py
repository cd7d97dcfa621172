# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""References to container images, as containers-transports(5) writes them."""

from __future__ import annotations

import dataclasses
import os
import re

from ...common.errors import ImageError

#: what can be read here; a reference without one of them is one of a registry
TRANSPORTS = ("docker", "oci", "oci-archive", "docker-archive", "dir", "containers-storage", "docker-daemon")
_OTHER_TRANSPORTS = ("ostree", "sif", "tarball", "atomic")
_FILES = ("oci", "oci-archive", "docker-archive", "dir")
_DIGEST = re.compile(r"^(sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})$")
# github.com/distribution/reference
_NAME = re.compile(r"^(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*$")
_TAG = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")


@dataclasses.dataclass(frozen=True)
class Reference:
    """One image. rest: what follows the transport's colon, for transports other than docker."""

    transport: str
    rest: str = None
    name: str = None       # host[:port]/repository (docker)
    tag: str = None        # (docker)
    digest: str = None     # the pin: algorithm:hexadecimal (docker)

    @property
    def text(self):
        """As skopeo takes it; of a tag and a digest together the digest is what counts (and old skopeos refuse both)."""
        if self.transport != "docker":
            return f"{self.transport}:{self.rest}"
        return f"docker://{self.name}" + (f"@{self.digest}" if self.digest else f":{self.tag}")

    def pinned(self, digest):
        """The text of the same image by its digest, where the transport can say that."""
        return f"docker://{self.name}@{digest}" if self.transport == "docker" else self.text

    @property
    def host(self):
        """The registry's host[:port], or None."""
        return self.name.partition("/")[0] if self.transport == "docker" else None

    @property
    def archive(self):
        """The one file that holds the image, or None."""
        return self.rest.partition(":")[0] if self.transport in ("oci-archive", "docker-archive") else None


def parse(text):
    """The Reference that `text` means. Raises ImageError."""
    transport, colon, rest = text.partition(":")
    if colon and transport in _OTHER_TRANSPORTS and not re.match(r"[0-9]+/", rest):
        raise ImageError(f"the transport {transport} is not supported", text, f"use one of {', '.join(TRANSPORTS)}")
    if colon and transport in TRANSPORTS and transport != "docker":
        if not rest:
            raise ImageError("the reference names no image", text, f"write what follows {transport}: as in containers-transports(5)")
        if transport in _FILES:
            path, colon, more = (rest, "", "") if transport == "dir" else rest.partition(":")
            # the work runs in another folder
            rest = os.path.abspath(os.path.expanduser(path)) + colon + more
        return Reference(transport, rest)
    if transport == "docker" and not rest.startswith("//"):
        raise ImageError("the reference is malformed", text, "write docker://host/repository:tag")
    return _docker(text, rest[2:] if transport == "docker" else text)


def _docker(text, rest):
    name, at, digest = rest.partition("@")
    if at and not _DIGEST.match(digest):
        raise ImageError("the digest in the reference is malformed", text, "write repository@sha256:<64 hexadecimal digits>")
    tag = None
    if ":" in name.rpartition("/")[2]:
        name, colon, tag = name.rpartition(":")
        if not _TAG.match(tag):
            raise ImageError("the tag in the reference is malformed", text, "write host/repository:tag")
    first, slash, more = name.partition("/")
    if not slash or not (set(".:") & set(first) or first == "localhost"):
        name = f"docker.io/{name}" if slash else f"docker.io/library/{name}"
    if not _NAME.match(name):
        raise ImageError("the reference is malformed", text, "write host/repository:tag, in small letters")
    return Reference("docker", None, name, tag or (None if at else "latest"), digest or None)
