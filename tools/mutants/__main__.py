"""Draw mutants, run the fast tests that execute the changed line against each, and print the score and the survivors.

Run it with `python -m tools.mutants --count 400 --seed 1`; `--only 'policies/*.py'` looks at some modules alone. First
it measures which tests execute which line (see `measured`). A mutant then meets the tests that execute its line, the
most specific and quickest first, up to the first that fails, and at most 30 seconds of them; a line that runs at import
only meets the tests of what is around it. Tests that have killed are run once more without a mutant in the end: one
that fails there is left out and printed, and what it killed is tried again.

A survivor is explained by its name in `accepted.toml`, or it counts against the score. Ends with 1 below `--bar`;
Ctrl-C ends it early, with the score of those that have run, which is fair, as they run in the order drawn.
"""

from __future__ import annotations

import argparse
import os
import time
import tomllib
from pathlib import Path

from attrs import define, field

from .measured import Map, load
from .modules import modules
from .mutate import Mutant, draw, mutants_of
from .tree import ROOT, Run, preload, start

ACCEPTED = Path(__file__).with_name("accepted.toml")
SLACK = 4.0
"""How many times as long as measured the tests may take, before they count as hung, which kills the mutant."""


@define
class Campaign:
    """Runs so many at a time; each mutant ends among the killed, with the tests that noticed, or the survivors."""

    tests: Map
    jobs: int
    killed: dict[Mutant, tuple[str, ...]] = field(factory=dict)
    survived: list[Mutant] = field(factory=list)
    _running: dict[Mutant, tuple[Run, list[list[str]]]] = field(factory=dict)

    def play(self, drawn: list[Mutant]) -> None:
        """Run them all."""
        for number, mutant in enumerate(drawn, 1):
            while len(self._running) >= self.jobs:
                self._reap()
            self._next(mutant, self.tests.tests_of(mutant))
            if number % 20 == 0:
                print(f"  {number} of {len(drawn)}, {len(self.survived)} survive so far", flush=True)
        while self._running:
            self._reap()

    def stop(self) -> None:
        """End what runs, as on Ctrl-C; what has ended still counts."""
        while self._running:
            self._running.popitem()[1][0].stop()

    def confirm(self) -> list[Mutant]:
        """Run the tests that killed without a mutant; leave out those that fail, and return what they killed."""
        killers = sorted({test for tests in self.killed.values() for test in tests})
        seconds = sum(map(self.tests.seconds.__getitem__, killers))
        run = start(None, killers, 60 + SLACK * seconds)
        while not run.ended():
            time.sleep(0.1)
        for test in run.failed:
            print(f"  left out, as it fails without a mutant: {test}", flush=True)
        self.tests = self.tests.without(set(run.failed))
        again = [mutant for mutant, tests in self.killed.items() if set(tests) & set(run.failed)]
        for mutant in again:
            del self.killed[mutant]
        return again

    def _next(self, mutant: Mutant, stages: list[list[str]]) -> None:
        """Start the first of these sets of tests; a mutant that has outlived all of them survives."""
        if not stages:
            self.survived.append(mutant)
            print(f"  survives: {mutant.name}  (line {mutant.line})", flush=True)
            return
        limit = 30 + SLACK * self.jobs * sum(map(self.tests.seconds.__getitem__, stages[0]))
        self._running[mutant] = start(mutant, stages[0], limit), stages[1:]

    def _reap(self) -> None:
        """Wait until one of them has ended, or has taken too long."""
        while True:
            for mutant, (run, rest) in self._running.items():
                if run.ended():
                    del self._running[mutant]
                    if run.killed:
                        self.killed[mutant] = run.failed
                    else:
                        self._next(mutant, rest)
                    return
            time.sleep(0.02)


def accepted() -> dict[str, str]:
    """Return the survivors that are explained, by name, and why no test need kill them."""
    if not ACCEPTED.exists():
        return {}
    return {each["name"]: each["why"] for each in tomllib.loads(ACCEPTED.read_text(encoding="utf-8"))["mutant"]}


def report(campaign: Campaign, total: int) -> float:
    """Print the score and each survivor; return the share that was killed, without those that are explained."""
    explained = accepted()
    open_ends = [mutant for mutant in campaign.survived if mutant.name not in explained]
    counted = len(campaign.killed) + len(open_ends)
    score = 1.0 if not counted else len(campaign.killed) / counted
    print(
        f"\n{len(campaign.killed)} of {counted} drawn mutants were killed ({score:.1%}), of {total} that there are; "
        f"{len(campaign.survived) - len(open_ends)} more survive and are explained in {ACCEPTED.relative_to(ROOT)}"
    )
    for mutant in sorted(open_ends):
        print(f"  survives: {mutant.name}  (line {mutant.line})")
    return score


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutants", description=__doc__)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="*", help="a pattern of paths below refold_async/")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--bar", type=float, default=0.95)
    options = parser.parse_args()
    preload()
    found: list[Mutant] = []
    for path in modules(ROOT, options.only):
        found += mutants_of(ROOT / path, path.relative_to("refold_async").as_posix())
    drawn = draw(sorted(found), options.count, options.seed)
    print(f"{len(drawn)} of {len(found)} mutants, drawn with seed {options.seed}", flush=True)
    campaign = Campaign(load(options.jobs), options.jobs)
    try:
        campaign.play(drawn)
        while again := campaign.confirm():
            campaign.play(again)
    except KeyboardInterrupt:
        campaign.stop()
        print("\nstopped: what follows is of those that have run")
    if report(campaign, len(found)) < options.bar:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
