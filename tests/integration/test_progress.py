# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Progress is seen while a task runs: local, ssh and become alike; and where it is not wanted it is not there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time

import pytest
from plays import inventory
from test_interrupt import wait_for_appliance

TASK = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Customize
      ocne.images.ocne_image_customize:
        src: "{{ src }}"
        dest: "{{ dest }}"
        platform: oci
      register: out
      %s
    - name: Show the result
      ansible.builtin.debug:
        msg: "changed={{ out.changed }} {{ out.dest | default('-') }}"
"""
LINE = re.compile(r"^\[[a-z]+\] [a-z]")


def shown(play):
    """Lines of progress."""
    return [line for _when, line in play.lines if LINE.match(line)]


@pytest.mark.parametrize("how", ["local", "ssh", "become"])
def test_progress_is_live(start, tmp_path, tiny, how, request, clean_tmp):
    where = "here ansible_connection=local\n"
    environment = {}
    if how == "ssh":
        where = request.getfixturevalue("sshd")
    if how == "become":
        if subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode:
            pytest.skip("sudo asks for a password here")
        # another user's module writes what this user's connection reads
        where = "here ansible_connection=local ansible_become=true ansible_become_user=nobody ansible_python_interpreter=/usr/bin/python3\n"
        environment = {"ANSIBLE_PIPELINING": "1"}
        tmp_path.chmod(0o777)
        for parent in list(tmp_path.parents)[:-2]:
            if os.stat(parent).st_uid == os.geteuid():
                parent.chmod(0o755)
        shutil.copy(tiny["tiny"], tmp_path / "src.qcow2")
    source = str(tmp_path / "src.qcow2") if how == "become" else tiny["tiny"]
    play = start(TASK % "", *inventory(tmp_path, where), env=environment,
                 extra={"src": source, "dest": str(tmp_path / "out.qcow2"), "ocne_images_progress_interval": 1})
    wait_for_appliance(play, tmp_path / "out.qcow2")
    # the task lasts for as long as its appliance is held, and is told of meanwhile
    appliance = subprocess.run(["pgrep", "-f", f"qemu-system.*{tmp_path}"], check=True, capture_output=True, text=True).stdout.split()
    rights = ["sudo", "-n"] if how == "become" else []
    subprocess.run([*rights, "kill", "-STOP", *appliance], check=True)
    deadline = time.monotonic() + 300
    while len([line for line in shown(play) if re.search("start appliance: for [0-9]+ s", line)]) < 3:
        assert play.process.poll() is None and time.monotonic() < deadline, play.text
        time.sleep(0.1)
    subprocess.run([*rights, "kill", "-CONT", *appliance], check=True)
    assert play.wait() == 0, play.text
    assert f"changed=True {tmp_path}/out.qcow2" in play.text


@pytest.mark.parametrize("task, extra", [("no_log: true", {}), ("", {"ocne_images_progress": False}), ("check_mode: true", {})])
def test_no_progress_where_it_is_not_wanted(run, tmp_path, tiny, task, extra, clean_tmp):
    play = run(TASK % task, *inventory(tmp_path, "here ansible_connection=local\n"),
               extra=dict({"src": tiny["tiny"], "dest": str(tmp_path / "out.qcow2"), "ocne_images_progress_interval": 0.5}, **extra))
    assert shown(play) == []
    assert "changed=True" in play.text
    assert (tmp_path / "out.qcow2").exists() == (task != "check_mode: true")


def test_async_works_and_outlives_its_caller(run, tmp_path, tiny, clean_tmp):
    play = run(TASK % "async: 300\n      poll: 0", *inventory(tmp_path, "here ansible_connection=local\n"),
               extra={"src": tiny["tiny"], "dest": str(tmp_path / "late.qcow2")})
    assert not (tmp_path / "late.qcow2").exists()
    deadline = time.monotonic() + 300
    while not (tmp_path / "late.qcow2.record.json").exists() and time.monotonic() < deadline:
        time.sleep(0.5)
    assert (tmp_path / "late.qcow2").exists(), play.text
    assert play.gone() == []


def test_async_that_is_waited_for(run, tmp_path, tiny, clean_tmp):
    play = run(TASK % "async: 300\n      poll: 1", *inventory(tmp_path, "here ansible_connection=local\n"),
               extra={"src": tiny["tiny"], "dest": str(tmp_path / "out.qcow2")})
    assert f"changed=True {tmp_path}/out.qcow2" in play.text


def test_loops_are_as_ever(run, tmp_path, tiny, registry, clean_tmp):
    play = run("""
- hosts: localhost
  gather_facts: false
  tasks:
    - name: Pull
      ocne.images.ocne_boot_image:
        source: "{{ source }}"
        registry: {verify: false}
        architecture: "{{ item }}"
        dest: "{{ folder }}/{{ item }}"
      loop: [amd64, arm64]
      register: out
    - ansible.builtin.assert:
        that:
          - out.results | map(attribute='architecture') | list == ['amd64', 'arm64']
          - out.results | map(attribute='changed') | list == [true, true]
""", extra={"source": f"{registry['plain']['address']}/olcne/ock:tiny", "folder": str(tmp_path), "ocne_images_progress_interval": 0.5})
    assert "(item=arm64)" in play.text
