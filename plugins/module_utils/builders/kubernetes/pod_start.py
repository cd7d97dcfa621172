# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The first process of a builder pod: a shell script that installs what the image lacks, where it may, and becomes the agent."""

from __future__ import annotations

from ...common import packages

#: @TOOLS@: what must be there; @DNF@, @APT@: what is installed for that
_SHELL = r"""
set -u
for pair in http_proxy:HTTP_PROXY https_proxy:HTTPS_PROXY no_proxy:NO_PROXY; do
    lower=${pair%:*} upper=${pair#*:}   # most programs read one spelling only
    eval "value=\${$lower:-\${$upper:-}}"
    [ -z "$value" ] || export "$lower=$value" "$upper=$value"
done
lacks() {
    for tool in @TOOLS@; do command -v $tool >/dev/null 2>&1 || echo $tool; done
    command -v python3 >/dev/null 2>&1 && python3 -I -c 'import guestfs' 2>/dev/null || echo libguestfs
}
missing=$(lacks) why="the pod may not install them (security: restricted, or an ordinary user)" log=/tmp/install.log
if [ "$missing" ] && [ "$(id -u)" = 0 ] && [ -w /etc ]; then
    echo "installing:" $missing
    why="they could not be installed (the last words of the package manager are below)"
    # no initramfs for the kernel: only the appliance boots it, with one of its own
    mkdir -p /etc/kernel/install.d /etc/kernel/postinst.d /etc/initramfs-tools
    for tool in dnf microdnf apt-get none; do command -v $tool >/dev/null && break; done
    case $tool in
    dnf | microdnf)
        ln -sf /dev/null /etc/kernel/install.d/50-dracut.install
        $tool -y --setopt=install_weak_deps=0 --setopt=tsflags=nodocs install \
            @DNF@ >$log 2>&1 ;;
    apt-get)
        printf '#!/bin/sh\n' >/etc/kernel/postinst.d/initramfs-tools && chmod 755 /etc/kernel/postinst.d/initramfs-tools
        echo update_initramfs=no >/etc/initramfs-tools/update-initramfs.conf
        export DEBIAN_FRONTEND=noninteractive
        { apt-get -q -o APT::Update::Error-Mode=any update &&
            apt-get -qy -o Dpkg::Options::=--force-confold --no-install-recommends install \
            @APT@; } >$log 2>&1 ;;
    none) echo "there is no dnf, microdnf or apt-get" >$log ;;
    esac
    missing=$(lacks)
fi
if [ "$missing" ]; then
    message="the image of the builder pod lacks $(echo $missing), and $why; use a ready image: the playbook ocne.images.build_builder_image builds it"
    [ ! -e $log ] || message="$message
$(tail -n 5 $log | cut -c1-300)"
    echo "$message" >/dev/termination-log
    echo "$message"
    exit 64
fi
mkdir -p "$HOME" "$TMPDIR"
exec python3 -I -c "$OCNE_START" "$@"
"""

_ARCHITECTURE = "$(dpkg --print-architecture)"


def _words(names):
    return " ".join(f'"{name}"' if "$" in name else name for name in names)


#: /bin/sh -c SCRIPT NAME ARGUMENT...: the arguments are the agent's; OCNE_START is what Python runs
SCRIPT = (_SHELL.replace("@TOOLS@", _words(packages.TOOLS))
          .replace("@DNF@", _words(packages.names("dnf")))
          .replace("@APT@", _words(packages.names("apt", architecture=_ARCHITECTURE))))
