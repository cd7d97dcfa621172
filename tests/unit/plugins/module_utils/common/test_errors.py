# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Faults, each told in one sentence."""

from __future__ import annotations

import errno
import json
import os

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError, Interrupted, from_os_error, from_wire


@pytest.mark.parametrize("arguments, text", [
    (("it broke",), "it broke."),
    (("it broke.",), "it broke."),
    (("it broke", "/disk"), "/disk: it broke."),
    (("it broke", None, "mend it"), "it broke; mend it."),
    (("it broke", "/disk", "mend it"), "/disk: it broke; mend it."),
])
def test_one_sentence(arguments, text):
    assert str(ImageError(*arguments)) == text


def test_it_is_the_same_on_the_other_side():
    error = ImageError("it broke", "/disk", "mend it", needed_bytes=5, stderr="words")
    again = ImageError.from_dict(json.loads(json.dumps(error.as_dict())))
    assert str(again) == str(error) and again.details == {"needed_bytes": 5, "stderr": "words"}
    assert str(ImageError.from_dict({"what": "it broke"})) == "it broke."


@pytest.mark.parametrize("number, todo", [
    (errno.ENOSPC, "free some space"), (errno.EACCES, "become"), (errno.EROFS, "writable file system"), (errno.ENOENT, "check the path"), (errno.EIO, None),
])
def test_a_fault_of_the_system(number, todo):
    error = from_os_error(OSError(number, os.strerror(number), "/there"), "writing the image")
    assert error.what.startswith("writing the image failed: ") and error.what == error.what.lower() and error.where == "/there"
    assert (todo or "") in (error.todo or "") and (error.todo is None) == (todo is None)
    assert error.details == {"errno": errno.errorcode[number]}


def test_a_fault_of_the_system_where_the_user_knows_it():
    with pytest.raises(FileNotFoundError) as caught:
        open("/nonexistent/inside")
    assert str(from_os_error(caught.value, "reading the image", "/disk")) == "/disk: reading the image failed: no such file or directory; check the path."


def test_a_fault_of_the_system_without_words():
    assert str(from_os_error(OSError("timed out"), "the task")) == "the task failed: timed out."


def test_a_stop_is_no_error():
    """Else whatever goes on after a fault goes on after a Ctrl-C, too."""
    assert not issubclass(Interrupted, Exception)
    assert str(Interrupted("received SIGTERM")) == "stopped: received SIGTERM; nothing half done is at the destination; run the task again."


@pytest.mark.parametrize("error", [ImageError("it is broken", "/disk", "mend it", status=1), ImageError("no more than that"), Interrupted("received SIGINT")])
def test_both_cross_the_wire(error):
    came = from_wire(json.loads(json.dumps(error.as_dict())))
    assert (type(came), str(came), came.as_dict()) == (type(error), str(error), error.as_dict())
