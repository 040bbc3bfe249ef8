"""Play the scenes, and end with 1 if anything did not hold."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable

from . import __doc__ as description
from .faults import COMPARED_RATE, Wire, chaos, compare
from .foreign import foreign
from .handshakes import slow_handshakes
from .hostile import user_code
from .loops import changing_loops
from .stopped import stopped_process
from .tally import Tally

ROUND = 10_000
"""Triggers for each round of all scenes; the next has another seed, and a ledger of its own."""

MOST_COMPARED = 4_000


def _faults_on(wire: Wire) -> Callable[[int, int], Tally]:
    return lambda triggers, seed: asyncio.run(chaos(triggers, seed, wire))


def _compared(triggers: int, seed: int) -> Tally:
    """Play half of them on either wire, with the same load: a faster one has more on its way when all is let go."""
    half = min(triggers // 2, MOST_COMPARED)
    ours, stock = (asyncio.run(chaos(half, seed, wire, COMPARED_RATE)) for wire in ("pool", "httpx"))
    return Tally(problems=[*ours.problems, *stock.problems, *compare(ours, stock)])


SCENES: dict[str, tuple[int, Callable[[int, int], Tally]]] = {
    "faults": (34, _faults_on("pool")),
    "faults-on-httpx": (12, _faults_on("httpx")),
    "compared": (16, _compared),
    "foreign-client": (12, lambda triggers, seed: asyncio.run(foreign(triggers, seed))),
    "user-code": (14, lambda triggers, seed: asyncio.run(user_code(triggers, seed))),
    "loops": (6, changing_loops),
    "handshakes": (3, lambda triggers, seed: asyncio.run(slow_handshakes(triggers, seed))),
    "stopped": (3, lambda triggers, seed: asyncio.run(stopped_process(triggers, seed))),
}
"""What is played, and how many of a hundred triggers it has."""


def play(names: list[str], triggers: int, seed: int) -> list[str]:
    """Play these scenes once; return what did not hold."""
    problems: list[str] = []
    shares = sum(SCENES[name][0] for name in names)
    for name in names:
        share, scene = SCENES[name]
        started = time.monotonic()
        print(f"{name}, seed {seed}", flush=True)
        tally = scene(max(2, triggers * share // shares), seed)
        found = [f"{name}, seed {seed}: {problem}" for problem in tally.problems]
        problems += found
        print("".join(f"PROBLEM: {problem}\n" for problem in found), end="")
        print(f"{time.monotonic() - started:.1f} s\n", flush=True)
    return problems


def main() -> None:
    """Read the arguments, play, and tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.chaos", description=description)
    parser.add_argument("--triggers", type=int, default=10_000, help="in all; default: 10000")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scene", choices=list(SCENES), help="play this one alone")
    arguments = parser.parse_args()
    names = list(SCENES) if arguments.scene is None else [arguments.scene]
    problems: list[str] = []
    began = time.monotonic()
    for number, at in enumerate(range(0, arguments.triggers, ROUND)):
        problems += play(names, min(ROUND, arguments.triggers - at), arguments.seed + number)
        if arguments.triggers > ROUND:
            done = min(at + ROUND, arguments.triggers)
            print(f"=== {done} triggers in {time.monotonic() - began:.0f} s, {len(problems)} problems\n", flush=True)
    if problems:
        sys.exit("\n".join(problems[:20]))
    print("every verdict is true, and nothing was left over")


if __name__ == "__main__":
    main()
