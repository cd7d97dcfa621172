# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Memory that is used again."""

from __future__ import annotations

import threading

from ansible_collections.ocne.images.plugins.module_utils.files.scratch import Scratch


def test_the_same_memory_again():
    scratch = Scratch()
    first = scratch.take(8)
    first[:] = b"12345678"
    assert bytes(scratch.take(4)) == b"1234" and len(scratch.take(8)) == 8
    assert scratch.take(4).obj is first.obj


def test_it_grows_and_what_was_given_stays_good():
    scratch = Scratch()
    small = scratch.take(4)
    small[:] = b"1234"
    large = scratch.take(1 << 16)
    large[:4] = b"5678"
    assert bytes(small) == b"1234" and len(large) == 1 << 16


def test_each_thread_has_its_own():
    scratch, seen = Scratch(), []
    mine = scratch.take(4)
    mine[:] = b"mine"

    def other():
        scratch.take(4)[:] = b"else"
        seen.append(bytes(scratch.take(4)))
    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert seen == [b"else"] and bytes(scratch.take(4)) == b"mine"
