# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The edits of one image in a launched appliance, and reading back what was asked for."""

from __future__ import annotations

import functools
import posixpath
import re
import stat

from ...common import advice
from ...common.errors import ImageError
from . import bls, ignition, loader, partitions
from .appliance import guest_error
from .selinux import RULE_FILES, SUBSTITUTION_FILES, XATTR, FileContexts
from .view import View, is_file, is_folder, is_link, lstat, names, read_range, read_small

_MAX_TEXT = 1 << 20          # bytes of fstab, grub.cfg, passwd
_MAX_POLICY = 8 << 20        # bytes of one file_contexts; large policies have half a MiB
_MESSAGE = 1 << 20           # bytes written at once
_ROOM = 4 << 20              # bytes that stay free in the boot partition
_WRITABLE = ("/etc", "/var", "/boot")
#: files of GRUB that may name file systems by their UUID; those of EFI are in a folder of each vendor
_GRUB = ("grub2/grub.cfg", "grub2/grubenv", "grub2/bootuuid.cfg", "grub2/user.cfg", "grub/grub.cfg", "grub/grubenv", "grub/bootuuid.cfg")
_GRUB_EFI = ("grub.cfg", "grubenv", "bootuuid.cfg")


class _Site:
    """A booting deployment: its paths, its users and its SELinux policy."""

    def __init__(self, g, deployment, roles):
        self.deployment = deployment
        self.view = loader.booted_view(g, deployment, roles)
        self._g = g
        self._policy = self._ids = None

    def text(self, path, limit=_MAX_TEXT):
        """A text file, links followed; empty where there is none."""
        path = self.view.resolve(path)
        if not is_file(self.view.lstat(path)):
            return ""
        return read_small(self._g, self.view.real(path), limit, f"{path} of the image").decode("utf-8", "surrogateescape")

    def label(self, path, mode):
        """The SELinux label of a path by this deployment's own policy, or None where it has none."""
        if self._policy is None:
            kind = re.search(r"^\s*SELINUXTYPE\s*=\s*([A-Za-z0-9_-]+)", self.text("/etc/selinux/config"), re.MULTILINE)
            folder = f"/etc/selinux/{kind.group(1)}/contexts/files/" if kind else None
            self._policy = FileContexts({name: self.text(folder + name, _MAX_POLICY) for name in RULE_FILES + SUBSTITUTION_FILES} if folder else {})
        return self._policy.lookup(path, mode)

    def number(self, name, file, path):
        """A user's (file: passwd) or group's (group) number in the image."""
        if name.isdigit():
            return int(name)
        for folder in ("/etc", "/usr/lib"):
            for line in self.text(f"{folder}/{file}").splitlines():
                fields = line.split(":")
                if len(fields) > 2 and fields[0] == name and fields[2].isdigit():
                    return int(fields[2])
        raise ImageError(f"the image has no {'user' if file == 'passwd' else 'group'} {name!r}", path, "give its number, or one that the image has")


class Editor:
    """Does one Recipe on one disk of a launched appliance. uuids: new ones for "boot" and "root", or empty."""

    def __init__(self, g, device, recipe, uuids):
        self._g, self._device, self._recipe, self._uuids = g, device, recipe, uuids
        self._changed_uuids = {}     # old -> new
        self._checks = {}            # path in the appliance -> function that tells whether all is there as it should be
        self._values = {"files": [], "uuids": {}, "machine_id_removed": False, "ignition_config": None}

    def run(self):
        """Edits the image, reads back what was asked for, and returns values for the module. Raises ImageError."""
        try:
            self._roles = partitions.find_roles(self._g, self._device)
            self._require_boot_and_root()
            self._set_uuids()
            if not self._changed_uuids:
                self._roles.efi = None   # nothing to do there: a mount saved
            partitions.mount(self._g, self._roles)
            self._read_entries()
            self._edit_entries()
            self._edit_references()
            self._remove_machine_ids()
            self._put_files()
            self._embed_ignition()
            self._verify()
            partitions.umount(self._g)
        except RuntimeError as error:
            raise guest_error(error, "customizing the image") from error
        return self._values

    # --- what is there ---------------------------------------------------------------------------

    def _require_boot_and_root(self):
        for name in ("boot", "root"):
            if getattr(self._roles, name) is None:
                raise ImageError(f"the image has no partition named {name}", todo="a boot image has the partitions boot and root, by GPT name or label")

    def _read_entries(self):
        g = self._g
        folder = loader.loader_folder(g)
        entries = loader.boot_entries(g, folder) if folder else []
        self._entries = [entry for entry in entries if entry.entry.get("linux")]
        for entry in self._entries:
            entry.deployment = loader.deployment_of(g, entry.entry)
        deployments = [entry.deployment for entry in self._entries if entry.deployment]
        if not deployments:
            raise ImageError("the image has no ostree deployment that boots", todo="only images of an ostree-based system, such as ock, can be customized")
        self._sites = [_Site(g, deployment, self._roles) for number, deployment in enumerate(deployments) if deployment not in deployments[:number]]

    def _place(self, view, path, follow=False):
        """The path without links, where it is one of those that may be written. follow: a link in the last place too. Raises ImageError."""
        real = view.resolve(path, follow)
        if real not in _WRITABLE and not real.startswith(tuple(prefix + "/" for prefix in _WRITABLE)) or (real + "/").startswith("/boot/efi/"):
            raise ImageError(f"a symbolic link of the image leads to {real[:200]!r}, out of /etc, /var and /boot", path,
                             "choose another path, or do not use this image")
        return real

    # --- identity --------------------------------------------------------------------------------

    def _set_uuids(self):
        for name in ("boot", "root"):
            partition = getattr(self._roles, name)
            if not partition.uuid:
                partitions.identify(self._g, partition)
            if not partition.uuid:
                raise ImageError(f"there is no known file system on the partition {name}", todo="this is not a boot image")
            if partition.uuid in self._changed_uuids:
                raise ImageError("boot and root have the same UUID", todo=advice.HARMFUL)
            new = self._uuids.get(name, partition.uuid)
            old = partition.uuid
            if old != new:
                self._set_uuid(partition, new)
                self._changed_uuids[old] = new
            self._values["uuids"][name] = new

    def _set_uuid(self, partition, new):
        where = f"partition {partition.number} ({partition.name or partition.label})"
        # set_uuid() would first ask a process of its own for the type
        if partition.filesystem == "xfs":
            change = functools.partial(self._g.xfs_admin, partition.device, uuid=new)
        else:
            change = functools.partial(self._g.set_uuid, partition.device, new)
        try:
            try:
                change()
            except RuntimeError as error:
                if "log" not in str(error):
                    raise
                # xfs_admin wants what is in the log written first; a mount does that
                self._g.mount(partition.device, partitions.ROOT)
                self._g.umount(partitions.ROOT)
                change()
            # while nothing has the device open, the kernel keeps none of it: this comes from the disk
            partitions.identify(self._g, partition)
        except RuntimeError as error:
            raise guest_error(error, f"giving {where} a new UUID") from error
        if partition.uuid != new:
            raise ImageError("the new UUID of a file system does not read back", partition.name)

    def _renamed(self, text):
        for old, new in self._changed_uuids.items():
            text = re.sub(re.escape(old), new, text, flags=re.IGNORECASE)
        return text

    def _edit_references(self):
        """fstab of every deployment, and GRUB's files, name the file systems too."""
        if not self._changed_uuids:
            return
        for view in self._all_views():
            self._rename_in(view.real(self._place(view, "/etc/fstab", follow=True)))
        for name in _GRUB:
            self._rename_in(f"{partitions.BOOT}/{name}")
        if self._roles.efi and is_folder(lstat(self._g, partitions.EFI + "/EFI")):
            for vendor in names(self._g, partitions.EFI + "/EFI"):
                for name in _GRUB_EFI:
                    self._rename_in(f"{partitions.EFI}/EFI/{vendor}/{name}")

    def _rename_in(self, path):
        folder = lstat(self._g, posixpath.dirname(path))
        status = lstat(self._g, path) if is_folder(folder) else None
        if not is_file(status):
            return
        # kept byte by byte where it is not UTF-8
        before = read_small(self._g, path, _MAX_TEXT, "a file that names file systems").decode("utf-8", "surrogateescape")
        after = self._renamed(before)
        if after != before:
            self._rewrite(path, status, after.encode("utf-8", "surrogateescape"))

    def _all_views(self):
        booting = {site.deployment.path: site.view for site in self._sites}
        return [booting.get(deployment.path) or loader.booted_view(self._g, deployment, self._roles) for deployment in loader.all_deployments(self._g)]

    def _remove_machine_ids(self):
        if self._recipe.machine_id != "remove":
            return
        for view in self._all_views():
            path = self._place(view, "/etc/machine-id")
            self._remove(view, path)
            self._expect(view.real(path), functools.partial(self._absent, view.real(path)))
            # a link to it, mostly; else D-Bus has a copy
            path = self._place(view, "/var/lib/dbus/machine-id")
            if is_file(view.lstat(path)):
                self._remove(view, path)

    def _remove(self, view, path):
        status = view.lstat(path)
        if status is not None and not is_folder(status):
            self._g.rm(view.real(path))
            view.forget()
            self._values["machine_id_removed"] = True

    # --- boot entries ----------------------------------------------------------------------------

    def _edit_entries(self):
        for entry in self._entries:
            arguments = entry.entry.arguments
            if self._recipe.ignition_platform:
                arguments = bls.assign(arguments, "ignition.platform.id", self._recipe.ignition_platform)
            for edits in self._recipe.kernel_arguments:
                arguments = bls.edit(arguments, **edits)
            arguments = [self._renamed(argument) for argument in arguments]
            if entry.entry.set_arguments(arguments):
                self._rewrite(entry.path, lstat(self._g, entry.path), entry.entry.dump().encode("utf-8", "surrogateescape"))
        self._values["kernel_command_lines"] = [
            {"entry": entry.name, "options": entry.entry.options.encode("utf-8", "surrogateescape").decode("utf-8", "replace")}
            for entry in self._entries]

    # --- files -----------------------------------------------------------------------------------

    def _put_files(self):
        done = set()
        for item in self._recipe.files:
            for site in self._sites:
                real = self._place(site.view, item.path)
                target = site.view.real(real)
                if target not in done:
                    done.add(target)
                    self._put(site, item, real, target)
            self._values["files"].append(item.path)

    def _put(self, site, item, path, target):
        status = site.view.lstat(path)
        if status is not None and not (is_file(status) or is_link(status)):
            raise ImageError("there is a folder or a special file of that name in the image", item.path, "choose another path")
        self._make_parents(site, posixpath.dirname(path))
        old = status if is_file(status) else None
        owner = site.number(item.owner, "passwd", item.path) if item.owner is not None else (old["st_uid"] if old else 0)
        group = site.number(item.group, "group", item.path) if item.group is not None else (old["st_gid"] if old else 0)
        mode = item.mode if item.mode is not None else (stat.S_IMODE(old["st_mode"]) if old else 0o644)
        if status is not None:
            # a link must not be followed, nor a hard link shared with ostree's repository
            self._g.rm(target)
        if item.small or item.src is None:
            self._write(target, item.data())
        else:
            self._g.upload(item.src, target)
        # chown clears the bits of setuid: first the owner, then the mode
        if (owner, group) != (0, 0):
            self._g.chown(owner, group, target)
        if mode != 0o644:
            self._g.chmod(mode, target)
        label = site.label(path, stat.S_IFREG)
        if label:
            self._set_label(target, label)
        site.view.forget()
        self._expect(target, lambda: self._same_file(target, item, mode, owner, group, label))

    def _make_parents(self, site, folder):
        missing = []
        while site.view.lstat(folder) is None:
            missing.append(folder)
            folder = posixpath.dirname(folder)
        for path in reversed(missing):
            self._g.mkdir_mode(site.view.real(path), 0o755)
            label = site.label(path, stat.S_IFDIR)
            if label:
                self._set_label(site.view.real(path), label)

    def _set_label(self, path, label):
        # the NUL at its end is part of the value, as libselinux has it
        self._g.lsetxattr(XATTR, label, len(label) + 1, path)

    def _write(self, path, data):
        """A new file, or new bytes in an old one."""
        self._g.write(path, data[:_MESSAGE])
        for offset in range(_MESSAGE, len(data), _MESSAGE):
            self._g.pwrite(path, data[offset:offset + _MESSAGE], offset)

    def _rewrite(self, path, status, data):
        """New bytes for a file that is there; owner, mode and label stay."""
        if status["st_nlink"] > 1:
            label = self._label_of(path)
            self._g.rm(path)
            self._write(path, data)
            self._g.chown(status["st_uid"], status["st_gid"], path)
            self._g.chmod(stat.S_IMODE(status["st_mode"]), path)
            if label:
                self._set_label(path, label)
        else:
            self._write(path, data)
        self._expect(path, lambda: self._same_bytes(path, data))

    def _label_of(self, path):
        try:
            return self._g.lgetxattr(path, XATTR).decode("utf-8", "replace").rstrip("\0")
        except RuntimeError:   # it has none
            return None

    # --- Ignition --------------------------------------------------------------------------------

    def _embed_ignition(self):
        config = self._recipe.ignition_config
        if config is None:
            return
        view = View(self._g, {"/": partitions.BOOT})
        paths = []
        for entry in self._entries:
            images = [path for key, value in entry.entry.items() if key == "initrd" for path in value.split()]
            if not images:
                raise ImageError("the boot entry has no initramfs that could hold an Ignition configuration", entry.name)
            real = view.resolve(images[-1])
            if not is_file(view.lstat(real)):
                raise ImageError("the initramfs of the boot entry is missing", f"/boot{real}"[:300], "use an image that is whole")
            paths.append(view.real(real))
        for path in sorted(set(paths)):
            self._embed(path, config.encode())
        self._values["ignition_config"] = bool(config)

    def _embed(self, path, config):
        size = lstat(self._g, path)["st_size"]
        old = loader.embedded(self._g, path, size)
        if (old[1] if old else b"") == config:
            self._expect(path, lambda: self._same_config(path, config))
            return
        if old:
            size = old[0]
            self._g.truncate_size(path, size)
        if config:
            addition = ignition.padding(size) + ignition.archive(config)
            free = self._g.statvfs(partitions.BOOT)
            if free["bavail"] * free["frsize"] < len(addition) + _ROOM:
                raise ImageError("the boot partition is too full for the Ignition configuration", "/boot",
                                 "let the configuration fetch its contents from a URL", needed_bytes=len(addition))
            for offset in range(0, len(addition), _MESSAGE):
                self._g.pwrite(path, addition[offset:offset + _MESSAGE], size + offset)
        self._expect(path, lambda: self._same_config(path, config))

    # --- reading back ----------------------------------------------------------------------------

    def _expect(self, path, check):
        # the last word on a file counts: a task may put one where another was edited
        self._checks[path] = check

    def _verify(self):
        """Reads what was written from the disk, not from the appliance's memory."""
        self._g.drop_caches(3)   # after a sync of its own
        for path, check in self._checks.items():
            if not check():
                raise ImageError("what was written to the image does not read back", path, "look for a faulty disk or memory, then run the task again")

    def _absent(self, path):
        return lstat(self._g, path) is None

    def _same_bytes(self, path, data):
        status = lstat(self._g, path)
        return status is not None and status["st_size"] == len(data) and read_range(self._g, path, 0, len(data)) == data

    def _same_file(self, path, item, mode, owner, group, label):
        status = lstat(self._g, path)
        if not is_file(status) or (stat.S_IMODE(status["st_mode"]), status["st_uid"], status["st_gid"]) != (mode, owner, group):
            return False
        if label and self._label_of(path) != label:
            return False
        return self._same_bytes(path, item.data()) if item.small else self._g.checksum("sha256", path) == item.sha256

    def _same_config(self, path, config):
        found = loader.embedded(self._g, path, lstat(self._g, path)["st_size"])
        return (found[1] if found else b"") == config
