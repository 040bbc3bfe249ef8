"""A run: one measurement after the other, with the result written after each."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from attrs import define

from . import cores, machine
from .contender import Contender
from .contenders import installed
from .measurements import batches, cost, delivery, imports, layers, mock, pacing
from .profiles import COST, DELIVERY, LEVELS, LOOPS, PACING, WIRE, Profile
from .results import Result

SEED: Final = 20
"""Of the faults. Any other shows the same picture."""


@define
class Run:
    """What the measurements of a run share."""

    profile: Profile
    contenders: dict[str, Contender]

    def present(self, keys: Collection[str]) -> dict[str, Contender]:
        """Give those of these contenders that are installed, and those that were named by their module."""
        return {key: each for key, each in self.contenders.items() if key in keys or ":" in key}

    def cost(self) -> list[dict[str, Any]]:
        """Measure cost and speed."""
        found, profile = self.present(COST), self.profile
        levels = {key: COST.get(key, LEVELS) for key in found}
        return cost.run(found, levels, rounds=profile.cost_rounds, seconds=profile.cost_seconds, say=say)

    def wire(self) -> list[dict[str, Any]]:
        """Measure what the claims about the wire need, and nothing else."""
        levels = {key + suffix: of for suffix in LOOPS.values() for key, of in WIRE.items()}
        found, profile = self.present(levels), self.profile
        return cost.run(found, levels, rounds=profile.cost_rounds, seconds=profile.cost_seconds, say=say)

    def delivery(self) -> list[dict[str, Any]]:
        """Measure delivery under faults."""
        return delivery.run(self.present(DELIVERY), events=self.profile.events, seed=SEED)

    def pacing(self) -> list[dict[str, Any]]:
        """Measure pacing."""
        return pacing.run(self.present(PACING), seconds=self.profile.backlog_seconds)

    def batches(self) -> list[dict[str, Any]]:
        """Measure batches."""
        return batches.run(self.profile.batches)

    def imports(self) -> list[dict[str, Any]]:
        """Measure imports."""
        return imports.run(self.contenders, rounds=self.profile.import_rounds)

    def layers(self) -> list[dict[str, Any]]:
        """Measure the layers alone."""
        loops = {loop: suffix for loop, suffix in LOOPS.items() if "refold_async" + suffix in self.contenders}
        return layers.run(loops, rounds=self.profile.layer_rounds)

    def mock(self) -> list[dict[str, Any]]:
        """Measure the mock server."""
        return mock.run(rounds=self.profile.mock_rounds, requests=self.profile.mock_requests)


MEASUREMENTS: Final[dict[str, Callable[[Run], list[dict[str, Any]]]]] = {
    "cost": Run.cost,
    "layers": Run.layers,
    "delivery": Run.delivery,
    "pacing": Run.pacing,
    "batches": Run.batches,
    "imports": Run.imports,
    "mock": Run.mock,
}


def run(profile: Profile, measurements: Collection[str], out: Path, keys: Collection[str] = ()) -> Result:
    """Measure, and write `result.json` into the folder `out`.

    :param keys: only these contenders; all of them if there are none.
    """
    wanted = keys or tuple(dict.fromkeys((*COST, *DELIVERY, *PACING)))
    contenders, skipped = installed(wanted)
    for key, reason in skipped.items():
        say(f"skipped {key}: {reason}")
    cores.pin(cores.core_for(cores.SERVER))
    result = Result(_facts(profile, contenders, skipped))
    shared, began = Run(profile, contenders), time.monotonic()
    for name in measurements:
        started = time.monotonic()
        say(f"{name} …")
        measure = Run.wire if name == "wire" else MEASUREMENTS[name]
        result.rows["cost" if name == "wire" else name] = measure(shared)
        result.facts["seconds"] = round(time.monotonic() - began)
        result.save(out / "result.json")
        say(f"{name}: {time.monotonic() - started:.0f} s")
    for name, row in result.failures():
        say(f"failed in {name}: {', '.join(str(row[part]) for part in row if part != 'failed')}: {row['failed']}")
    return result


def _facts(profile: Profile, contenders: dict[str, Contender], skipped: dict[str, str]) -> dict[str, Any]:
    packages = {name for contender in contenders.values() for name in contender.distributions}
    return {
        "profile": profile.name,
        "command": shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": SEED,
        "machine": machine.facts(),
        "versions": machine.versions([*packages, "uvloop"]),
        "skipped": skipped,
        "names": {key: contender.name for key, contender in contenders.items()},
        "loops": {contender.name: contender.loop for contender in contenders.values()},
        "imports": {contender.name: contender.imports for contender in contenders.values()},
    }


def say(line: str) -> None:
    """Tell whoever watches how far it is; standard output is for results."""
    print(line, file=sys.stderr, flush=True)


def new_folder(root: Path, name: str) -> Path:
    """Name a folder for a run after the time it began."""
    return root / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{name}-{os.getpid()}"
