# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The libguestfs appliance: the only place where the file systems of an image are opened."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import platform
import threading

from ...common import advice, packages
from ...common.errors import ImageError
from ...common.process import descendants, kill_descendants
from ...files.space import free_space

#: seconds that a launch with KVM may take before it counts as hung (2-6 are usual)
_KVM_TIMEOUT = 60
#: bytes of free space below which a write of QEMU is about to fail: it needs a cluster and its tables
_LAST_SPACE = 1 << 20


@dataclasses.dataclass
class Disk:
    path: str
    format: str            # always stated, never probed: a guest could have written any header
    readonly: bool = False


def _guestfs():
    try:
        import guestfs
    except ImportError as error:
        raise ImageError("the Python binding of libguestfs is missing where the image work runs", todo=packages.how_to_install("guestfs")) from error
    return guestfs


def _last_words(messages):
    """The line of the appliance's log that most likely tells why it did not start."""
    for line in reversed("".join(messages).splitlines()):
        if any(word in line for word in ("rror", "annot", "denied", "No space", "failed")):
            return line.strip()
    return None


def _kvm_usable():
    """Whether /dev/kvm promises anything: it can be there with nothing behind it that runs an appliance."""
    if "force_tcg" in os.environ.get("LIBGUESTFS_BACKEND_SETTINGS", "") or not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    if platform.machine() != "x86_64":
        return True
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            flags = next((line for line in file if line.startswith("flags")), "").split()
    except OSError:
        return True
    return "vmx" in flags or "svm" in flags


def _boot_options():
    """Kernel options with which the fixed appliance of a builder image was tried when it was made (builder/appliance); empty elsewhere."""
    folder = os.environ.get("LIBGUESTFS_PATH", "")
    if not folder or "LIBGUESTFS_APPEND" in os.environ:
        return ""
    try:
        with open(os.path.join(folder, "append"), encoding="ascii") as file:
            return file.readline().strip()
    except (OSError, ValueError):
        return ""


def _launch(disks, scratch, kvm):
    guestfs = _guestfs()
    handle = guestfs.GuestFS(python_return_dict=True)
    messages = []
    try:
        handle.set_event_callback(lambda event, number, text, array: messages.append(text),
                                  guestfs.EVENT_LIBRARY | guestfs.EVENT_WARNING)
        # "direct" needs no libvirt daemon; a backend that the user chose stays
        if "LIBGUESTFS_BACKEND" not in os.environ:
            handle.set_backend("direct")
        if not kvm:
            handle.set_backend_settings(["force_tcg"])
        options = _boot_options()
        if options:
            handle.set_append(options)
        handle.set_tmpdir(scratch)
        handle.set_autosync(True)
        for disk in disks:
            handle.add_drive_opts(disk.path, format=disk.format, readonly=disk.readonly)
        # a launch that hangs ends when its processes do
        watchdog = threading.Timer(_KVM_TIMEOUT, kill_descendants) if kvm else None
        if watchdog:
            watchdog.daemon = True
            watchdog.start()
        try:
            handle.launch()
        finally:
            if watchdog:
                watchdog.cancel()
        return handle
    except RuntimeError as error:
        handle.close()
        raise ImageError(f"the libguestfs appliance did not start: {_last_words(messages) or error}",
                         todo="run libguestfs-test-tool as the user of this task to see why", log="".join(messages)[-4000:]) from error


class _SpaceWatch(threading.Thread):
    """Ends the appliance when a file system it writes to is full: QEMU would pause the guest for ever (werror=enospc is its default)."""

    def __init__(self, folders):
        super().__init__(name="space-watch", daemon=True)
        self._folders, self._end = folders, threading.Event()
        self.full = None       # the folder whose file system is full

    def run(self):
        while not self._end.wait(0.5):
            for folder in self._folders:
                if free_space(folder, reserved=not os.geteuid()) < _LAST_SPACE:
                    self.full = folder
                    kill_descendants()
                    return

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc_info):
        self._end.set()
        self.join()


@contextlib.contextmanager
def appliance(disks, scratch, progress):
    """A launched libguestfs handle with `disks` as /dev/sda, /dev/sdb, ..., in that order.

    scratch: a folder for its temporary files. On leaving, shutdown() tells write errors (close() would hide them).
    A /dev/kvm that is there can still abort or hang QEMU, so such a launch is tried again without it.
    """
    progress.phase("start appliance")
    kvm = _kvm_usable()
    try:
        handle = _launch(disks, scratch, kvm)
    except ImageError:
        if not kvm:
            raise
        handle = _launch(disks, scratch, False)
    progress.finish()
    with _SpaceWatch({scratch, *(os.path.dirname(disk.path) for disk in disks if not disk.readonly)}) as space:
        try:
            yield handle
            progress.phase("stop appliance")
            handle.umount_all()
            handle.shutdown()
        except (RuntimeError, ImageError) as error:
            if space.full:
                raise ImageError("editing the image failed: no space left on device", os.path.dirname(space.full),
                                 advice.FREE_SPACE, errno="ENOSPC") from error
            if isinstance(error, ImageError):
                raise
            raise guest_error(error, "image work in the libguestfs appliance") from error
        finally:
            handle.close()


def guest_error(error, doing, where=None):
    """A RuntimeError of the binding as an ImageError."""
    words = str(error)
    todo = None
    if "No space left" in words:
        todo = "the file system inside the image is full, or the one that holds the image"
    elif not descendants():
        todo = "the appliance ended early: look for a full disk or a lack of memory on the machine where the work runs"
    return ImageError(f"{doing} failed: {words}", where, todo)
