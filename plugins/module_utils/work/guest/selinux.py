# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The SELinux label that a policy's file_contexts gives a path, as libselinux matches it (label_file.c).

The tools of a host would read the host's policy, those of an appliance the path it has there: both are wrong for a deployment.
"""

from __future__ import annotations

import contextlib
import re
import signal
import stat

from ...common import advice
from ...common.errors import ImageError

XATTR = "security.selinux"
#: files of a policy in the order libselinux reads them; a later rule beats an earlier one
RULE_FILES = ("file_contexts", "file_contexts.homedirs", "file_contexts.local")
#: substitutions of the administrator, then those of the distribution, which see what the first made
SUBSTITUTION_FILES = ("file_contexts.subs", "file_contexts.subs_dist")
_KINDS = {"--": stat.S_IFREG, "-d": stat.S_IFDIR, "-l": stat.S_IFLNK, "-c": stat.S_IFCHR, "-b": stat.S_IFBLK, "-p": stat.S_IFIFO,
          "-s": stat.S_IFSOCK}
_META = set(".^$?*+|[({")   # what makes libselinux take a path for an expression
_MATCH_TIMEOUT = 10              # seconds for one path: expressions of a foreign image may be made to take for ever


class FileContexts:
    """A policy's rules. files: {file name: text}, names as in RULE_FILES and SUBSTITUTION_FILES."""

    def __init__(self, files):
        rules = [rule for name in RULE_FILES for rule in _rules(files.get(name, ""))]
        # libselinux moves rules without an expression behind the others
        self._rules = [rule for rule in rules if not rule[4]] + [rule for rule in rules if rule[4]]
        self._substitutions = [_substitutions(files.get(name, "")) for name in SUBSTITUTION_FILES]

    def lookup(self, path, mode):
        """The label of a path of this kind (st_mode), or None where the policy gives it none."""
        for substitutions in self._substitutions:
            for source, target in substitutions:
                if path == source or path.startswith(source + "/"):
                    path = target + path[len(source):] or "/"
                    break
        kind = stat.S_IFMT(mode)
        with _limit():
            for stem, pattern, wanted, context, exact in reversed(self._rules):
                if path.startswith(stem) and wanted in (0, kind) and (path == stem if exact else _match(pattern, path)):
                    return None if context == "<<none>>" else context
        return None


def _match(pattern, path):
    try:
        return re.fullmatch(pattern, path, re.DOTALL) is not None
    except (re.error, RecursionError, OverflowError):   # a construct of PCRE that Python has not
        return False


@contextlib.contextmanager
def _limit():
    def stop(number, frame):
        raise ImageError("matching a path against the image's SELinux policy takes too long", "file_contexts",
                         advice.HARMFUL)
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, _MATCH_TIMEOUT)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _rules(text):
    """(literal beginning, expression, kind or 0, label, whether it is no expression) of each line."""
    for line in text.splitlines():
        words = line.split()
        if len(words) not in (2, 3) or words[0].startswith("#") or (len(words) == 3 and words[1] not in _KINDS):
            continue
        if not words[-1].isascii() or not words[-1].isprintable() or len(words[-1]) > 4095:
            continue
        stem, exact = _stem(words[0])
        yield stem, words[0], _KINDS[words[1]] if len(words) == 3 else 0, words[-1], exact


def _stem(pattern):
    """(the literal text that every match begins with, whether that is all of the pattern)."""
    literal, position = [], 0
    while position < len(pattern):
        character = pattern[position]
        if character == "\\":
            if position + 1 == len(pattern) or pattern[position + 1].isalnum():   # a class such as \d
                break
            literal.append(pattern[position + 1])
            position += 2
        elif character in _META:
            break
        else:
            literal.append(character)
            position += 1
    if position == len(pattern):
        return "".join(literal), True
    if "|" in _outside_parentheses(pattern):
        return "", False
    if pattern[position] in "?*{":   # the last character may be absent
        literal = literal[:-1]
    return "".join(literal), False


def _outside_parentheses(pattern):
    depth, kept = 0, []
    for character in pattern:
        depth += (character == "(") - (character == ")")
        if depth <= 0:
            kept.append(character)
    return "".join(kept)


def _substitutions(text):
    """[(source, target)]; libselinux tries the last line first."""
    pairs = [line.split() for line in text.splitlines() if not line.lstrip().startswith("#")]
    return [(words[0], words[1] if words[1] != "/" else "") for words in reversed(pairs) if len(words) == 2]
