# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a reader can do, in sentences that more than one error ends with (errors.ImageError, todo)."""

from __future__ import annotations

RUN_AGAIN = "run the task again"
RUN_AGAIN_UNDISTURBED = "run the task again when nothing writes to it"
FREE_SPACE = "free some space there, or choose a destination on a larger file system"
GIVE_ACCESS = "give the user of this task access to it, or use become"
CHECK_PATH = "check the path (it is on the host where the module runs)"
CHECK_WORK_PATH = "check the path (it is on the host where the image work runs)"
CHECK_PROXY = "check proxy, and HTTPS_PROXY in the environment"
NAME_AUTHORITY = "name its authority's certificates with cert_bundle"
NETWORK_AND_AGAIN = "check the network, and run the task again"
CHECK_NETWORK = "check the network, or raise retries"
COPY_AGAIN = "copy or pull it again"
PULL_AGAIN = "pull the image again; if it stays, the image is broken and must be pushed again"
CONVERT_ELSEWHERE = "convert it with the program that made it"
FLATTEN = "flatten it first (qemu-img convert)"
LARGER_WORKSPACE = "make the builder with a larger workspace"
NAME_PATH = "name the file with path as it really is in the image"
UNTRUSTED = "do not use an image that you have no reason to trust; ask for it from where it was published"
HARMFUL = "the image is damaged or made to do harm: do not use it"
REPORT = "this is a defect of ocne.images: please report it with the details"
