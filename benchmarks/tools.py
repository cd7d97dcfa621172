# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Commands of the peers."""

from __future__ import annotations

import os
import subprocess

from measure import Fault

#: seconds after which a command counts as hung
_PATIENCE = 600


def run(arguments, **options):
    """Run a command to its end and return its standard output; Fault with its words when it fails."""
    try:
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=_PATIENCE, check=False, **options)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Fault(f"{arguments[0]}: {error}") from error
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise Fault(f"{arguments[0]} failed: {' '.join(words[-3:])}")
    return done.stdout


def kvm():
    """Whether virtual machines can use it: /dev/kvm may be there with nothing behind it."""
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        flags = next((line.split() for line in file if line.startswith(("flags", "Features"))), [])
    return os.access("/dev/kvm", os.R_OK | os.W_OK) and (not os.uname().machine == "x86_64" or "vmx" in flags or "svm" in flags)


def same_appliance():
    """Both sides launch libguestfs' ordinary appliance, in the same way."""
    os.environ["LIBGUESTFS_BACKEND"] = "direct"
    for name in ("LIBGUESTFS_PATH", "LIBGUESTFS_HV", "LIBGUESTFS_MEMSIZE", "LIBGUESTFS_SMP"):
        os.environ.pop(name, None)
    if not kvm():
        os.environ["LIBGUESTFS_BACKEND_SETTINGS"] = "force_tcg"


def _version(*command):
    try:
        words = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout.split("\n")[0].split()
    except OSError:
        return "absent"
    return next((word.strip("(,)]") for word in words if word[:1].isdigit()), "?")


def machine():
    """One line: what was measured on."""
    with open("/proc/meminfo", encoding="ascii") as file:
        memory = int(file.readline().split()[1]) / (1 << 20)
    with open("/etc/os-release", encoding="utf-8") as file:
        system = dict(line.rstrip("\n").split("=", 1) for line in file if "=" in line)
    versions = [f"{name} {_version(name, '--version')}" for name in ("qemu-img", "guestfish", "skopeo", "podman")]
    versions.append(f"ansible-core {_version('ansible-playbook', '--version').rstrip(']')}")
    return (f"{os.cpu_count()} cores ({os.uname().machine}), {memory:.0f} GiB of memory, {'KVM' if kvm() else 'no KVM (the appliance is emulated)'}, "
            f"{system.get('PRETTY_NAME', '').strip(chr(34))}; " + ", ".join(versions))
