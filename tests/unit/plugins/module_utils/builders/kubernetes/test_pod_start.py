# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The first process of a pod, as a real shell runs it: its tools are scripts that say what they were told."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest

from ansible_collections.ocne.images.plugins.module_utils.builders.kubernetes import pod_start
from ansible_collections.ocne.images.plugins.module_utils.common import packages

SHELLS = [name for name in ("sh", "bash", "dash") if shutil.which(name)]
#: what the script and its tools here ask of a system
USUAL = ("chmod", "cut", "echo", "env", "ln", "mkdir", "tail")


@pytest.fixture(params=SHELLS)
def pod(request, tmp_path):
    return Pod(tmp_path, shutil.which(request.param))


class Pod:
    """A system of its own: programs in bin/, and none of the host's but the usual ones. Paths of the script's are below the folder."""

    def __init__(self, folder, shell):
        self.folder, self.shell, self.environment = folder, shell, {}
        (folder / "bin").mkdir()
        for name in USUAL:
            os.symlink(shutil.which(name), folder / "bin" / name)
        for name in ("etc", "dev", "tmp"):
            (folder / name).mkdir()
        self.script = re.sub(r"(?<![\w/.])/(etc|tmp)/", rf"{folder}/\1/", pod_start.SCRIPT).replace("/dev/termination-log", f"{folder}/dev/termination-log")
        self.script = self.script.replace("-w /etc ", f"-w {folder}/etc ")
        self.program("id", "echo 0")
        self.program("python3", 'case "$*" in *guestfs*) [ -e $0.guestfs ];; *) echo "$@"; env; esac')

    def program(self, name, lines):
        path = self.folder / "bin" / name
        path.write_text(f"#!{self.shell}\n{lines}\n")
        path.chmod(0o755)

    def ready(self):
        for name in packages.TOOLS:
            self.program(name, "")
        (self.folder / "bin/python3.guestfs").touch()

    def manager(self, name, works=True):
        """A package manager that brings what is missing, or fails."""
        bring = "".join(f"printf '#!{self.shell}\\n' >{self.folder}/bin/{tool}; chmod 755 {self.folder}/bin/{tool}\n" for tool in packages.TOOLS)
        lines = f"{bring}: >{self.folder}/bin/python3.guestfs" if works else "echo first; echo 'no such package' >&2; exit 1"
        self.program(name, f'echo "$@" >>{self.folder}/{name}.told\n{lines}')

    def told(self, name):
        return (self.folder / f"{name}.told").read_text().splitlines()

    def start(self):
        environment = {"PATH": str(self.folder / "bin"), "HOME": str(self.folder / "home"), "TMPDIR": str(self.folder / "scratch"), "OCNE_START": "START",
                       **self.environment}
        return subprocess.run([self.shell, "-c", self.script, "agent", "--port", "1"], env=environment, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=60, check=False)


def test_where_all_is_there_it_becomes_the_agent(pod):
    pod.ready()
    pod.environment = {"HTTPS_PROXY": "http://proxy:1", "no_proxy": "a,b"}
    done = pod.start()
    assert done.returncode == 0 and done.stderr == ""
    words = done.stdout.splitlines()
    assert words[0] == "-I -c START --port 1"
    assert {"https_proxy=http://proxy:1", "HTTPS_PROXY=http://proxy:1", "NO_PROXY=a,b", "no_proxy=a,b"} <= set(words)
    assert not [word for word in words if word.lower().startswith("http_proxy=")]
    assert (pod.folder / "home").is_dir() and (pod.folder / "scratch").is_dir() and not (pod.folder / "dev/termination-log").exists()


@pytest.mark.parametrize("manager", ["dnf", "microdnf", "apt-get"])
def test_what_is_missing_is_installed(pod, manager):
    pod.manager(manager)
    pod.program("dpkg", "echo arm64")
    done = pod.start()
    assert done.returncode == 0, done
    assert done.stdout.splitlines()[0] == "installing: qemu-img skopeo zstd libguestfs" and "-I -c START --port 1" in done.stdout
    last = pod.told(manager)[-1].split()
    wanted = packages.names("apt", architecture="arm64") if manager == "apt-get" else packages.names("dnf")
    assert last[-len(wanted):] == wanted and "install" in last
    assert len(pod.told(manager)) == (2 if manager == "apt-get" else 1)


def test_an_installation_that_fails_is_told_with_its_last_words(pod):
    pod.manager("dnf", works=False)
    done = pod.start()
    assert done.returncode == 64
    message = (pod.folder / "dev/termination-log").read_text()
    assert "lacks qemu-img skopeo zstd libguestfs, and they could not be installed" in message and message.endswith("first\nno such package\n")
    assert message in done.stdout and "START" not in done.stdout


def test_a_list_that_cannot_be_fetched_is_not_used(pod):
    pod.manager("apt-get", works=False)
    pod.program("dpkg", "echo amd64")
    assert pod.start().returncode == 64
    assert len(pod.told("apt-get")) == 1 and pod.told("apt-get")[0].endswith("update")


def test_there_is_no_package_manager(pod):
    done = pod.start()
    assert done.returncode == 64 and (pod.folder / "dev/termination-log").read_text().endswith("there is no dnf, microdnf or apt-get\n")


def test_an_ordinary_user_installs_nothing(pod):
    pod.ready()
    (pod.folder / "bin/zstd").unlink()
    pod.program("id", "echo 1000")
    pod.manager("dnf")
    done = pod.start()
    assert done.returncode == 64 and not (pod.folder / "dnf.told").exists()
    assert (pod.folder / "dev/termination-log").read_text().startswith(
        "the image of the builder pod lacks zstd, and the pod may not install them (security: restricted, or an ordinary user); use a ready image")
