# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From boot media to a custom image: the role, run again, stopped in its midst, through a proxy, and in builder pods, which send the image themselves."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import socket
import threading
import time

import clouds
import pytest
from plays import CORES, ROOT, VENVS, hidden
from pods import IMAGE, Line

PLAYBOOK = ROOT / "playbooks" / "build-oci-image.yml"
NAME = "boot.qcow2-1.33-amd64.oci"
RECAP = re.compile(r"ok=\d+ +changed=(\d+) +unreachable=0 +failed=0")
TOLD = re.compile(r" is available: (ocid1\.image\.[^\s\"]+)")
#: what does not differ between them is tested with one ansible-core
newest = pytest.mark.parametrize("core", CORES[-1:], indirect=True)


def variables(cloud, source, folder, **more):
    """Of the role: a tiny image, that no other test makes, goes to the compartment team/builds, under a name and by a bucket of its own."""
    name = "t-" + secrets.token_hex(4)
    return dict({"oci_image_source": source, "oci_image_registry": {"verify": False}, "oci_image_directory": str(folder), "oci_image_architecture": "amd64",
                 "oci_image_compartment": "team/builds", "oci_image_bucket": name, "oci_image_create_bucket": True, "oci_image_display_name": name,
                 "oci_image_files": [{"path": "/etc/issue", "content": name}], "oci_image_wait_interval": 1, "oci_image_cloud": cloud.options(),
                 # of the module host: it has Oracle's SDK, which the oldest ansible-core's own has not
                 "ansible_python_interpreter": str(VENVS / "oci-cli/bin/python")}, **more)


def changed(play):
    return int(RECAP.search(play.text)[1])


def told(play):
    """The OCID that the role ends with."""
    return TOLD.search(play.text)[1]


def stop(play):
    """Ctrl-C."""
    os.killpg(play.process.pid, signal.SIGINT)
    play.wait()
    assert play.gone() == []


def wait_until(play, condition, timeout=180):
    deadline = time.monotonic() + timeout
    while not condition():
        assert (play is None or play.process.poll() is None) and time.monotonic() < deadline, play and play.text
        time.sleep(0.1)


@pytest.fixture
def own_cloud(tmp_path):
    """A clouds.Cloud whose switches this test may set."""
    yield clouds.up(tmp_path / "cloud")
    clouds.down(tmp_path / "cloud")


@pytest.fixture
def source(registry):
    return f"docker://{registry['plain']['address']}/olcne/ock:tiny"


# --- on this host ------------------------------------------------------------------------------------


def test_from_boot_media_to_an_ocid(run, cloud, source, tmp_path, clean_tmp):
    folder = tmp_path / "images"
    extra = variables(cloud, source, folder)
    name = extra["oci_image_display_name"]
    checked = run(PLAYBOOK, "--check", "--diff", extra=extra)
    assert changed(checked) >= 1 and name not in cloud.control.left()["buckets"] and not folder.exists()
    first = run(PLAYBOOK, extra=extra)
    assert changed(first) == 4 and "[WARNING]" not in first.text
    listed = cloud.cli("compute", "image", "list", "--compartment-id", cloud.compartments["team/builds"], "--display-name", name)
    assert [(image["id"], image["lifecycle-state"]) for image in listed] == [(told(first), "AVAILABLE")]
    assert listed[0]["freeform-tags"]["ocne/kubernetes"] == "1.33"
    assert name in cloud.control.left()["buckets"] and cloud.left(name) == [] and hidden(folder) == []
    again = run(PLAYBOOK, extra=extra)
    assert changed(again) == 0 and told(again) == told(first)
    checked = run(PLAYBOOK, "--check", extra=extra)
    assert changed(checked) == 0 and told(checked) == told(first)


@newest
def test_stopped_in_the_midst_of_the_upload(start, run, own_cloud, source, tmp_path, clean_tmp):
    """The next run sends the rest, and makes one image."""
    folder = tmp_path / "images"
    extra = variables(own_cloud, source, folder)
    control, bucket = own_cloud.control, extra["oci_image_bucket"]
    control.set(rate=4 << 20)
    play = start(PLAYBOOK, extra=extra)
    # each part takes 4 seconds; the first ones are whole
    wait_until(play, lambda: any(control.counters()["parts"].values()))
    stop(play)
    assert own_cloud.left(bucket) and control.left()["images"] == {}
    control.set(rate=0)
    play = run(PLAYBOOK, extra=extra)
    assert control.left()["images"] == {told(play): "AVAILABLE"} and own_cloud.left(bucket) == [] and hidden(folder) == []
    parts, = control.counters()["parts"].values()
    # of a part that was under way a second one may have come
    assert len(parts) == -(-(folder / NAME).stat().st_size // (16 << 20)) and sum(parts.values()) < 2 * len(parts)
    again = run(PLAYBOOK, extra=extra)
    assert changed(again) == 0 and told(again) == told(play)


class Relay:
    """An HTTP proxy on loopback that does CONNECT and nothing else. asked: the heads of the requests that it got."""

    def __init__(self):
        self._socket, self.asked = socket.create_server(("127.0.0.1", 0)), []
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                threading.Thread(target=self._connect, args=(self._socket.accept()[0],), daemon=True).start()
            except OSError:
                return

    def _connect(self, client):
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(1 << 12)
        self.asked.append(head.decode())
        host, _colon, port = head.split()[1].decode().rpartition(":")
        server = socket.create_connection((host, int(port)))
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        threading.Thread(target=self._copy, args=(server, client), daemon=True).start()
        self._copy(client, server)

    @staticmethod
    def _copy(one, other):
        try:
            while data := one.recv(1 << 16):
                other.sendall(data)
        except OSError:
            pass
        finally:
            for each in (one, other):
                try:
                    each.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue

    def close(self):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


PROXIED = """
- hosts: localhost
  gather_facts: false
  vars:
    through: "http://{{ user }}@127.0.0.1:{{ port }}"
  module_defaults: {group/ocne.images.oracle: "{{ cloud }}"}
  tasks:
    - ocne.images.ocne_oci_image_import:
        src: "{{ src }}"
        architecture: amd64
        compartment: team/builds
        bucket: "{{ name }}"
        display_name: "{{ name }}"
        create_bucket: true
        wait_interval: 1
        proxy: "{{ through }}"
      register: made
    - ocne.images.ocne_oci_image_info:
        image_id: "{{ made.image_id }}"
        proxy: "{{ through }}"
      register: found
    - ansible.builtin.debug: {msg: "{{ made.uploaded }} bytes of {{ found.images[0].display_name }}"}
"""


@newest
def test_through_a_proxy(run, cloud, tiny, tmp_path):
    name, proxy = "t-" + secrets.token_hex(4), Relay()
    shutil.copy(tiny["tiny"], tmp_path / "boot.qcow2")
    with open(tmp_path / "boot.qcow2", "ab") as more:
        more.write(name.encode())
    try:
        play = run(PROXIED, "-vvv", extra={"src": str(tmp_path / "boot.qcow2"), "name": name, "user": "me:open-sesame", "port": proxy.port,
                                           "cloud": cloud.options(), "ansible_python_interpreter": str(VENVS / "oci-cli/bin/python")})
    finally:
        proxy.close()
    assert f"{(tmp_path / 'boot.qcow2').stat().st_size} bytes of {name}" in play.text and cloud.left(name) == []
    # several connections for the parts
    assert len(proxy.asked) > 2 and all("Proxy-Authorization: Basic " in head for head in proxy.asked)
    assert "open-sesame" not in play.text.replace(json.dumps("me:open-sesame"), "")


# --- in pods -----------------------------------------------------------------------------------------


@pytest.fixture
def line(cluster):
    """A pods.Line."""
    made = Line()
    made.count()
    yield made
    made.remove()


@pytest.fixture
def far(cloud_of_pods):
    """A clouds.Cloud that pods reach; what asks its control is called by far.inside()."""
    made = clouds.Cloud(cloud_of_pods.about)
    made.inside = cloud_of_pods.inside
    yield made
    made.inside(made.control.set, rate=0, import_seconds=1.0)


def in_a_pod(far, cluster, space, folder, tag="tiny", **more):
    builder = {"type": "pod", "kubeconfig": space.kubeconfig, "image": IMAGE, "security": "restricted"}
    # pods take a newer Python
    return variables(far, cluster["images"][tag]["plain"], folder, oci_image_builder=builder,
                     ansible_python_interpreter=str(VENVS / CORES[-1] / "bin/python"), **more)


@newest
def test_a_pod_sends_what_it_has_made(run, namespace, cluster, far, line, tmp_path):
    """It comes here, too, but goes to the cloud from there."""
    space, folder = namespace("restricted"), tmp_path / "images"
    extra = in_a_pod(far, cluster, space, folder)
    before = far.inside(far.control.counters)["bytes_in"]
    play = run(PLAYBOOK, extra=extra, within=line.within)
    size, crossed = (folder / NAME).stat().st_size, line.crossed()
    assert changed(play) == 5 and far.inside(far.control.left)["images"][told(play)] == "AVAILABLE"
    # the cloud takes no compressed parts, so had the play sent it, it would have sent all of that
    assert far.inside(far.control.counters)["bytes_in"] - before > size > 10 * crossed[0]
    assert far.inside(far.left, extra["oci_image_bucket"]) == [] and space.empty() == []
    again = run(PLAYBOOK, extra=extra, within=line.within)
    assert changed(again) == 0 and told(again) == told(play) and line.crossed()[1] == crossed[1]


@newest
def test_what_stays_in_the_pod(start, run, namespace, cluster, far, line, tmp_path):
    """None of its bytes come from anybody but the pod. A run that was stopped during the import is finished by the next one, which needs a new pod."""
    space, control, env = namespace("restricted"), far.control, {"XDG_STATE_HOME": str(tmp_path / "state")}
    extra = in_a_pod(far, cluster, space, tmp_path, "1.33", oci_image_in_pod=True)
    known = far.inside(control.left)

    def new(what):
        return [one for one in far.inside(control.left)[what] if one not in known[what]]
    # as long as a stop may take to get there
    far.inside(control.set, import_seconds=40)
    sent = far.inside(control.counters)["bytes_in"]
    play = start(PLAYBOOK, extra=extra, within=line.within, env=env)
    wait_until(play, lambda: new("images"))
    stop(play)
    sent, crossed = far.inside(control.counters)["bytes_in"] - sent, line.crossed()
    # what has crossed is as much with an image of any size: programs, and requests for as long as it lasts
    assert sent > 400 << 20 and max(crossed) < sent / 10
    far.inside(control.set, import_seconds=0.1)
    image, = new("images")
    wait_until(None, lambda: far.inside(control.left)["images"][image] == "AVAILABLE")
    assert far.inside(far.left, extra["oci_image_bucket"]) and new("schemas") == []
    play = run(PLAYBOOK, extra=extra, within=line.within, env=env)
    assert new("images") == [image] == [told(play)] and len(new("schemas")) == 1
    assert far.inside(far.left, extra["oci_image_bucket"]) == [] and os.listdir(tmp_path / "state/ocne-images") == [] and NAME not in os.listdir(tmp_path)
    crossed = line.crossed()
    again = run(PLAYBOOK, extra=extra, within=line.within, env=env)
    # no pod, and not a word with the cluster
    assert changed(again) == 0 and told(again) == told(play) and line.crossed()[1] == crossed[1]
