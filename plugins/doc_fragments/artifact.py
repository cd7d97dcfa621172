# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options and attributes of the modules that write an image file."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  force:
    description:
      - Build the artifact anew, even where its record says that nothing has to be done.
    type: bool
    default: false
  verify:
    description:
      - Read the whole file at the destination and compare it with the checksum in its record, also where size and times
        say that it was not touched since it was made.
    type: bool
    default: false
notes:
  - Beside each artifact a record is written, C(<artifact>.record.json). It holds no secret; it is how a later run knows, without
    opening the image, that there is nothing to do. Keep the two together.
  - The artifact is made in a hidden folder beside its destination and renamed when it is complete and checked. What a killed
    run left there is removed by the next one with the same destination.
  - While the task runs, its progress is shown, at most a line every few seconds. Set the variable C(ocne_images_progress) to
    V(false) to have none, and C(ocne_images_progress_interval) for another number of seconds.
  - Python 3.9 or newer is needed on the host where the module runs.
"""
