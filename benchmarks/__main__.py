"""`python -m benchmarks`: how cheap, how fast, and how truthful."""

from __future__ import annotations

import argparse
import sys

from . import wire
from .contenders import LOOPS


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
    return top


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says, and return the exit code."""
    given = parser().parse_args(arguments)
    keys = given.only or wire.LINES
    result = wire.measure(
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


def say(line: str) -> None:
    """Tell whoever watches how far it is; standard output is for results."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
