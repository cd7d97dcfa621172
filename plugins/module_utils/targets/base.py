# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A place an image goes to: what every target does, and what it is told of an image."""

from __future__ import annotations

import abc
import dataclasses


@dataclasses.dataclass
class Image:
    """An image that is to be at a target. It may be a file here (read_path), or be where only somebody else reads it.

    format: as qemu-img names it, or "pca_archive". architecture: "amd64" or "arm64". size: bytes of the file.
    facts: of its header (format, subformat, compression_type, virtual_size in bytes), as work/inspect.py tells them; {} where it cannot be read from here.
    Digests are SHA-256, hexadecimal; None where they are not known. content: of the file; recipe: of what it was made of (its record);
    source: of the name of what is not a file of ours.
    """

    where: str                # for messages
    format: str
    architecture: str
    facts: dict = dataclasses.field(default_factory=dict)
    size: int = None
    content: str = None
    recipe: str = None
    source: str = None
    read_path: str = None


class Target(abc.ABC):
    """check(), then upload() and register() where the image is not there as it should be; remove() for those that are not wanted any more.

    All raise ImageError. A stop (errors.Interrupted) may come at any moment: what is at the target then is found by the next run, or removed by it.
    """

    @abc.abstractmethod
    def check(self, image):
        """What is there of an image already, None where nothing is. Only looks. Raises ImageError where the target cannot take it."""

    @abc.abstractmethod
    def upload(self, image):
        """Bring its bytes there, or go on with that; returns what register() wants."""

    @abc.abstractmethod
    def register(self, image, uploaded):
        """Make of its bytes what the target's users choose, and wait for it; returns that."""

    @abc.abstractmethod
    def remove(self, found):
        """Remove what check() or another look has found."""
