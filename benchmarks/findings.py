"""What a result says, in sentences; those about who beats us are made from the data as all the others are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .profiles import LEVELS
from .results import Result
from .tables import OURS, USUAL, figure, in_tables

FLOOR = "floor"
BOTTLENECK = 0.9
"""The share of its core from which on the server, not the client, decides how many requests a second there are."""


def listed(names: Iterable[str]) -> str:
    """Put names in a row, as one would say them."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def ahead(result: Result) -> Iterator[str]:
    """Say who beats refold_async in cost, speed, memory and import; the floor apart."""
    for ours in (name for name in result.names("cost") if name in (OURS, f"{OURS} on uvloop")):
        loop = result.facts["loops"].get(ours)
        rivals = [
            name
            for name in in_tables(result)
            if not name.startswith((OURS, FLOOR)) and result.facts["loops"].get(name) == loop
        ]
        for what, verb, better in (("cpu_us", "costs less CPU than", -1), ("rate", "does more a second than", 1)):
            found = [_ahead(result, name, ours, what, verb, better) for name in rivals]
            yield from (sentence for sentence in found if sentence)
            if rivals and not any(found):
                yield f"No other client here {verb} {ours}, at any level."
        less = [f"{name} ({_peak(result, name):.0f} MB)" for name in rivals if _leaner(result, name, ours)]
        if less:
            yield f"Less memory than {ours} ({_peak(result, ours):.0f} MB) is used by {listed(less)}."
    yield from _imports(result)


def _ahead(result: Result, name: str, ours: str, what: str, verb: str, better: int) -> str:
    """Say at which levels a rival is ahead; empty where it is not."""
    levels = []
    for level in LEVELS:
        ratio = result.ratios(what, {"contender": name, "level": level}, {"contender": ours, "level": level})
        if ratio is not None and (ratio.median - 1) * better > 0:
            within = ", within the spread" if ratio.low <= 1 <= ratio.high else ""
            levels.append(f"{level} (× {figure(ratio.median)}{within})")
    return f"{name} {verb} {ours} at {listed(levels)} concurrent." if levels else ""


def _peak(result: Result, name: str) -> float:
    measured = result.spread("cost", "peak_bytes", contender=name)
    return 0.0 if measured is None else measured.high / 1e6


def _leaner(result: Result, name: str, ours: str) -> bool:
    return 0 < round(_peak(result, name)) < round(_peak(result, ours))


def _imports(result: Result) -> Iterator[str]:
    ours = result.spread("imports", "milliseconds", imports="refold_async")
    if ours is None:
        return
    base = result.spread("imports", "milliseconds", imports="httpx")
    if base is not None:
        added = ours.median - base.median
        yield f"`import refold_async` takes {ours.median:.0f} ms: {added:.0f} ms more than httpx, which it is built on."
    faster = {}
    for name in in_tables(result):
        module = result.facts["imports"].get(name)
        other = result.spread("imports", "milliseconds", imports=module)
        if other is not None and other.median < ours.median and not name.startswith(FLOOR):
            faster[module] = f"{module} ({other.median:.0f} ms)"
    if faster:
        yield f"Faster to import: {listed(faster.values())}."


def floor(result: Result) -> Iterator[str]:
    """Say how far above the floor we are, and whether the server held anyone up."""
    floor_name = next((name for name in result.names("cost") if name.startswith(FLOOR)), None)
    if floor_name is not None:
        ours, least = {"contender": OURS, "level": 100}, {"contender": floor_name, "level": 100}
        ratio = result.ratios("cpu_us", ours, least)
        if ratio is not None:
            yield (
                f"The floor, an asyncio protocol with httptools and nothing else, shows what the least would be: "
                f"at 100 concurrent {OURS} costs {figure(ratio.median)} times as much CPU."
            )
    shares = [(row["server_share"], row["contender"], row["level"]) for row in result.of("cost")]
    if shares:
        share, name, level = max(shares)
        held_up = sorted({name for share, name, _ in shares if share >= BOTTLENECK})
        yield f"The server used at most {share:.0%} of its core ({name}, at {level} concurrent)."
        if held_up:
            yield f"It was the bottleneck for {listed(held_up)}: they could do more a second; their CPU is right."
        else:
            yield "It was never the bottleneck."


def ratios(result: Result) -> Iterator[str]:
    """Say what refold_async costs beside the clients that most would compare it with."""
    for other in ("aiohttp", "httpx", "httpx2"):
        cost, rate = (
            result.ratios(what, {"contender": OURS, "level": 100}, {"contender": other, "level": 100})
            for what in ("cpu_us", "rate")
        )
        if cost is not None and rate is not None:
            yield (
                f"At 100 concurrent, a `trigger` costs {figure(cost.median)} × the CPU of {other}'s post "
                f"({figure(cost.low)} to {figure(cost.high)}), and there are {figure(rate.median)} × as many a second."
            )


def delivery(result: Result) -> Iterator[str]:
    """Say who told the truth, who lost, who doubled, and who got more events through."""
    rows = result.of("delivery")
    ours = next((row for row in rows if row["contender"] == OURS and row["setup"] == "defaults"), None)
    if ours is None:
        return
    events = ours["events"]
    yield (
        f"Of {events:,} events, {OURS} with its defaults reported {ours['truthful']:,} truthfully, "
        f"{ours['uncertain']:,} of them as uncertain; {ours['fired_more']:,} fired twice."
    )
    declared = next((row for row in rows if row["contender"] == OURS and row["deduped"]), None)
    if declared is not None:
        yield (
            f"With a declared idempotency window, {declared['fired_once']:,} fired once and "
            f"{declared['fired_more']:,} twice; {declared['uncertain']:,} were reported as uncertain."
        )
    doubled = [f"{_who(row)} ({row['fired_more']:,})" for row in rows if row["fired_more"]]
    if doubled:
        yield f"Fired twice or more: {listed(doubled)}."
    hidden = [f"{_who(row)} ({row['fired_as_failure']:,})" for row in rows if row["fired_as_failure"]]
    if hidden:
        yield f"Fired, though reported as a failure: {listed(hidden)}."
    lost = [f"{_who(row)} ({row['lost_as_success']:,})" for row in rows if row["lost_as_success"]]
    yield f"Lost though reported as a success: {listed(lost) if lost else 'none, with any client'}."
    reached = ours["events"] - ours["unfired"]
    more = [
        f"{_who(row)} ({row['events'] - row['unfired']:,})"
        for row in rows
        if row["events"] - row["unfired"] > reached and row is not ours
    ]
    if more:
        yield (
            f"Fired at least once, in more events than with {OURS}'s defaults ({reached:,}), which repeat nothing that "
            f"may have fired: {listed(more)}."
        )


def _who(row: dict[str, object]) -> str:
    return str(row["contender"]) if row["setup"] == "defaults" else f"{row['contender']} with {row['setup']}"


def pacing(result: Result) -> Iterator[str]:
    """Say who was refused, who was slower, and who lost events."""
    rows = result.of("pacing")
    ours = next((row for row in rows if row["contender"] == OURS), None)
    if ours is None:
        return
    yield (
        f"{OURS} met {ours['throttled']:,} answers of 429, used {ours['share']:.1%} of 20 a second "
        f"(the burst comes on top), and drained {ours['events']:,} events in {ours['seconds']:.1f} s."
    )
    others = [row for row in rows if row is not ours]
    faster = [row for row in others if row["seconds"] < ours["seconds"]]
    for row in faster:
        given_up = row["events"] - row["fired"]
        at_cost = f", by giving up {given_up:,} events after {row['throttled']:,} answers of 429" if given_up else ""
        yield f"{_who(row)} was done sooner ({row['seconds']:.1f} s){at_cost}."
    for row in others:
        if row not in faster:
            yield (
                f"{_who(row)} took {row['seconds']:.1f} s, met {row['throttled']:,} answers of 429, "
                f"and gave up {row['events'] - row['fired']:,} events."
            )


def batches(result: Result) -> Iterator[str]:
    """Compare our two ways with the usual one, at the largest size."""
    items = max((row["items"] for row in result.of("batches")), default=0)
    usual = _batch(result, USUAL, items)
    for way in ("trigger_many", "trigger_stream"):
        ours = _batch(result, way, items)
        if usual is None or ours is None:
            continue
        word = "more" if ours[0] > usual[0] else "less"
        yield (
            f"At {items:,} items, `{way}` does {figure(ours[0] / usual[0])} × the items a second of `asyncio.gather` "
            f"with a semaphore ({word}), and peaks at {ours[1]:.0f} MB instead of {usual[1]:.0f} MB."
        )


def _batch(result: Result, way: str, items: int) -> tuple[float, float] | None:
    rate = result.spread("batches", "rate", way=way, items=items)
    peak = result.spread("batches", "peak_bytes", way=way, items=items)
    return None if rate is None or peak is None else (rate.median, peak.high / 1e6)


def mock(result: Result) -> Iterator[str]:
    """Say what the mock costs."""
    cost = result.spread("mock", "cpu_us")
    if cost is not None:
        low, high = figure(cost.low), figure(cost.high)
        yield f"The mock Refold of `refold_async.testing` costs {low} to {high} µs of CPU a request."


def failed(result: Result) -> Iterator[str]:
    """Say who was not measured, and why."""
    for key, reason in result.facts.get("skipped", {}).items():
        yield f"Skipped: {key}, because {reason}."
    for name, row in result.failures():
        what = ", ".join(
            str(value) for part, value in row.items() if part not in ("failed", "round", "deduped", "events")
        )
        yield f"Failed in {name}: {what}: {row['failed']}."
