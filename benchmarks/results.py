"""The raw result of a run, a JSON document, and what can be asked of it."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self

from attrs import define, field, frozen

SCHEMA: Final = 2

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


@define
class Result:
    """One run. Every row holds what one round of one contender measured, or `failed` with the reason."""

    facts: dict[str, Any] = field(factory=dict)
    rows: dict[str, list[Row]] = field(factory=dict)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a run.

        :raises ValueError: for a file that is not a result, or is one of an earlier version.
        """
        document = json.loads(path.read_text())
        if not isinstance(document, dict) or document.get("schema") != SCHEMA:
            raise ValueError(f"{path} is not a result of this version of `python -m benchmarks`: run it again")
        return cls(document["facts"], document["rows"])

    def save(self, path: Path) -> None:
        """Write it, one row a line."""
        path.parent.mkdir(parents=True, exist_ok=True)
        sections = []
        for name, rows in self.rows.items():
            lines = ",\n".join(json.dumps(_rounded(row)) for row in rows)
            sections.append(f"{json.dumps(name)}: [\n{lines}\n]")
        facts, every = json.dumps(_rounded(self.facts), indent=1), ",\n".join(sections)
        path.write_text(f'{{"schema": {SCHEMA}, "facts": {facts},\n"rows": {{\n{every}\n}}}}\n')

    def of(self, measurement: str, **where: Any) -> list[Row]:
        """Return the rows of a measurement in which these fields are so, without the failed ones."""
        return [
            row
            for row in self.rows.get(measurement, [])
            if "failed" not in row and all(row.get(name) == value for name, value in where.items())
        ]

    def spread(self, measurement: str, what: str, **where: Any) -> Spread | None:
        """Return the median and range of one field over the rounds; None where there is no row."""
        values = tuple(row[what] for row in self.of(measurement, **where))
        return Spread(values) if values else None

    def ratio(self, measurement: str, what: str, ours: Row, theirs: Row) -> Spread | None:
        """Divide one case's samples by another's, round by round, so that the state of the machine cancels out.

        :param ours: the fields by which the first one's rows are found; `theirs` the second one's.
        """
        mine = {row.get("round"): row[what] for row in self.of(measurement, **ours)}
        other = {row.get("round"): row[what] for row in self.of(measurement, **theirs)}
        values = tuple(mine[number] / other[number] for number in mine if other.get(number))
        return Spread(values) if values else None

    def why(self, measurement: str, where: Row) -> str:
        """Say why there is no row with these fields."""
        failed = [
            row["failed"] for name, row in self.failures() if name == measurement and row.items() >= where.items()
        ]
        return failed[0] if failed else "not measured"

    def failures(self) -> Iterator[tuple[str, Row]]:
        """Return each row of a contender that raised, crashed or hung, with the name of the measurement."""
        for name, rows in self.rows.items():
            for row in rows:
                if "failed" in row:
                    yield name, row


def _rounded(value: Any) -> Any:
    """Keep six digits of each number: more were not measured."""
    return json.loads(json.dumps(value), parse_float=lambda digits: float(f"{float(digits):.6g}"))
