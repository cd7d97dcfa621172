# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the plays of these tests stand on: the lab's registry and images, ansible-core at both ends, an sshd."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time

import pytest

LAB = pathlib.Path(__file__).parents[1] / "lab"
sys.path[:0] = [str(pathlib.Path(__file__).parent), str(LAB), str(LAB / "oci")]

import clouds  # noqa: E402
import pods  # noqa: E402
from plays import CORES, SHARED, VENVS, Play  # noqa: E402

from registry import control  # noqa: E402
from sample import build  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "cluster: needs the lab's Kubernetes cluster; set by itself")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if "cluster" in item.fixturenames:
            item.add_marker("cluster")


@pytest.fixture(scope="session", params=CORES)
def core(request):
    """ansible-core: oldest, newest."""
    return request.param


@pytest.fixture(scope="session")
def tiny():
    """name -> path of the tiny images."""
    return {name: info["disk"] for name, info in build.disks(list(build.tiny.SHAPES)).items()}


@pytest.fixture(scope="session")
def real():
    """The path of the sample image that boots."""
    return build.disks(["real"])["real"]["disk"]


@pytest.fixture(scope="session")
def registry(tmp_path_factory):
    """The lab's two registries with the sample images in them."""
    if SHARED:
        yield control.up(SHARED / "registries")
        return
    state = tmp_path_factory.mktemp("registry")
    try:
        known = control.up(state)
        control.push(state)
        yield known
    finally:
        control.down(state, purge=True)


@pytest.fixture(scope="session")
def cluster():
    """The lab's Kubernetes cluster; skips where this machine cannot have it. It is stopped if it did not run before."""
    known = pods.up()
    try:
        yield known
    finally:
        if known["started"]:
            pods.lab("down")


@pytest.fixture(scope="session")
def cloud(tmp_path_factory):
    """The lab's stand-in for Oracle's cloud (clouds.Cloud)."""
    state = SHARED / "cloud" if SHARED else tmp_path_factory.mktemp("cloud")
    try:
        yield clouds.up(state)
    finally:
        if not SHARED:
            clouds.down(state)


@pytest.fixture(scope="session")
def cloud_of_pods(cluster, tmp_path_factory):
    """pods.Endpoint: Oracle's cloud as pods of the cluster see it."""
    made = pods.Endpoint(tmp_path_factory.mktemp("cloud"), cluster["gateway"])
    yield made
    made.close()


@pytest.fixture
def namespace(cluster):
    """namespace(level, role) -> pods.Namespace; all are removed at the end of the test."""
    made = []

    def make(level="baseline", role=None):
        made.append(pods.Namespace(level, role))
        return made[-1]

    yield make
    for each in made:
        each.remove()


@pytest.fixture(scope="session")
def sshd(tmp_path_factory):
    """A real sshd on loopback for the user of this test, with a key of its own."""
    server = shutil.which("sshd", path="/usr/sbin:/usr/bin")
    folder = tmp_path_factory.mktemp("sshd")
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    shutil.copy(folder / "user.pub", folder / "authorized")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\nPidFile {folder}/pid\n"
        "UsePAM no\nStrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\nSubsystem sftp internal-sftp\n")
    if os.geteuid() == 0:
        os.makedirs("/run/sshd", exist_ok=True)
    process = subprocess.Popen([server, "-D", "-f", folder / "config", "-E", folder / "log"])
    try:
        for _attempt in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield (f"there ansible_host=127.0.0.1 ansible_port={port} ansible_user={getpass.getuser()} ansible_connection=ssh "
               f"ansible_ssh_private_key_file={folder}/user ansible_python_interpreter=/usr/bin/python3 "
               f"ansible_ssh_common_args='-o UserKnownHostsFile={folder}/known -o StrictHostKeyChecking=no -o ControlPath={folder}/%C'\n")
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def start(tmp_path, core):
    """start(playbook text or path, ..., vars) -> Play; what still runs at the end is killed."""
    plays = []
    # channels of progress go to a folder of this test's own
    (tmp_path / "system").mkdir()
    (tmp_path / "system").chmod(0o1777)

    def begin(playbook, *arguments, extra=None, env=None, user=None, within=()):
        if not isinstance(playbook, pathlib.Path):
            path = tmp_path / f"play{len(plays)}.yml"
            path.write_text(playbook)
            playbook = path
        command = [str(VENVS / core / "bin" / "ansible-playbook"), str(playbook), *arguments]
        if extra:
            command += ["-e", json.dumps(extra)]
        if user:
            command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *command]
        command = [*within, *command]
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        environment = dict(inherited, ANSIBLE_COLLECTIONS_PATH=os.environ.get("ANSIBLE_COLLECTIONS_PATH", ""), ANSIBLE_NOCOLOR="1",
                           PYTHONUNBUFFERED="1",   # as on a terminal, and in AWX
                           ANSIBLE_SYSTEM_TMPDIRS=str(tmp_path / "system"),
                           ANSIBLE_LOCALHOST_WARNING="0", ANSIBLE_INVENTORY_UNPARSED_WARNING="0", LC_ALL="C.UTF-8")
        play = Play(command, dict(environment, **(env or {})), tmp_path)
        plays.append(play)
        return play

    yield begin
    for play in plays:
        play.kill_all()
        play.process.wait()


@pytest.fixture
def run(start):
    """Like start, to the end; asserts success unless fails=True. Returns the Play."""
    def go(playbook, *arguments, fails=False, timeout=1200, **keywords):
        play = start(playbook, *arguments, **keywords)
        status = play.wait(timeout)
        assert bool(status) == fails, play.text
        assert "Traceback" not in play.text
        return play
    return go


@pytest.fixture
def inside(run):
    """run, in the network of the lab's cluster."""
    return lambda *arguments, **keywords: run(*arguments, within=[str(pods.LAB / "enter")], **keywords)


@pytest.fixture
def clean_tmp(tmp_path):
    """Fails where a test left a progress channel behind."""
    yield
    deadline = time.monotonic() + 60
    while os.listdir(tmp_path / "system") and time.monotonic() < deadline:
        time.sleep(0.2)
    assert [name for name in os.listdir(tmp_path / "system") if name.startswith("ocne-images-progress-")] == []
