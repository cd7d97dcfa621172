# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import dataclasses
import json

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.work import job as wire


@dataclasses.dataclass
class Options:
    src: str
    count: int = 1


def test_a_job_goes_over_the_wire_as_one_line():
    job = wire.Job("convert", {"src": "/a\nb"}, "/staging")
    line = wire.dump("job", job)
    assert line.count(b"\n") == 1 and line.endswith(b"\n")
    assert wire.load_job(line) == job


def test_a_result_goes_over_the_wire():
    result = wire.Result([wire.Artifact("out", "/s/out", "raw", 1, "ab", 2)], {"x": 1}, {"bad": {"what": "w"}})
    assert wire.load_result(json.loads(wire.dump("result", result))["result"]) == result


def test_another_protocol_is_refused():
    line = wire.dump("job", dataclasses.replace(wire.Job("convert", {}, "/s"), protocol=99))
    with pytest.raises(ImageError, match="protocol"):
        wire.load_job(line)


@pytest.mark.parametrize("options, words", [({"src": "a", "other": 1}, "other"), ({}, "src")])
def test_wrong_options_are_named(options, words):
    with pytest.raises(ImageError, match=words):
        wire.load_options(Options, options)


def test_an_error_goes_over_the_wire():
    error = ImageError("the disk is full", "/x", "free some", needed_bytes=5)
    again = ImageError.from_dict(json.loads(json.dumps(error.as_dict())))
    assert str(again) == str(error) == "/x: the disk is full; free some."
    assert again.details == {"needed_bytes": 5}
