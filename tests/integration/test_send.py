# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An image in a builder pod goes to the cloud from there."""

from __future__ import annotations

import json
import random
import re

import pytest
from plays import CORES
from pods import IMAGE, Line

from ansible_collections.ocne.images.plugins.module_utils.clouds.oracle.upload import whole_md5
from ansible_collections.ocne.images.plugins.module_utils.work import send
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.work.shared_uploads import Owner

# what happens is the same with every ansible-core
pytestmark = pytest.mark.parametrize("core", CORES[-1:], indirect=True)
MIB = 1 << 20
SIZE = 48 * MIB
#: of the library beside a play: a module that asks its builder for this work, and tells what came of it
MODULE = '''
from ansible_collections.ocne.images.plugins.module_utils.builders.kubernetes.options import BUILDER_SPEC
from ansible_collections.ocne.images.plugins.module_utils.task.module import run_module
from ansible_collections.ocne.images.plugins.module_utils.work.job import Job


def body(m):
    options = dict(m.params["options"], url=m.params["url"])
    return {"changed": True, "sent": m.builder().run(Job("send", options, "", m.check), m._emit).values}


if __name__ == "__main__":
    run_module(dict(BUILDER_SPEC, options={"type": "dict"}, url={"type": "str", "no_log": True}), body, files=False)
'''
MAKE = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ocne.images.ocne_image_convert: {src: "{{ src }}", src_format: raw, dest: "{{ dest }}", format: qcow2, builder: "{{ builder }}"}
      register: made
    - ansible.builtin.debug: {msg: "size={{ made.size }}."}
"""
SEND = """
- hosts: localhost
  gather_facts: false
  tasks:
    - send_it: {options: "{{ options }}", url: "{{ url }}", builder: "{{ builder }}"}
      register: done
    - ansible.builtin.copy: {content: "{{ done.sent | to_json }}", dest: "{{ told }}"}
"""


@pytest.fixture(autouse=True)
def once(core):
    """Which ansible-core: see pytestmark."""


@pytest.fixture
def line(cluster):
    """A pods.Line."""
    made = Line()
    yield made
    made.remove()


@pytest.fixture
def noise(tmp_path):
    """The path of a raw image that cannot be compressed."""
    (tmp_path / "noise.raw").write_bytes(random.randbytes(SIZE))
    return tmp_path / "noise.raw"


@pytest.fixture
def upload(cloud_of_pods):
    """A new upload."""
    return cloud_of_pods.inside(Owner(cloud_of_pods.about).upload)


@pytest.mark.parametrize("level, place", [("restricted", "workspace:image.qcow2"), ("baseline", "image.qcow2")])
def test_an_image_goes_from_the_pod_to_the_cloud(run, inside, namespace, cloud_of_pods, upload, line, noise, tmp_path, level, place):
    """It was made in the pod, and left there under a name, or kept there under its digest: in neither case does it cross the controller."""
    (tmp_path / "library").mkdir()
    (tmp_path / "library/send_it.py").write_text(MODULE)
    space = namespace(level)
    builder = {"type": "pod", "kubeconfig": space.kubeconfig, "image": IMAGE, "name": "mine", "create": True, "security": level}
    dest = place if place.startswith("workspace:") else str(tmp_path / place)
    made = inside(MAKE, extra={"src": str(noise), "dest": dest, "builder": builder})
    size = int(re.search(r"size=(\d+)\.", made.text).group(1))
    options = {"src": dest, "part_size": 5 * MIB, "size": size, "ca_cert": cloud_of_pods.about["ca"], "parallel": 4}
    line.count()
    play = run(SEND, "-vvv", extra={"options": options, "url": upload.url, "builder": builder, "told": str(tmp_path / "told")}, within=line.within)
    crossed = line.crossed()
    # the play's variables are on its own command line, which -vvv does not tell
    assert upload.secret not in play.text and 0 < min(crossed) and max(crossed) < SIZE / 8, crossed
    sent = json.loads((tmp_path / "told").read_text())
    md5s = send.numbered(sent["md5s"])
    assert sent["sent"] == size > SIZE and md5s == {number: part.md5 for number, part in cloud_of_pods.inside(upload.parts).items()}
    assert cloud_of_pods.inside(upload.commit) == whole_md5(md5s)
    pod = space.ctl("get", "pods", "-o", "name").strip()
    assert space.ctl("exec", pod, "--", "sh", "-c", f"grep -rl {upload.secret} /workspace /tmp; true") == ""
    assert upload.secret not in space.ctl("logs", pod) and "job send" in space.ctl("logs", pod)
    # nothing of it is sent again
    options["there"] = {number: [5 * MIB if number * 5 * MIB < size else size % (5 * MIB), md5] for number, md5 in md5s.items()}
    run(SEND, extra={"options": options, "url": upload.url, "builder": builder, "told": str(tmp_path / "told")}, within=line.within)
    again = json.loads((tmp_path / "told").read_text())
    assert (again["sent"], again["kept"], again["md5s"]) == (0, size, sent["md5s"])


def test_a_request_that_is_not_good_any_more(inside, namespace, cloud_of_pods, upload, noise, tmp_path):
    (tmp_path / "library").mkdir()
    (tmp_path / "library/send_it.py").write_text(MODULE)
    cloud_of_pods.inside(upload.unshare)
    builder = {"type": "pod", "kubeconfig": namespace().kubeconfig, "image": IMAGE}
    options = {"src": str(noise), "part_size": 5 * MIB, "size": SIZE, "ca_cert": cloud_of_pods.about["ca"]}
    play = inside(SEND, extra={"options": options, "url": upload.url, "builder": builder, "told": str(tmp_path / "told")}, fails=True)
    assert "the pre-authenticated request is not good any more: it has expired or was removed" in play.text and upload.secret not in play.text
