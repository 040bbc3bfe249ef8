"""The charts of the fleet: mid-grey on nothing, so that they can be read on light and dark pages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .real import Found
from .simulation import Measured

GREY = "#808080"

STYLE: Any = {
    "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none", "text.color": GREY,
    "axes.labelcolor": GREY, "axes.edgecolor": GREY, "xtick.color": GREY, "ytick.color": GREY, "font.size": 9,
    "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False, "svg.fonttype": "none",
    "svg.hashsalt": "refold",
}  # fmt: skip


def draw_real(found: dict[str, Found], path: Path, source: str) -> None:
    """Draw how much of the rate each limiter used, and how many 429s it met.

    :param source: what tells the result that it is drawn from.
    """
    import matplotlib.pyplot as plt

    with plt.rc_context(STYLE):
        figure, (shares, refused) = plt.subplots(1, 2, figsize=(9, 0.3 * len(found) + 1), sharey=True)
        names = list(found)[::-1]
        measured = [found[name].measured for name in names]
        colours = ["#3b82f6" if name.startswith(("redis", "postgres", "sqlite")) else GREY for name in names]
        shares.barh(names, [each.share for each in measured], color=colours)
        shares.set_xlabel("share of the rate")
        shares.set_xlim(0, 1.05)
        bars = refused.barh(names, [each.throttled for each in measured], color=colours)
        refused.bar_label(bars, padding=3, color=GREY)
        refused.set_xlabel("429s")
        _save(figure, path, source)


def draw_simulated(grid: dict[float, dict[int, Measured]], path: Path, source: str) -> None:
    """Draw what becomes of a fleet as it grows, for each distance to the server.

    :param grid: by milliseconds of a round trip, and then by number of processes.
    :param source: what tells the result that it is drawn from.
    """
    import matplotlib.pyplot as plt

    views: dict[str, Callable[[Measured], float]] = {
        "share of the rate": lambda each: each.share,
        "429s a minute": lambda each: each.throttled,
        "fairness (Jain)": lambda each: each.fairness,
        "longest wait / fair wait": lambda each: each.longest_wait / each.fair_wait,
        "calls a second": lambda each: each.calls_per_second,
    }
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, len(views), figsize=(13, 3))
        for axis, (title, value) in zip(axes, views.items(), strict=True):
            for number, (milliseconds, by_size) in enumerate(grid.items()):
                shade = plt.get_cmap("viridis")(number / max(1, len(grid) - 1))
                sizes = list(by_size)
                axis.plot(
                    sizes,
                    [value(by_size[size]) for size in sizes],
                    "o-",
                    ms=3,
                    color=shade,
                    label=f"{milliseconds:g} ms",
                )
            axis.set_xscale("log")
            axis.set_ylim(bottom=0)
            axis.set_title(title, fontsize=9)
            axis.set_xlabel("processes")
        axes[0].legend(title="round trip", fontsize=8)
        _save(figure, path, source)


def _save(figure: Any, path: Path, source: str) -> None:
    import matplotlib.pyplot as plt

    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None, "Description": f"drawn from {source}"})
    plt.close(figure)
