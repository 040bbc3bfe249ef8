"""`python -m benchmarks`: how cheap, how fast, and how truthful."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from . import report, wire
from .contenders import LOOPS
from .fleet import command as fleet
from .outbox import command as outbox
from .results import Result
from .run import FULL, PARTS, QUICK, run, say

RESULT = Path("benchmarks/results/result.json")


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    top = argparse.ArgumentParser(prog="python -m benchmarks")
    commands = top.add_subparsers(dest="command", required=True)
    asked = commands.add_parser("wire", help="what is asked of the core, each line with its bar; 1 if one fails")
    asked.add_argument("--only", action="append", choices=wire.LINES, help="only this line; may be repeated")
    asked.add_argument("--loop", action="append", choices=LOOPS, help="only on this event loop")
    asked.add_argument("--rounds", type=int, default=5)
    asked.add_argument("--seconds", type=float, default=0.3, help="of one sample")
    asked.add_argument(
        "--instructions", action="store_true", help="count instructions by callgrind: slow, and sure on a busy machine"
    )
    full = commands.add_parser("full", help="everything, in about a quarter of an hour on a quiet machine")
    full.add_argument("--quick", action="store_true", help="fewer and shorter rounds: a look, not a result")
    full.add_argument("--only", action="append", choices=PARTS, help="measure this part again; may be repeated")
    full.add_argument("--out", type=Path, default=RESULT, help="where the raw result is written")
    written = commands.add_parser("report", help="write a result, its charts and its tables into docs and README")
    written.add_argument("result", type=Path, nargs="?", default=RESULT)
    fleet.add_arguments(commands)
    outbox.add_arguments(commands)
    return top


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says, and return the exit code."""
    given = parser().parse_args(arguments)
    if given.command == "report":
        for path in report.write(given.result):
            print(path)
        return 0
    if given.command == "full":
        print(report.blocks(run(QUICK if given.quick else FULL, given.out, given.only or ()))["docs/benchmarks.md"])
        return 0
    if given.command == "fleet":
        return fleet.run(given, say)
    if given.command == "outbox":
        return outbox.run(given, say)
    keys = given.only or wire.LINES
    result: Result = wire.measure(
        keys,
        given.loop or LOOPS,
        rounds=given.rounds,
        seconds=given.seconds,
        counted=given.instructions,
        say=say,
    )
    found = list(wire.verdicts(result, keys, counted=given.instructions))
    print(wire.table(found))
    return 0 if found and all(line.holds for line in found) else 1


if __name__ == "__main__":
    sys.exit(main())
