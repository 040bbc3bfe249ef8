"""The charts of a result, as SVG, each for a light and for a dark page."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from .profiles import LEVELS
from .results import Result
from .tables import OURS, baseline, figure, in_tables

FLOOR: Final = "floor"

GAP: Final = 0.055
"""Of the height of a chart: what a label needs."""


@frozen
class Theme:
    """The colours for one kind of page."""

    name: str
    text: str
    faint: str
    ours: str
    others: str
    good: str
    unsure: str
    bad: str
    worst: str
    lines: tuple[str, ...]


LIGHT: Final = Theme(
    "light", "#1f2328", "#d0d7de", "#0969da", "#8c959f", "#1a7f37", "#bf8700", "#e16f24", "#cf222e",
    ("#8250df", "#1a7f37", "#9a6700", "#cf222e", "#0a7ea4", "#bf3989", "#bc4c00", "#6e7781", "#4d5a0a"),
)  # fmt: skip
DARK: Final = Theme(
    "dark", "#e6edf3", "#3d444d", "#58a6ff", "#7d8590", "#3fb950", "#d29922", "#f0883e", "#f85149",
    ("#bc8cff", "#3fb950", "#d29922", "#ff7b72", "#39c5cf", "#f778ba", "#f0883e", "#8b949e", "#b3c14b"),
)  # fmt: skip


@contextmanager
def _themed(theme: Theme) -> Iterator[Any]:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    settings: Any = {
        "svg.fonttype": "none", "svg.hashsalt": "refold_async", "font.size": 11, "font.family": "sans-serif",
        "text.color": theme.text, "axes.labelcolor": theme.text, "axes.edgecolor": theme.faint,
        "xtick.color": theme.text, "ytick.color": theme.text, "axes.facecolor": "none",
        "axes.spines.top": False, "axes.spines.right": False,
        "grid.color": theme.faint, "grid.linewidth": 0.6, "axes.axisbelow": True,
        "axes.titlelocation": "left", "legend.frameon": False,
    }  # fmt: skip
    with mpl.rc_context(settings):
        yield pyplot
        pyplot.close("all")


def _plain(axis: Any, steps: tuple[float, ...] = (1.0, 2.0, 5.0)) -> None:
    """Write a logarithmic axis in plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(base=10, subs=steps))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _title(chart: Any, text: str) -> None:
    """Head a chart at its left edge, however long the labels are."""
    chart.suptitle(text, x=0.01, ha="left", fontsize=13, fontweight="bold")


def cost(result: Result, theme: Theme, plt: Any) -> Any:
    """Draw the CPU of a request at 100 concurrent: shorter is cheaper."""
    found = [(name, result.spread("cost", "cpu_us", contender=name, level=100)) for name in in_tables(result)]
    bars = [(name, measured) for name, measured in found if measured is not None][::-1]
    chart, axes = plt.subplots(figsize=(9, 0.42 * len(bars) + 1.3), layout="constrained")
    for place, (name, measured) in enumerate(bars):
        colour = theme.ours if name.startswith(OURS) else theme.faint if name.startswith(FLOOR) else theme.others
        axes.barh(place, measured.median, color=colour, height=0.68)
        axes.plot([measured.low, measured.high], [place, place], color=theme.text, linewidth=1.2)
        ratio = result.ratios(
            "cpu_us", {"contender": name, "level": 100}, {"contender": baseline(result, name), "level": 100}
        )
        behind = "" if ratio is None or name == baseline(result, name) else f"  ({figure(ratio.median)} ×)"
        axes.text(measured.high * 1.06, place, f"{figure(measured.median)} µs{behind}", va="center", fontsize=10)
    axes.set_yticks(range(len(bars)), [name for name, _ in bars])
    axes.set_xscale("log")
    axes.set_xlim(right=max(measured.high for _, measured in bars) * 8)
    _plain(axes.xaxis, (1.0, 3.0))
    axes.minorticks_off()
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    _title(chart, "CPU of one request at 100 concurrent (shorter is cheaper)")
    axes.set_xlabel("µs of CPU, logarithmic, median and range; in brackets: times aiohttp on the same event loop")
    return chart


def growth(result: Result, theme: Theme, plt: Any) -> Any:
    """Draw how the CPU of a request grows with concurrency."""
    chart, axes = plt.subplots(figsize=(9, 5.2), layout="constrained")
    names = [name for name in in_tables(result) if result.facts["loops"].get(name) == "asyncio"]
    colours = iter(theme.lines * 3)
    ends = []
    for name in names:
        found = [(level, result.spread("cost", "cpu_us", contender=name, level=level)) for level in LEVELS]
        points = [(level, measured.median) for level, measured in found if measured is not None]
        if not points:
            continue
        ours = name == OURS
        colour = theme.ours if ours else next(colours)
        style = "--" if name.startswith(OURS) and not ours else ":" if name.startswith(FLOOR) else "-"
        axes.plot(
            *zip(*points, strict=True), style, color=colour, linewidth=3 if ours else 1.6, marker="o", markersize=4
        )
        ends.append((points[-1][1], points[-1][0], name, colour, ours))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(LEVELS, [str(level) for level in LEVELS])
    axes.minorticks_off()
    _plain(axes.yaxis)
    axes.set_xlim(right=LEVELS[-1] * 1.05)
    axes.grid(axis="y")
    low, high = axes.get_ylim()
    for (_, level, name, colour, ours), height in zip(
        sorted(ends), _apart([end[0] for end in sorted(ends)], low, high), strict=True
    ):
        axes.annotate(
            name, (level, height), xytext=(12, 0), textcoords="offset points", va="center", color=colour,
            fontweight="bold" if ours else "normal", fontsize=10, annotation_clip=False,
        )  # fmt: skip
    _title(chart, "How the CPU of a request grows with concurrency (flat is good)")
    axes.set_xlabel("concurrent calls, over at most 100 connections")
    axes.set_ylabel("µs of the client's CPU")
    return chart


def _apart(values: list[float], low: float, high: float) -> list[float]:
    """Move labels at these heights, in rising order, so far apart that they do not touch, on a logarithmic axis."""
    span = math.log(high / low)
    places = [math.log(value / low) / span for value in values]
    for index in range(1, len(places)):
        places[index] = max(places[index], places[index - 1] + GAP)
    highest = 1.0
    for index in reversed(range(len(places))):
        places[index] = min(places[index], highest)
        highest = places[index] - GAP
    return [low * math.exp(place * span) for place in places]


def delivery(result: Result, theme: Theme, plt: Any) -> Any:
    """Draw what was not told truthfully, and what was told as uncertain, in a thousand events."""
    rows = sorted(
        result.of("delivery"), key=lambda row: (row["events"] - row["truthful"], row["uncertain"]), reverse=True
    )
    parts = (
        ("lost_as_success", "lost, though said to have succeeded", theme.text),
        ("fired_more", "fired twice or more", theme.worst),
        ("fired_as_failure", "fired, though said to have failed", theme.bad),
        ("uncertain", "said to be uncertain: told truthfully", theme.faint),
    )
    chart, axes = plt.subplots(figsize=(9, 0.42 * len(rows) + 2.0), layout="constrained")
    for place, row in enumerate(rows):
        left = 0.0
        for what, _, colour in parts:
            width = 1000 * _share(row, what)
            axes.barh(place, width, left=left, color=colour, height=0.68)
            left += width
        wrong = 1000 * (1 - row["truthful"] / row["events"])
        axes.text(left + 1.5, place, "all told truthfully" if not wrong else f"{figure(wrong)} not told truthfully",
                  va="center", fontsize=10)  # fmt: skip
    axes.set_yticks(range(len(rows)), [f"{row['contender']}: {row['setup']}" for row in rows])
    for tick, row in zip(axes.get_yticklabels(), rows, strict=True):
        if row["contender"].startswith(OURS):
            tick.set_color(theme.ours)
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(right=axes.get_xlim()[1] * 1.35)
    axes.grid(axis="x")
    handles = [plt.Rectangle((0, 0), 1, 1, color=colour) for _, _, colour in parts]
    chart.legend(handles, [label for _, label, _ in parts], loc="outside lower left", ncols=2, fontsize=10)
    _title(chart, "Of 1,000 events on a bad network")
    axes.set_xlabel("events")
    return chart


def _share(row: dict[str, Any], what: str) -> float:
    """Give a part of the events, so that the parts do not overlap: what was doubled is not counted as uncertain too."""
    if what == "uncertain":
        return float((row["uncertain"] - row["uncertain_more"]) / row["events"])
    if what == "fired_as_failure":
        return float((row["fired_as_failure"] - row["failure_more"]) / row["events"])
    return float(row[what] / row["events"])


def pacing(result: Result, theme: Theme, plt: Any) -> Any:
    """Draw how long the backlog took, and what was lost on the way."""
    rows = result.of("pacing")[::-1]
    events = rows[0]["events"] if rows else 0
    chart, axes = plt.subplots(1, 3, figsize=(9, 0.5 * len(rows) + 1.6), layout="constrained", sharey=True)
    panels = (
        ("seconds to drain", [row["seconds"] for row in rows], "{:.1f}"),
        ("answers of 429", [row["throttled"] for row in rows], "{:,.0f}"),
        ("events given up", [row["events"] - row["fired"] for row in rows], "{:,.0f}"),
    )
    for axis, (title, values, written) in zip(axes, panels, strict=True):
        colours = [theme.ours if row["contender"] == OURS else theme.others for row in rows]
        axis.barh(range(len(rows)), values, color=colours, height=0.62)
        for place, value in enumerate(values):
            axis.text(value + max(*values, 1) * 0.03, place, written.format(value), va="center", fontsize=10)
        axis.set_xlim(0, max(*values, 1) * 1.3)
        axis.set_xlabel(title)
        axis.tick_params(axis="y", length=0)
        axis.set_xticks([])
        axis.spines["bottom"].set_visible(False)
    axes[0].set_yticks(range(len(rows)), [f"{row['contender']}\n{row['setup']}" for row in rows])
    _title(chart, f"{events:,} events against the limit of 20 a second")
    return chart


def batches(result: Result, theme: Theme, plt: Any) -> Any:
    """Draw speed and memory of the ways to fire many."""
    chart, axes = plt.subplots(1, 2, figsize=(9, 3.9), layout="constrained")
    ways = result.names("batches", by="way")
    sizes = sorted({row["items"] for row in result.of("batches")})
    colours = (theme.ours, theme.good, theme.others)
    markers = ("o", "s", "^")
    for axis, (what, scale, title) in zip(
        axes, (("rate", 1.0, "items a second"), ("peak_bytes", 1e6, "peak memory, MB")), strict=True
    ):
        for way, colour, marker in zip(ways, colours, markers, strict=False):
            found = [(items, result.spread("batches", what, way=way, items=items)) for items in sizes]
            points = [(items, measured.median / scale) for items, measured in found if measured is not None]
            if points:
                axis.plot(*zip(*points, strict=True), color=colour, marker=marker, linewidth=2, label=way)
        axis.set_xscale("log")
        axis.set_xticks(sizes, [f"{items:,}" for items in sizes])
        axis.minorticks_off()
        axis.set_ylim(0, axis.get_ylim()[1] * 1.08)
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axis.set_xlabel("items")
        axis.set_title(title, fontsize=11, fontweight="normal")
        axis.grid(axis="y")
    handles, labels = axes[0].get_legend_handles_labels()
    chart.legend(handles, labels, loc="outside lower center", ncols=3)
    _title(chart, "Firing many, over a wire in memory")
    return chart


CHARTS: Final[dict[str, tuple[str, Callable[[Result, Theme, Any], Any]]]] = {
    "cost": ("cost", cost),
    "growth": ("cost", growth),
    "delivery": ("delivery", delivery),
    "pacing": ("pacing", pacing),
    "batches": ("batches", batches),
}
"""For each chart the measurement that it shows."""


def draw(result: Result, folder: Path, *, kind: str = "svg") -> list[Path]:
    """Draw what the result has rows for; give the files.

    :raises ModuleNotFoundError: without matplotlib.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, (measurement, draw_one) in CHARTS.items():
        if not result.of(measurement):
            continue
        for theme in (LIGHT, DARK):
            with _themed(theme) as plt:
                path = folder / f"{name}-{theme.name}.{kind}"
                metadata = {"Date": None} if kind == "svg" else None
                draw_one(result, theme, plt).savefig(path, transparent=True, metadata=metadata, dpi=110)
            drawn.append(path)
    return drawn
