# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Boot Loader Specification entries (type 1) and the kernel command lines in them. Text in, text out.

https://uapi-group.org/specifications/specs/boot_loader_specification/; quotes as lib/cmdline.c of Linux reads them.
"""

from __future__ import annotations

import re

from ...common.errors import ImageError


class Entry:
    """One `*.conf` file: every line is kept as it was, but for the `options` that are set anew."""

    def __init__(self, text):
        self._lines = text.split("\n")

    def dump(self):
        return "\n".join(self._lines)

    def items(self):
        """[(key, value)] in the order of the file; keys may repeat."""
        return [pair for pair in map(_key_and_value, self._lines) if pair]

    def get(self, key):
        """The first value of a key, or None."""
        return next((value for name, value in self.items() if name == key), None)

    @property
    def options(self):
        """The kernel command line: the values of all `options` lines, in order."""
        return " ".join(value for name, value in self.items() if name == "options" and value)

    @property
    def arguments(self):
        return split(self.options)

    def set_arguments(self, arguments):
        """Write the kernel arguments; returns whether that changed the entry.

        Several `options` lines become one, where the first was: GRUB reads only that.
        """
        if arguments == self.arguments:
            return False
        line = " ".join(["options", *arguments])
        places = [number for number, text in enumerate(self._lines) if (_key_and_value(text) or ("",))[0] == "options"]
        if places:
            self._lines[places[0]] = line
            for number in reversed(places[1:]):
                del self._lines[number]
        else:
            end = len(self._lines)
            while end and not self._lines[end - 1].strip():
                end -= 1
            self._lines.insert(end, line)
            if end == len(self._lines) - 1:
                self._lines.append("")
        return True


def _key_and_value(line):
    words = line.strip().split(None, 1)
    if not words or words[0].startswith("#"):
        return None
    return words[0], words[1] if len(words) > 1 else ""


# --- kernel arguments --------------------------------------------------------------------------------


def split(line):
    """A kernel command line as its arguments, each as it is written; spaces inside double quotes do not part."""
    arguments, current, quoted = [], "", False
    for character in line:
        if character.isspace() and not quoted:
            if current:
                arguments.append(current)
            current = ""
        else:
            quoted ^= character == '"'
            current += character
    return arguments + [current] if current else arguments


def parse(argument):
    """(key, value) as the kernel and systemd understand an argument; value is None for a flag.

    `key="a b"` and `"key=a b"` are the same.
    """
    if argument.startswith('"'):
        argument = argument[1:-1] if argument.endswith('"') and len(argument) > 1 else argument[1:]
    key, equals, value = argument.partition("=")
    if not equals:
        return key, None
    if value.startswith('"'):
        value = value[1:-1] if value.endswith('"') and len(value) > 1 else value[1:]
    return key, value


def check(argument):
    """The argument itself where it is exactly one, and the kernel reads it as it is written; else ImageError."""
    if not isinstance(argument, str) or not argument.isprintable() or argument.count('"') % 2 or split(argument) != [argument] \
            or not parse(argument)[0]:
        raise ImageError(f"not one kernel argument: {argument!r}",
                         todo='write key or key=value; a value with spaces in double quotes, key="one two"; one list item for each argument')
    return argument


def values(arguments, key):
    """All values of a key, in order (None for a flag)."""
    return [value for name, value in map(parse, arguments) if name == key]


def _matches(argument, pattern):
    """pattern: `key` (whatever its value) or `key=value`."""
    key, value = parse(pattern)
    return parse(argument) == (key, value) if value is not None else parse(argument)[0] == key


def edit(arguments, append=(), delete=(), replace=None):
    """The arguments after deleting, replacing and then appending. What is already so stays as it is.

    delete: `key` removes every argument of this key, `key=value` only what equals it.
    replace: {old: new}; old as in delete. The first that matches becomes new, in its place; further
    ones, and copies of new elsewhere, go. Where nothing matches, nothing happens.
    append: goes to the end unless an equal argument is there.
    Raises ImageError for what is not one kernel argument, or a line whose quotes are not closed.
    """
    arguments = list(arguments)
    if " ".join(arguments).count('"') % 2:
        raise ImageError("the kernel command line of the image has a quote that is not closed", todo="use an image whose boot entry is sound")
    for pattern in delete:
        check(pattern)
        arguments = [argument for argument in arguments if not _matches(argument, pattern)]
    for old, new in (replace or {}).items():
        check(old)
        check(new)
        arguments = _replaced(arguments, old, new)
    for argument in append:
        check(argument)
        if parse(argument) not in map(parse, arguments):
            arguments.append(argument)
    return arguments


def _replaced(arguments, old, new):
    place = next((number for number, argument in enumerate(arguments) if _matches(argument, old)), None)
    if place is None:
        return arguments
    goes = [_matches(argument, old) or parse(argument) == parse(new) for argument in arguments]
    same = parse(arguments[place]) == parse(new)
    return [(argument if same else new) if number == place else argument
            for number, argument in enumerate(arguments) if number == place or not goes[number]]


def assign(arguments, key, value):
    """The arguments with exactly one `key=value`: in the place of the first of its key, else at the end."""
    argument = check(f'{key}="{value}"' if re.search(r"\s", value) else f"{key}={value}")
    return edit(arguments, replace={key: argument}, append=[argument])
