# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tries an appliance of libguestfs: what the work does with an image, in short; prints how long the launch took (seconds)."""
import os
import time

import guestfs

g = guestfs.GuestFS(python_return_dict=True)
disk = os.environ["TMPDIR"] + "/disk"
with open(disk, "wb") as file:
    file.truncate(1 << 30)
g.add_drive_opts(disk, format="raw")
begin = time.monotonic()
g.launch()
took = time.monotonic() - begin
g.part_init("/dev/sda", "gpt")
g.part_add("/dev/sda", "p", 2048, 204799)
g.part_add("/dev/sda", "p", 204800, -2048)
g.mkfs("vfat", "/dev/sda1")
g.mkfs("xfs", "/dev/sda2", label="root")
g.set_uuid_random("/dev/sda2")
assert g.findfs_label("root") == "/dev/sda2"
g.mount("/dev/sda2", "/")
g.mkdir("/efi")
g.mount("/dev/sda1", "/efi")
g.write("/efi/a", b"a")
g.write("/b", b"b")
g.setxattr("security.selinux", "system_u:object_r:etc_t:s0", 27, "/b")
assert g.read_file("/efi/a") + g.read_file("/b") == b"ab"
g.umount_all()
g.shutdown()
print(f"launched in {took:.1f} s")
