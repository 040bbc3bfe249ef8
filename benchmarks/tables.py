"""The tables of a result, in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from .claims import DEFAULT, claims
from .profiles import LEVELS
from .results import Result, Spread

OURS = "refold_async"
USUAL = "gather + semaphore"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Put a table together; the first column reads to the right, the others are numbers."""
    lines = [f"| {' | '.join(head)} |", f"| --- | {' | '.join('---:' for _ in head[1:])} |"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def figure(value: float) -> str:
    """Write a number with three digits that count."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def spread(measured: Spread | None, scale: float = 1.0) -> str:
    """Write a median and half of the range; a dash where nothing was measured."""
    return "–" if measured is None else f"{figure(measured.median * scale)} ± {measured.percent:.0f} %"


def baseline(result: Result, name: str) -> str:
    """Name bare aiohttp on the same event loop, to which the ratios are."""
    loop = result.facts["loops"].get(name, "asyncio")
    return "aiohttp" if loop == "asyncio" else f"aiohttp on {loop}"


def in_tables(result: Result) -> list[str]:
    """Give the contenders of the measurement of cost, cheapest at 100 first; not the one that is there for a claim."""

    def cost(name: str) -> float:
        measured = result.spread("cost", "cpu_us", contender=name, level=100)
        return float("inf") if measured is None else measured.median

    names = [name for name in result.names("cost") if not name.startswith(DEFAULT)]
    return sorted(names, key=cost)


def at_a_glance(result: Result) -> str:
    """Tabulate what each contender costs at 100 concurrent, for the README."""

    def row(name: str) -> list[str]:
        where = {"contender": name, "level": 100}
        ratio = result.ratios("cpu_us", where, {"contender": baseline(result, name), "level": 100})
        p99 = result.spread("cost", "p99", **where)
        return [
            bold(name),
            spread(result.spread("cost", "cpu_us", **where)),
            "–" if ratio is None else figure(ratio.median),
            spread(result.spread("cost", "rate", **where)),
            "–" if p99 is None else figure(p99.median * 1e3),
        ]

    head = ["at 100 concurrent", "CPU of a request, µs", "× aiohttp, same loop", "requests a second", "p99, ms"]
    return markdown(head, [row(name) for name in in_tables(result)])


def _by_level(result: Result, what: str) -> str:
    def cell(name: str, level: int) -> str:
        measured = result.spread("cost", what, contender=name, level=level)
        ratio = result.ratios(
            what, {"contender": name, "level": level}, {"contender": baseline(result, name), "level": level}
        )
        behind = "" if ratio is None or name == baseline(result, name) else f" (× {figure(ratio.median)})"
        return spread(measured) + behind

    head = ["", *(f"at {level}" for level in LEVELS)]
    return markdown(head, [[bold(name), *(cell(name, level) for level in LEVELS)] for name in in_tables(result)])


def bold(name: str) -> str:
    """Mark what is ours."""
    return f"**{name}**" if name.startswith(OURS) else name


def cpu(result: Result) -> str:
    """Tabulate the client's CPU for a request, in microseconds."""
    return _by_level(result, "cpu_us")


def rate(result: Result) -> str:
    """Tabulate requests a second."""
    return _by_level(result, "rate")


def latency(result: Result) -> str:
    """Tabulate the median and the 99th percentile of latency, in milliseconds."""

    def cell(name: str, level: int) -> str:
        p50, p99 = (result.spread("cost", what, contender=name, level=level) for what in ("p50", "p99"))
        return "–" if p50 is None or p99 is None else f"{figure(p50.median * 1e3)} / {figure(p99.median * 1e3)}"

    head = ["p50 / p99", *(f"at {level}" for level in LEVELS)]
    return markdown(head, [[bold(name), *(cell(name, level) for level in LEVELS)] for name in in_tables(result)])


def weight(result: Result) -> str:
    """Tabulate peak memory and the time of the import."""

    def row(name: str) -> list[str]:
        memory = result.spread("cost", "peak_bytes", contender=name)
        peak = "–" if memory is None or not memory.high else f"{memory.high / 1e6:.0f}"
        imports = result.facts["imports"].get(name)
        return [bold(name), peak, f"`{imports}`", spread(result.spread("imports", "milliseconds", imports=imports))]

    head = ["", "peak memory, MB", "imports", "import time, ms"]
    return markdown(head, [row(name) for name in in_tables(result)])


def server(result: Result) -> str:
    """Tabulate which share of its core the server used, at most."""
    rows = []
    for name in in_tables(result):
        shares = {level: result.spread("cost", "server_share", contender=name, level=level) for level in LEVELS}
        rows.append([bold(name), *("–" if each is None else f"{each.high:.0%}" for each in shares.values())])
    return markdown(["", *(f"at {level}" for level in LEVELS)], rows)


def wire(result: Result) -> str:
    """Tabulate the claims about the wire."""
    rows = [
        [
            f"{claim.text}, {claim.loop}",
            f"{figure(claim.measured.median)} {claim.unit}",
            f"{figure(claim.measured.low)} to {figure(claim.measured.high)}",
            f"{claim.asked} {claim.unit}",
            "yes" if claim.holds else "**no**",
        ]
        for claim in claims(result)
    ]
    return markdown(["", "median", "range", "asked", "holds"], rows)


def samples(result: Result) -> str:
    """Tabulate the measurement of cost for a terminal."""
    lines = [f"{'':<36}{'at':>5}{'req/s':>9}{'CPU µs':>9}{'p50 ms':>9}{'p99 ms':>9}{'server':>8}"]
    places = dict.fromkeys((row["contender"], row["level"]) for row in result.of("cost"))
    for name, level in sorted(places):
        row = [
            measured.median
            for what in ("rate", "cpu_us", "p50", "p99", "server_share")
            if (measured := result.spread("cost", what, contender=name, level=level)) is not None
        ]
        rate, cpu_us, p50, p99, share = row
        lines.append(f"{name:<36}{level:>5}{rate:>9,.0f}{cpu_us:>9.1f}{p50 * 1e3:>9.2f}{p99 * 1e3:>9.2f}{share:>8.0%}")
    return "\n".join(lines)


def delivery(result: Result) -> str:
    """Tabulate what became of the events, and what was said of them."""
    columns = {
        "fired once": "fired_once",
        "fired twice or more": "fired_more",
        "lost, said to have succeeded": "lost_as_success",
        "fired, said to have failed": "fired_as_failure",
        "said to be uncertain": "uncertain",
    }
    rows = [
        [
            f"{bold(row['contender'])}: {row['setup']}",
            *(f"{row[what]:,}" for what in columns.values()),
            f"{row['truthful'] / row['events']:.1%}",
        ]
        for row in sorted(result.of("delivery"), key=lambda row: -row["truthful"])
    ]
    return markdown(["client: settings", *columns, "told truthfully"], rows)


def pacing(result: Result) -> str:
    """Tabulate how the backlog was drained."""
    rows = [
        [
            f"{bold(row['contender'])}: {row['setup']}",
            f"{row['throttled']:,}",
            f"{row['share']:.1%}",
            f"{row['seconds']:.1f}",
            f"{row['events'] - row['fired']:,}",
        ]
        for row in result.of("pacing")
    ]
    return markdown(["client: settings", "429s", "share of the rate", "seconds to drain", "events given up"], rows)


def batches(result: Result) -> str:
    """Tabulate the ways to fire many."""
    rows = [
        [
            f"{bold_way(way)}, {items:,}",
            spread(result.spread("batches", "rate", way=way, items=items)),
            spread(result.spread("batches", "cpu_us", way=way, items=items)),
            _highest(result.spread("batches", "peak_bytes", way=way, items=items), lambda most: f"{most / 1e6:.0f}"),
            _highest(result.spread("batches", "ahead", way=way, items=items), lambda most: f"{most:,.0f}"),
        ]
        for items in sorted({row["items"] for row in result.of("batches")})
        for way in result.names("batches", by="way")
    ]
    return markdown(["way, items", "items a second", "CPU of an item, µs", "peak memory, MB", "pulled ahead"], rows)


def bold_way(way: str) -> str:
    """Mark our ways to fire many."""
    return f"**{way}**" if way.startswith("trigger") else way


def _highest(measured: Spread | None, write: Callable[[float], str]) -> str:
    return "–" if measured is None else write(measured.high)
