"""The charts of a result, as SVG. The ground is transparent and the ink grey, so that one file suits any page."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from .contenders.refold import NAME
from .measurements.cost import Case
from .report import GROWTH, OPTIONS_CHART, option_cases
from .results import Result
from .run import LEVELS, LIMITER_OFF, MAIN

INK: Final = "#7d8590"
OURS: Final = "#2f81f7"
COLOURS: Final = {NAME: OURS, "aiohttp": "#d29922", "pyreqwest": "#f0883e", "floor": INK}
STYLE: Final[Any] = {
    "svg.fonttype": "none", "svg.hashsalt": NAME, "font.size": 11, "font.family": "sans-serif",
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.facecolor": "none", "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True,
    "axes.titlelocation": "left", "axes.grid": True, "grid.color": INK, "grid.alpha": 0.25, "grid.linewidth": 0.6,
    "savefig.transparent": True,
}  # fmt: skip


def digest(result: Result) -> str:
    """Return what tells the result that a chart was drawn from."""
    return sha256(repr(result.rows["cost"]).encode()).hexdigest()[:16]


def growth(result: Result, axes: Any) -> None:
    """Draw the CPU of a call against how many are in flight, uvloop dashed."""
    for loop, line in (("asyncio", "-"), ("uvloop", "--")):
        for name in MAIN:
            found = [(level, result.spread("cost", "cpu_us", **Case(name, loop, level).as_row())) for level in LEVELS]
            points = [(level, spread.median) for level, spread in found if spread is not None]
            if points:
                label = name if loop == "asyncio" else f"{name}, {loop}"
                axes.plot(*zip(*points, strict=True), line, color=COLOURS[name], marker="o", markersize=4, label=label)
    axes.set_xscale("log")
    axes.set_xticks(LEVELS, [f"{level:,}" for level in LEVELS])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("calls in flight, over 100 connections")
    axes.set_ylabel("CPU of a call, µs")
    axes.set_title(GROWTH)
    axes.legend(frameon=False, ncols=2, labelcolor=INK)


def options(result: Result, axes: Any) -> None:
    """Draw the CPU of a call with each option on top of the call without it."""
    base = result.spread("cost", "cpu_us", **LIMITER_OFF.as_row())
    bars = [("nothing", 0.0 if base is None else base.median, 0.0)]
    for option, (case, base_case) in option_cases().items():
        ours, theirs = (result.spread("cost", "cpu_us", **each.as_row()) for each in (case, base_case))
        if ours is not None and theirs is not None:
            bars.append((option, theirs.median, ours.median - theirs.median))
    bars.reverse()
    names = [name for name, _, _ in bars]
    axes.barh(names, [without for _, without, _ in bars], color=INK, alpha=0.6)
    axes.barh(names, [max(0.0, added) for *_, added in bars], left=[without for _, without, _ in bars], color=OURS)
    for place, (_, without, added) in enumerate(bars):
        label = f" {added:+.1f} µs" if place < len(bars) - 1 else f" {without:.1f} µs"
        axes.text(without + max(0.0, added), place, label, va="center")
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("CPU of a call at 100 in flight, µs")
    axes.set_title(OPTIONS_CHART)


CHARTS: Final = {"growth": growth, "options": options}


def draw(result: Result, folder: Path) -> list[Path]:
    """Draw every chart into a folder."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    written = []
    with mpl.rc_context(STYLE):
        for name, paint in CHARTS.items():
            chart, axes = pyplot.subplots(figsize=(8, 4.2), layout="constrained")
            paint(result, axes)
            path = folder / f"{name}.svg"
            chart.savefig(path, metadata={"Date": None, "Description": f"drawn from {digest(result)}"})
            pyplot.close(chart)
            written.append(path)
    return written
