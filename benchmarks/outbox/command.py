"""`python -m benchmarks outbox`: what an outbox costs, each line with its bar; 1 if one is missed."""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from attrs import define, field, frozen
from tabulate import tabulate

from refold_async import RateLimit
from tests.contract.servers import Server, postgres_server, redis_server

from . import putting, relaying

Say = Callable[[str], None]


@define
class Setting:
    """Where and how long is measured.

    :ivar scale: 1 for a result; less for a look.
    :ivar throttled: how many 429s the mock answered, for each time that the rate was measured.
    """

    folder: Path
    scale: float
    redis: Server | None = None
    postgres: Server | None = None
    throttled: list[int] = field(factory=list)
    _large: tuple[list[float], list[float]] | None = field(default=None, init=False)

    def count(self, full: int) -> int:
        """Return how many, of so many in full."""
        return max(10, int(full * self.scale))

    def large(self) -> tuple[list[float], list[float]]:
        """Measure the large file once, for both of its lines."""
        if self._large is None:
            self._large = putting.large(self.folder, rows=self.count(1_000_000), rounds=5, count=self.count(1000))
        return self._large


def median(samples: list[float]) -> float:
    """Return the middle one."""
    return statistics.median(samples)


def p99(samples: list[float]) -> float:
    """Return what 99 of 100 stay below."""
    return sorted(samples)[int(len(samples) * 0.99)]


def _beside(setting: Setting, pause: float, limit: RateLimit | None) -> list[float]:
    return putting.beside(setting.folder, seconds=max(1.0, 10 * setting.scale), pause=pause, rate_limit=limit)


def _share(setting: Setting, name: str, processes: int, limit_url: str) -> list[float]:
    return [
        relaying.share(
            setting.folder / f"{name}-{number}",
            processes=processes,
            limit_url=limit_url.format(number=number),
            seconds=max(1.0, 20 * setting.scale),
            throttled=setting.throttled.append,
        )
        for number in range(3)
    ]


@frozen
class Line:
    """Something that is measured.

    :ivar measure: returns samples; None where its server is not here.
    :ivar of: makes a number of them.
    :ivar most: what it may be at most; None for no bar.
    :ivar least: what it must be at least.
    """

    text: str
    unit: str
    measure: Callable[[Setting], list[float] | None]
    of: Callable[[list[float]], float] = median
    most: float | None = None
    least: float | None = None

    def holds(self, value: float) -> bool:
        """Whether a value keeps to the bar."""
        return (self.most is None or value <= self.most) and (self.least is None or value >= self.least)


LINES: Final[dict[str, Line]] = {
    "put": Line('a put, synchronous="normal", median', "µs",
                lambda s: putting.puts(s.folder, synchronous="normal", count=s.count(5000)), most=100),
    "put-full": Line('a put, synchronous="full", median', "µs",
                     lambda s: putting.puts(s.folder, synchronous="full", count=s.count(500))),
    "beside": Line("a put of 4 processes, 50 a second each, while one relays 20 a second, p99", "ms",
                   lambda s: _beside(s, 0.02, RateLimit()), p99, most=50),
    "beside-fast": Line("… while one relays as fast as it can, p99", "ms", lambda s: _beside(s, 0.02, None), p99),
    "beside-flood": Line("… of 4 processes that do nothing but put, p99", "ms",
                         lambda s: _beside(s, 0.0, RateLimit()), p99),
    "large-put": Line("a put into 1,000,000 rows ÷ into few", "×", lambda s: s.large()[0], most=1.5),
    "large-relay": Line("an event relayed out of 1,000,000 rows ÷ of few", "×", lambda s: s.large()[1], most=1.5),
    "many": Line("put_many ÷ encoding and executemany by hand", "×",
                 lambda s: putting.many_in_sqlite(s.folder, rows=s.count(100_000), rounds=3), most=2),
    "many-postgres": Line("put_many into PostgreSQL ÷ encoding and COPY by hand", "×",
                          lambda s: None if s.postgres is None
                          else putting.many_in_postgres(s.postgres.url, rows=s.count(100_000), rounds=3), most=2),
    "rate": Line("share of 20/s, one relay with a backlog", "", lambda s: _share(s, "one", 1, ""), least=0.97),
    "rate-sqlite": Line("… four processes, SQLiteRateLimiter", "",
                        lambda s: _share(s, "four-sqlite", 4, f"sqlite:///{s.folder}/limit-{{number}}.db"), least=0.97),
    "rate-redis": Line("… four processes, RedisRateLimiter", "",
                       lambda s: None if s.redis is None else _share(s, "four-redis", 4, s.redis.url), least=0.97),
}  # fmt: skip


def add_arguments(commands: Any) -> None:
    """Describe the command."""
    outbox = commands.add_parser("outbox", help="what an outbox costs, each line with its bar; 1 if one is missed")
    outbox.add_argument("--only", action="append", choices=LINES, help="only this line; may be repeated")
    outbox.add_argument("--scale", type=float, default=1.0, help="fewer rows and seconds: a look, not a result")


def run(given: argparse.Namespace, say: Say) -> int:
    """Do what the command line says, and return the exit code."""
    rows, holds = [], True
    with (
        redis_server("--appendonly", "no") as redis,
        postgres_server() as postgres,
        tempfile.TemporaryDirectory(prefix="refold-outbox-") as folder,
    ):
        setting = Setting(Path(folder), given.scale, redis, postgres)
        for key in given.only or LINES:
            line = LINES[key]
            say(f"{line.text} …")
            samples = line.measure(setting)
            if samples is None:
                say("its server is not here")
                holds = False
                continue
            value = line.of(samples)
            kept = line.holds(value)
            holds = holds and kept
            bar = f"at most {line.most:g}" if line.most is not None else ""
            bar = f"at least {line.least:g}" if line.least is not None else bar
            spread = f"{min(samples):.3g} to {max(samples):.3g}"
            spread += f"; 429s: {setting.throttled}" if setting.throttled else ""
            setting.throttled.clear()
            measured = f"{value:.3g} {line.unit}".strip()
            rows.append((line.text, measured, spread, bar, ("yes" if kept else "NO") if bar else ""))
    print(tabulate(rows, ("", "measured", "range", "bar", "holds"), tablefmt="github", disable_numparse=True))
    return 0 if holds else 1
