"""A full run: everything, once, into one raw result."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from . import machine, wire
from .contender import CONTENDERS
from .contenders import LOOPS
from .contenders.refold import BATCHES, NAME, OPTIONS, with_option
from .measurements import cost, delivery
from .measurements.cost import Case
from .results import Result, Row

LEVELS: Final = (1, 10, 100, 1000)
MAIN: Final = (NAME, "aiohttp", "pyreqwest", "floor")
"""Measured at every level, on both loops."""

OTHERS: Final = ("httpx", "httpx2", "openai", "stripe")
"""Measured at 100 on asyncio only."""

LIMITER_OFF: Final = Case(with_option("limiter off"))
OVER_TLS: Final = Case(NAME, tls=True)
DELIVERY: Final = (
    (with_option("limiter off"), False),
    (with_option("declared window"), True),
    (with_option("retry_ambiguous=True"), False),
    *((name, False) for name in ("aiohttp", "pyreqwest", "httpx", "httpx2", "httpx-retries", "openai", "stripe")),
    ("stripe", True),
)
PACING: Final = (
    with_option("documented limit"),
    "httpx + AsyncLimiter(20, 1)",
    "httpx + AsyncLimiter(5, 0.25)",
    "httpx-retries",
)


@frozen(kw_only=True)
class Profile:
    """How many rounds, of how many seconds; how many events; how long a backlog; how many rows in a batch."""

    rounds: int
    seconds: float
    events: int
    backlog: float
    rows: int


FULL: Final = Profile(rounds=4, seconds=0.3, events=2_000, backlog=15.0, rows=10_000)
QUICK: Final = Profile(rounds=2, seconds=0.1, events=300, backlog=3.0, rows=2_000)


def cases(profile: Profile) -> list[Case]:
    """Return every case, once: the tables', the charts', and what is asked of the core."""
    main = [Case(name, loop, level) for loop in LOOPS for level in LEVELS for name in MAIN]
    options = [Case(with_option(option)) for option in OPTIONS]
    batches = [Case(name, rows=profile.rows) for name in (NAME, *map(with_option, BATCHES))]
    asked = wire.cases(wire.LINES, LOOPS)
    return list(dict.fromkeys([*main, *(Case(name) for name in OTHERS), *options, OVER_TLS, *batches, *asked]))


def counted() -> list[Case]:
    """Return the cases whose instructions are counted."""
    main = [Case(name, loop) for loop in LOOPS for name in MAIN]
    return [*main, OVER_TLS, *(Case(with_option(option)) for option in OPTIONS)]


def _always(measure: Callable[[], list[Row]]) -> Callable[[Profile], list[Row]]:
    return lambda profile: measure()


PARTS: Final[dict[str, Callable[[Profile], list[Row]]]] = {
    "cost": lambda profile: cost.run(cases(profile), rounds=profile.rounds, seconds=profile.seconds, say=say),
    **{name: _always(measure) for name, measure in wire.MEASURES.items()},
    "instructions": lambda profile: cost.instructions(counted(), say),
    "delivery": lambda profile: delivery.run(DELIVERY, count=profile.events),
    "pacing": lambda profile: delivery.pacing(PACING, seconds=profile.backlog),
}


def run(profile: Profile, out: Path, only: Collection[str] = ()) -> Result:
    """Measure everything, and write the raw result after each part.

    :param only: the names of parts that replace those of the result that is there already.
    """
    began = time.monotonic()
    packages = [name for contender in CONTENDERS.values() for name in contender.packages]
    result = Result(
        {
            "command": "python -m benchmarks " + " ".join(sys.argv[1:]),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine.facts(),
            "versions": machine.versions([*packages, "uvloop"]),
            "rows": profile.rows,
        }
    )
    if only:
        result = Result.load(out)
    for name, measure in PARTS.items():
        if only and name not in only:
            continue
        started = time.monotonic()
        result.rows[name] = measure(profile)
        say(f"{name}: {time.monotonic() - started:.0f} s")
        if not only:
            result.facts["seconds"] = round(time.monotonic() - began)
        result.save(out)
    for name, row in result.failures():
        say(f"failed in {name}: {failure(row)}")
    return result


def failure(row: dict[str, Any]) -> str:
    """Say in a few words which row failed, and how."""
    named = [str(row[field]) for field in ("contender", "program", "loop", "level") if field in row]
    return f"{', '.join(named)}: {row['failed']}"


def say(line: str) -> None:
    """Tell whoever watches how far it is; standard output is for results."""
    print(line, file=sys.stderr, flush=True)
