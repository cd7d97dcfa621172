# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs the rows and writes the table; started by `run`, which makes the lab."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback

import convert
import customize
import imports
import kill
import podpeer
import pods
import pull
import rerun
import tools
import upload
import variants
import whole
from bench import ROOT, Bench
from measure import Fault, Row, say

#: name -> what yields its rows, in the order of the table
ROWS = {"pull": pull.rows, "customize": customize.rows, "rerun": rerun.rows, "convert": convert.rows, "variants": variants.rows,
        "memory": whole.memory, "play": whole.rows, "transfers": pods.transfers, "jobs": pods.jobs, "many": pods.many,
        "podwhole": podpeer.whole, "podcustomize": podpeer.same_pod, "podbytes": podpeer.bytes_in, "upload": upload.rows,
        "uploadfaults": upload.faults, "importkill": imports.killed, "importrerun": imports.rerun, "kill": kill.rows}
#: a median of fewer says too little
_ENOUGH = 5
_HEAD = """\
# Results of `make bench`

Ratios of medians of {pairs} alternating pairs in one run, ours to the other's, and in parentheses the smallest and the largest of the pairs.
What each row is and how it is measured: [README.md](README.md).

Machine: {machine}. Load average when it began: {load:.1f}.

| what | against | result | goal | met |
| --- | --- | --- | --- | --- |
"""


def table(pairs, rows, load):
    """The file's text."""
    words = {True: "yes", False: "**no**", None: "-"}
    return _HEAD.format(pairs=pairs, machine=tools.machine(), load=load) + "".join(
        f"| {row.what} | {row.against} | {row.result} | {row.goal} | {words[row.met]} |\n" for row in rows)


def measure(bench, names):
    """All rows; what cannot be measured is a row that says so."""
    found, complete = [], True
    for name in names:
        say(name)
        try:
            for row in ROWS[name](bench):
                found.append(row)
                say(f"{row.what}: {row.result}, goal {row.goal}, met: {row.met}")
        except Exception as error:   # the other rows are worth having
            complete = False
            if not isinstance(error, Fault):
                traceback.print_exc()
            found.append(Row(name, "-", f"could not be measured: {error}", "-", False))
            say(f"{name}: {error}")
    return found, complete


def main():
    """Exit status 1 where a row could not be measured; a goal that is missed is told in the table."""
    parser = argparse.ArgumentParser(prog="benchmarks/run", description="Measure the goals of the project.")
    parser.add_argument("--work", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--pairs", type=int, default=_ENOUGH, help="how often each side runs (default: %(default)s)")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"{', '.join(ROWS)}; default: all")
    args = parser.parse_args()
    unknown = set(args.rows) - set(ROWS)
    if unknown or args.pairs < 1:
        parser.error(f"no such row: {', '.join(sorted(unknown))}" if unknown else "at least one pair")
    # as Ctrl-C: through every finally
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    tools.same_appliance()
    load = os.getloadavg()[0]
    bench = Bench(args.work, args.pairs)
    bench.warm()
    found, complete = measure(bench, args.rows or list(ROWS))
    text = table(args.pairs, found, load)
    if not args.rows and args.pairs >= _ENOUGH:
        with open(os.path.join(ROOT, "benchmarks", "RESULTS.md"), "w", encoding="utf-8") as file:
            file.write(text)
    print(text, end="")
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
