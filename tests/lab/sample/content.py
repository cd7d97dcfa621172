# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The texts of an OCK-shaped image that name its own identity: they must agree with each other."""

OPTIONS = ('rw ip=dhcp rd.neednet=1 ignition.platform.id=qemu ignition.firstboot=1 systemd.firstboot=off crashkernel=auto '
           'console=ttyS0 root=UUID={root} rd.timeout=120')


def options(ids):
    """Kernel arguments as OCK ships them, without ostree=, which depends on the deployment."""
    return OPTIONS.format(root=ids['root'])


def fstab(ids, efi):
    """/etc/fstab of the deployment; efi is the vfat volume id, or None where there is no such partition."""
    lines = ['UUID=%s / xfs defaults 0 0' % ids['root'], 'UUID=%s /boot xfs defaults 0 0' % ids['boot']]
    if efi:
        lines.append('UUID=%s /boot/efi vfat umask=0077,shortname=winnt 0 2' % efi)
    return '\n'.join(lines) + '\n'


def grub_cfg(ids):
    """boot/grub2/grub.cfg: as on Oracle Linux, it finds boot and names root."""
    return '''set timeout=1
search --no-floppy --fs-uuid --set=root %(boot)s
if [ -z "${kernelopts}" ]; then
  set kernelopts="root=UUID=%(root)s ro"
fi
insmod blscfg
blscfg
''' % ids


def efi_grub_cfg(ids):
    """EFI/redhat/grub.cfg: it only finds the boot partition and reads the other one."""
    return '''search --no-floppy --fs-uuid --set=root %(boot)s
set prefix=($root)/grub2
configfile $prefix/grub.cfg
''' % ids
