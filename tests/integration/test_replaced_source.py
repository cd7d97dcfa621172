# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Another run publishes a source anew while one reads it: that one goes on with the file that it began with."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from plays import CORES, hidden
from test_interrupt import wait_for_appliance

from ansible_collections.ocne.images.plugins.module_utils.files import digests

pytestmark = pytest.mark.parametrize("core", CORES[-1:], indirect=True)
PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ocne.images.ocne_image_customize: {src: "{{ src }}", dest: "{{ dest }}", platform: oci, compression: "{{ compression }}"}
    - ocne.images.ocne_image_info: {src: "{{ dest }}"}
      register: found
    - ansible.builtin.assert: {that: ["found.ignition.platform == 'oci'"]}
      when: not ansible_check_mode
"""


# an overlay reads its source until the end, a copy only at the start
@pytest.mark.parametrize("compression", ["zstd", "keep"])
def test_customize(start, run, tmp_path, tiny, compression):
    src, dest, other = tmp_path / "boot.qcow2", tmp_path / "out" / "oci.qcow2", tmp_path / "other"
    shutil.copy(tiny["tiny"], src)
    shutil.copy(tiny["tiny-two-entries"], other)
    first = digests.sha256_file(src)[0]
    dest.parent.mkdir()
    variables = {"src": str(src), "dest": str(dest), "compression": compression}
    play = start(PLAY, extra=variables)
    wait_for_appliance(play, dest)
    os.replace(other, src)
    assert play.wait() == 0, play.text
    assert json.loads((dest.parent / "oci.qcow2.record.json").read_text())["source"]["sha256"] == first
    assert hidden(dest.parent) == []
    assert "changed=1" in run(PLAY, "--check", extra=variables).text
