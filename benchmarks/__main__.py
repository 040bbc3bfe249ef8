"""`python -m benchmarks`: how fast, how cheap, and how truthful."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from attrs import evolve

from . import compare, report, tables
from .charts import draw
from .claims import claims
from .profiles import FULL, LOOPS, QUICK, WIRE
from .results import Result
from .run import MEASUREMENTS, new_folder, run, say

RESULTS = Path("benchmarks/results")


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    top = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Without a command, measure everything; result and charts go into a folder of their own.",
    )
    top.add_argument("--full", action="store_true", help="ten minutes instead of two")
    top.add_argument("--only", action="append", choices=MEASUREMENTS, help="only this measurement; may be repeated")
    top.add_argument(
        "--contender", action="append", metavar="FILE", help="only this one; `@uvloop` may follow; likewise"
    )
    top.add_argument("--out", type=Path, help=f"the folder; one in {RESULTS} if not given")
    commands = top.add_subparsers(dest="command")
    wire = commands.add_parser("wire", help="only the claims about refold_async's own wire, under 40 s")
    wire.add_argument("--rounds", type=int, default=4)
    wire.add_argument("--loop", choices=LOOPS, help="only on this one")
    wire.add_argument("--out", type=Path, default=argparse.SUPPRESS)
    written = commands.add_parser("report", help="write a result, its charts and its tables into docs and README")
    written.add_argument("result", type=Path)
    compared = commands.add_parser("compare", help="say what changed beyond the noise; 1 if anything is worse")
    compared.add_argument("old", type=Path)
    compared.add_argument("new", type=Path)
    return top


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; give the exit code."""
    given = parser().parse_args(arguments)
    if given.command == "compare":
        return _compare(given.old, given.new)
    if given.command == "report":
        for path in report.write(given.result):
            print(path)
        return 0
    if given.command == "wire":
        return _wire(given)
    profile = FULL if given.full else QUICK
    folder = given.out or new_folder(RESULTS, profile.name)
    result = run(profile, given.only or list(MEASUREMENTS), folder, given.contender or ())
    print("\n".join(line for line in report.details(result).splitlines() if not line.startswith("<picture>")))
    _draw(result, folder)
    print(f"\nthe raw result, and the charts: {folder}")
    return 0


def _wire(given: argparse.Namespace) -> int:
    loops = (given.loop,) if given.loop else tuple(LOOPS)
    folder = given.out or new_folder(RESULTS, "wire")
    profile = evolve(QUICK, name="wire", cost_rounds=given.rounds, cost_seconds=0.3, layer_rounds=given.rounds)
    result = run(profile, ("wire", "layers"), folder, [key + LOOPS[loop] for loop in loops for key in WIRE])
    made = list(claims(result))
    print(tables.samples(result))
    print(
        f"\nmedians of {given.rounds} rounds, in brackets the least and the most; the raw result: {folder}/result.json"
    )
    for claim in made:
        print(f"{claim.loop:<8} {claim}")
    return 0 if made and all(claim.holds for claim in made) else 1


def _compare(old: Path, new: Path) -> int:
    before, after = Result.load(old), Result.load(new)
    changed = list(compare.changes(before, after))
    for line in (*changed, *compare.missing(before, after)):
        print(line)
    if not changed:
        print("nothing changed beyond the noise")
    return 1 if any(not change.better for change in changed) else 0


def _draw(result: Result, folder: Path) -> None:
    try:
        draw(result, folder)
    except ModuleNotFoundError as error:
        say(f"no charts: {error.name} is not installed")


if __name__ == "__main__":
    sys.exit(main())
