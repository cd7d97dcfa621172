# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""On which shapes instances of an image may be launched. After an import they are x86 ones, whatever the image is."""

from __future__ import annotations

import functools
import re

from ...common.errors import ImageError
from . import faults, sdk
from .changes import Change

ARM64_SHAPES = ("VM.Standard.A1.Flex", "VM.Standard.A2.Flex", "BM.Standard.A1.160")
_ARM64 = re.compile(r"\.(A[0-9]+|Arm)\.", re.IGNORECASE)   # VM.Standard.A4.Flex, VM.Standard.Arm.Generic; not VM.GPU.A10.1
_GPU = re.compile(r"\.GPU", re.IGNORECASE)


def is_arm64(shape):
    """Whether a shape is one of Arm processors, by its name."""
    return bool(_ARM64.search(shape)) and not _GPU.search(shape)


def wanted(there, architecture, add=(), remove=()):
    """The shapes that an image is to have (sorted), of those that it has. architecture: "amd64" or "arm64". Raises ImageError for a contradiction.

    An arm64 image has those of its architecture only. Else nothing changes but what is to be added and removed.
    """
    both = sorted(set(add) & set(remove))
    if both:
        raise ImageError(f"shape {both[0]} is both to be added and to be removed", todo="name it once")
    fitting = {*filter(is_arm64, there), *ARM64_SHAPES} if architecture == "arm64" else set(there)
    return sorted((fitting | set(add)) - set(remove))


class Shapes:
    """The shape compatibility entries of images of a Session. retry_seconds: how long each request is tried. Raises CloudFault."""

    def __init__(self, session, retry_seconds=faults.RETRY_SECONDS):
        self._oci, self._compute = sdk.load(), session.compute()
        self._ask, self._pages = (functools.partial(function, retry_seconds=retry_seconds) for function in (faults.call, faults.pages))

    def of(self, image):
        """The names of the shapes of an image (OCID), sorted."""
        return sorted(entry.shape for entry in self._pages(self._compute.list_image_shape_compatibility_entries, image,
                                                           doing="listing the shapes of the image", where=image))

    def ensure(self, image, architecture, add=(), remove=(), check_mode=False):
        """Give an image (OCID) its shapes (wanted()), and take others away; only a list where it has them (Change).

        Limits of processors and memory of an entry that stays are left as they are.
        """
        before = self.of(image)
        after = wanted(before, architecture, add, remove)
        if not check_mode:
            # first those that are new: an image without a shape cannot be launched
            for shape in sorted(set(after) - set(before)):
                self._ask(self._compute.add_image_shape_compatibility_entry, image, shape, doing=f"adding shape {shape} to the image", where=image)
            for shape in sorted(set(before) - set(after)):
                self._remove(image, shape)
        return Change(before, after)

    def _remove(self, image, shape):
        try:
            self._ask(self._compute.remove_image_shape_compatibility_entry, image, shape, doing=f"removing shape {shape} from the image",
                      where=image)
        except faults.CloudFault as fault:
            # gone already: by somebody else, or by a request whose answer was lost
            if not fault.missing:
                raise
