# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Boot entries and kernel command lines."""

from __future__ import annotations

import random

import pytest

from ansible_collections.ocne.images.plugins.module_utils.common.errors import ImageError
from ansible_collections.ocne.images.plugins.module_utils.work.guest import bls

ENTRY = """\
# made by hand
title Oracle Linux 8 (ostree:0)
version 1

options rw console=ttyS0 root=UUID=1-2
x-unknown  two  words
linux /ostree/ock-1/vmlinuz
initrd /ostree/ock-1/initramfs.img
aboot /ostree/deploy/ock/aboot.img
"""
SHIPPED = "rw ip=dhcp ignition.platform.id=qemu console=ttyS0 root=UUID=a-b rd.timeout=120".split()


def test_an_entry_comes_back_as_it_was():
    for text in (ENTRY, ENTRY.rstrip("\n"), "", "\n\n", "options\n", "no-value\n\ttitle x\r\n"):
        assert bls.Entry(text).dump() == text


def test_keys_are_read_in_order_without_comments():
    entry = bls.Entry(ENTRY)
    assert [key for key, value in entry.items()] == ["title", "version", "options", "x-unknown", "linux", "initrd", "aboot"]
    assert entry.get("x-unknown") == "two  words"
    assert entry.get("made") is None and entry.get("#") is None


def test_only_the_options_line_changes():
    entry = bls.Entry(ENTRY)
    assert entry.set_arguments(["rw", "quiet"])
    assert entry.dump() == ENTRY.replace("options rw console=ttyS0 root=UUID=1-2", "options rw quiet")


def test_same_arguments_are_no_change():
    odd = ENTRY.replace("options rw console", "options   rw \t console")
    entry = bls.Entry(odd)
    assert not entry.set_arguments(["rw", "console=ttyS0", "root=UUID=1-2"])
    assert entry.dump() == odd


def test_several_options_lines_are_one_command_line():
    entry = bls.Entry("options a b\nlinux /k\noptions c\n")
    assert entry.arguments == ["a", "b", "c"]
    assert entry.set_arguments(["a", "c", "d"])
    assert entry.dump() == "options a c d\nlinux /k\n"


@pytest.mark.parametrize("text,expected", [
    ("linux /k\n", "linux /k\noptions a\n"),
    ("linux /k", "linux /k\noptions a\n"),
    ("linux /k\n\n\n", "linux /k\noptions a\n\n\n"),
    ("", "options a\n"),
])
def test_an_entry_without_options_gets_them(text, expected):
    entry = bls.Entry(text)
    assert entry.set_arguments(["a"])
    assert entry.dump() == expected


@pytest.mark.parametrize("line,expected", [
    ("", []),
    ("  a   b\tc ", ["a", "b", "c"]),
    ('a="one two" b', ['a="one two"', "b"]),
    ('"a=one two" b', ['"a=one two"', "b"]),
    ('dyndbg="file a.c +p; file b.c +p" x="" y', ['dyndbg="file a.c +p; file b.c +p"', 'x=""', "y"]),
    ('a="open ended b', ['a="open ended b']),
])
def test_split_respects_quotes(line, expected):
    assert bls.split(line) == expected


@pytest.mark.parametrize("argument,expected", [
    ("quiet", ("quiet", None)), ("a=", ("a", "")), ("a=b=c", ("a", "b=c")), ('a="one two"', ("a", "one two")),
    ('"a=one two"', ("a", "one two")), ('a=""', ("a", "")), ("root=UUID=x", ("root", "UUID=x")),
])
def test_parse(argument, expected):
    assert bls.parse(argument) == expected


def test_values_of_a_repeated_key():
    assert bls.values(["console=tty0", "quiet", "console=ttyS0,115200", "console"], "console") == ["tty0", "ttyS0,115200", None]


@pytest.mark.parametrize("append,expected", [
    (["quiet"], [*SHIPPED, "quiet"]),
    (["rw"], SHIPPED),
    (["console=ttyS0"], SHIPPED),
    (["console=tty0"], [*SHIPPED, "console=tty0"]),
    (["console=tty0", "console=tty0"], [*SHIPPED, "console=tty0"]),
    (['a="b"', "a=b"], [*SHIPPED, 'a="b"']),
])
def test_append(append, expected):
    assert bls.edit(SHIPPED, append=append) == expected


@pytest.mark.parametrize("delete,expected", [
    (["console"], ["a", "b=1"]),
    (["console=tty0"], ["a", "console=ttyS0", "b=1"]),
    (["consol"], ["a", "console=tty0", "console=ttyS0", "b=1"]),
    (["b=2"], ["a", "console=tty0", "console=ttyS0", "b=1"]),
    (["b", "a"], ["console=tty0", "console=ttyS0"]),
    (["b="], ["a", "console=tty0", "console=ttyS0", "b=1"]),
])
def test_delete(delete, expected):
    assert bls.edit(["a", "console=tty0", "console=ttyS0", "b=1"], delete=delete) == expected


@pytest.mark.parametrize("before,replace,expected", [
    ("a console=ttyS0 b", {"console=ttyS0": "console=tty0"}, "a console=tty0 b"),
    ("a console=ttyS0 b", {"console=ttyS1": "console=tty0"}, "a console=ttyS0 b"),
    ("console=tty0 a console=ttyS0", {"console=ttyS0": "console=tty0"}, "a console=tty0"),
    ("console=ttyS0 a console=ttyS1", {"console": "console=hvc0"}, "console=hvc0 a"),
    ("console=ttyS0 a console=hvc0", {"console": "console=hvc0"}, "console=hvc0 a"),
    ("root=UUID=x a", {"root=UUID=x": "root=LABEL=root"}, "root=LABEL=root a"),
    ("quiet a", {"quiet": "debug"}, "debug a"),
    ('m="a b" c', {'m="a b"': 'm="c d"'}, 'm="c d" c'),
])
def test_replace(before, replace, expected):
    once = bls.edit(bls.split(before), replace=replace)
    assert once == bls.split(expected)
    assert bls.edit(once, replace=replace) == once


def test_delete_comes_before_replace_and_append():
    assert bls.edit(["a=1", "b"], append=["a=2"], delete=["a"], replace={"b": "c"}) == ["c", "a=2"]


def test_each_edit_is_idempotent_whatever_it_is():
    chance = random.Random(7)
    words = ["rw", "quiet", "console=ttyS0", "console=tty0", "console=tty0,115200", "a=1", "a=2", 'a="1 2"', "b=", "b"]
    patterns = [*words, "console", "a"]
    for _round in range(2000):
        line = chance.choices(words, k=6)
        for edits in ({"append": chance.choices(words, k=2)}, {"delete": chance.choices(patterns, k=2)},
                      {"replace": {chance.choice(patterns): chance.choice(words)}}):
            once = bls.edit(line, **edits)
            assert bls.edit(once, **edits) == once, (line, edits)


@pytest.mark.parametrize("argument", ["", "a b", 'a="b', "a\nb", "a\x00", "=x", " a", "a ", '"a" b', "tab\tin", 7, None])
def test_what_is_not_one_argument_is_refused(argument):
    for edits in ({"append": [argument]}, {"delete": [argument]}, {"replace": {"a": argument}}, {"replace": {argument: "a"}}):
        with pytest.raises(ImageError, match="not one kernel argument"):
            bls.edit(["a"], **edits)


def test_an_open_quote_in_the_image_is_refused():
    # what is appended would be inside the quotes
    with pytest.raises(ImageError, match="not closed"):
        bls.edit(bls.split('a="b c'), append=["quiet"])


@pytest.mark.parametrize("before,expected", [
    ("a id=qemu b", "a id=oci b"), ("a b", "a b id=oci"), ("id=x a id=y", "id=oci a"), ("id=oci", "id=oci"), ("id", "id=oci"),
])
def test_assign_leaves_exactly_one(before, expected):
    assert bls.assign(before.split(), "id", "oci") == expected.split()


def test_assign_quotes_a_value_with_spaces():
    assert bls.assign([], "a", "b c") == ['a="b c"']
