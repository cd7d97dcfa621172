# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The Python that the libguestfs binding is built for."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common import interpreter


@pytest.fixture
def pythons(tmp_path, monkeypatch):
    """pythons(exit status or None where there is none, ...) -> their paths; this one has no binding."""
    def make(*statuses):
        paths = [str(tmp_path / f"python{number}") for number in range(len(statuses))]
        for path, status in zip(paths, statuses):
            if status is not None:
                with open(path, "w", encoding="utf-8") as file:
                    file.write(f'#!/bin/sh\nprintf "%s\\n" "$@" >{path}.told\nexit {status}\n')
                (tmp_path / path).chmod(0o755)
        monkeypatch.setattr(interpreter, "SYSTEM_PYTHONS", tuple(paths))
        return paths
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    return make


def test_this_one_comes_first(pythons, monkeypatch):
    pythons(0)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if name == "guestfs" else None)
    assert interpreter.with_guestfs() == sys.executable


def test_the_first_that_can_import_it(pythons):
    paths = pythons(None, 1, 0, 0)
    assert interpreter.with_guestfs() == paths[2]
    told = open(paths[2] + ".told", encoding="utf-8").read().splitlines()
    # neither the user's packages nor the current folder
    assert told[:2] == ["-I", "-c"] and "import guestfs" in told[2] and "sys.version_info >= (3, 9)" in told[2]


def test_there_is_none(pythons):
    pythons(None, 1)
    assert interpreter.with_guestfs() is None
