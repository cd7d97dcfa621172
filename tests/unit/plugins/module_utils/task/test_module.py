# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A module in a process of its own, as Ansible runs it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from ansible_collections.ocne.images.plugins.module_utils.artifact.record import Record
from ansible_collections.ocne.images.plugins.module_utils.task import module
from ansible_collections.ocne.images.plugins.module_utils.work.convert import Recipe
from ansible_collections.ocne.images.tests.unit.plugins.module_utils.builders.remote.agents import environment

SOURCE = """
import json, os, signal, time
from ansible.module_utils import basic
from {module} import run_module
from {errors} import ImageError

basic._ANSIBLE_ARGS, basic._ANSIBLE_PROFILE = json.dumps({{"ANSIBLE_MODULE_ARGS": {{}}}}).encode(), "legacy"

def stop():
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(30)

def body(m):
{body}

run_module(dict(), body, files=False)
"""


def run(body):
    """What the module says, and its exit status."""
    source = SOURCE.format(module=module.__name__, errors=module.ImageError.__module__, body="".join(f"    {line}\n" for line in body.splitlines()))
    done = subprocess.run([sys.executable, "-c", source], env=environment(), stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    return json.loads(done.stdout), done.returncode


@pytest.mark.parametrize("body", [
    "stop()",
    "try:\n    stop()\nexcept Exception:\n    return {}",
    # whatever goes wrong on the way out
    *(f"try:\n    stop()\nfinally:\n    raise {fault}" for fault in ("ImageError('killed by SIGKILL')", "OSError(5, 'no more of it')")),
])
def test_a_stop_is_told_as_such(body):
    answer, status = run(body)
    assert (answer["failed"], status) == (True, 1)
    assert answer["msg"] == "stopped: received SIGTERM; nothing was changed at the destination; run the task again."
    assert answer["error"]["what"] == "stopped: received SIGTERM"


@pytest.mark.parametrize("body, words", [
    ("raise ImageError('it is broken', '/disk')", "/disk: it is broken."), ("raise OSError(5, 'Oh dear')", "the task failed: oh dear."),
])
def test_a_fault_is_one_sentence(body, words):
    answer, status = run(body)
    assert (answer["msg"], status) == (words, 1)


def test_what_it_returns():
    answer, status = run("return {'changed': True, 'dest': '/disk'}")
    assert (answer["changed"], answer["dest"], status) == (True, "/disk", 0)


def test_a_diff_shows_the_defaults_that_records_leave_out():
    def record(kind, **options):
        return Record(kind, {"files": ["0"]}, dict(options, format="vmdk"), "", "vmdk", 1, {})

    m = module.ImageModule(SimpleNamespace(params={}, check_mode=False, _diff=True), None, contextlib.ExitStack())
    after = record("ocne_image_convert", hwversion=13)
    shown = m.diff(record("ocne_image_convert", subformat="monolithicFlat"), after, "/disk", Recipe)
    assert json.loads(shown["before"])["options"] == {"format": "vmdk", "compression": "none", "subformat": "monolithicFlat", "adapter_type": None,
                                                      "hwversion": None}
    assert json.loads(shown["after"])["options"] == {"format": "vmdk", "compression": "none", "subformat": None, "adapter_type": None, "hwversion": 13}
    # of another kind nothing is known
    assert json.loads(m.diff(record("ocne_boot_image"), after, "/disk", Recipe)["before"])["options"] == {"format": "vmdk"}
    assert m.diff(None, after, "/disk", Recipe)["before"] == ""
