"""The raw result of a run: a JSON document, and how to ask it things."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self

from attrs import define, field, frozen

SCHEMA: Final = 1

Row = dict[str, Any]


@frozen
class Spread:
    """The median of some rounds, and how far apart they were."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median."""
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        """The least."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The most."""
        return max(self.values)

    @property
    def percent(self) -> float:
        """Half of the range, in percent of the median."""
        return 50 * (self.high - self.low) / self.median if self.median else 0.0


@define
class Result:
    """One run. Every row holds what one round of one contender gave, or `failed` with the reason."""

    facts: dict[str, Any] = field(factory=dict)
    rows: dict[str, list[Row]] = field(factory=dict)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a run.

        :raises ValueError: for a file that is no result, or one of another time.
        """
        document = json.loads(path.read_text())
        if not isinstance(document, dict) or document.get("schema") != SCHEMA:
            raise ValueError(f"{path} is no result of `python -m benchmarks` as it is today: run it again")
        return cls(document["facts"], document["rows"])

    def save(self, path: Path) -> None:
        """Write it, one row a line, so that two of them can be compared by eye too."""
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = ",\n".join(_section(name, taken) for name, taken in self.rows.items())
        facts = json.dumps(_rounded(self.facts), indent=1)
        path.write_text(f'{{"schema": {SCHEMA}, "facts": {facts},\n"rows": {{\n{rows}\n}}}}\n')

    def of(self, measurement: str, **where: Any) -> list[Row]:
        """Give the rows of a measurement in which these fields are so, without the failed ones."""
        return [
            row
            for row in self.rows.get(measurement, [])
            if "failed" not in row and all(row.get(name) == value for name, value in where.items())
        ]

    def spread(self, measurement: str, what: str, **where: Any) -> Spread | None:
        """Give the median and range of one field over the rounds; None where there is no row."""
        values = tuple(row[what] for row in self.of(measurement, **where))
        return Spread(values) if values else None

    def names(self, measurement: str, by: str = "contender") -> list[str]:
        """Give the contenders that have rows, failed ones included, in order of appearance."""
        return list(dict.fromkeys(row[by] for row in self.rows.get(measurement, [])))

    def failures(self) -> Iterator[tuple[str, Row]]:
        """Give each row of a contender that raised, crashed or hung, with the name of the measurement."""
        for name, rows in self.rows.items():
            for row in rows:
                if "failed" in row:
                    yield name, row

    def ratios(self, what: str, ours: Row, theirs: Row) -> Spread | None:
        """Divide one contender's samples of cost by another's, round by round, so that the machine's mood cancels out.

        :param ours: the fields that tell the first one's rows, such as its name and level; `theirs` the second one's.
        """
        mine = {row["round"]: row[what] for row in self.of("cost", **ours)}
        other = {row["round"]: row[what] for row in self.of("cost", **theirs)}
        values = tuple(mine[number] / other[number] for number in mine if other.get(number))
        return Spread(values) if values else None


def _section(name: str, taken: list[Row]) -> str:
    lines = ",\n".join(json.dumps(_rounded(row)) for row in taken)
    return f"{json.dumps(name)}: [\n{lines}\n]"


def _rounded(value: Any) -> Any:
    """Keep six digits of each number: more were not measured."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return value
