"""From a raw result to the pages: every number in them is made here, from the committed result, and nowhere else."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from . import findings, tables
from .charts import CHARTS, draw
from .claims import claims
from .results import Result

ROOT: Final = Path(__file__).parent.parent
COMMITTED: Final = Path("docs/benchmarks")
"""Where the result, and the charts, that the pages show are kept."""

NONE_YET: Final = (
    "No full run has been committed yet. `make bench-full` makes one, and `python -m benchmarks report` writes it here."
)


ASKED: Final = "What is asked of refold_async's own wire, with the limiter off and otherwise as it comes:"


def summary(result: Result | None) -> str:
    """Write what the README shows: two charts with their tables, and what they say."""
    if result is None:
        return NONE_YET
    parts = [
        _chart(result, "cost", "docs/benchmarks"),
        tables.at_a_glance(result),
        _sentences(findings.ratios(result)),
        "Where others are ahead:",
        _sentences(findings.ahead(result)),
        _chart(result, "delivery", "docs/benchmarks"),
        tables.delivery(result),
        _sentences(findings.delivery(result)),
        "How this was measured, on what, and the rest: [benchmarks](docs/benchmarks.md).",
    ]
    return _joined(parts)


def details(result: Result | None) -> str:
    """Write what `docs/benchmarks.md` shows: every table and chart, and what they say."""
    if result is None:
        return NONE_YET
    parts = [_provenance(result), _sentences(findings.failed(result))]
    for title, measurement, content in (
        ("Cost and speed", "cost", _cost),
        ("Delivery under faults", "delivery", _delivery),
        ("Pacing", "pacing", _pacing),
        ("Batches", "batches", _batches),
        ("The rest", "mock", lambda result: [_sentences(findings.mock(result))]),
    ):
        if result.of(measurement):
            parts += [f"## {title}", *content(result)]
    if any(claims(result)):
        parts += ["## The wire", ASKED, tables.wire(result)]
    return _joined(parts)


def _cost(result: Result) -> list[str]:
    return [
        _chart(result, "cost"),
        _sentences(findings.ratios(result)),
        "Where others are ahead:",
        _sentences(findings.ahead(result)),
        _sentences(findings.floor(result)),
        _chart(result, "growth"),
        "CPU of a request, in µs: median ± half the range; in brackets the ratio to aiohttp on the same event loop.",
        tables.cpu(result),
        "Requests a second:",
        tables.rate(result),
        "Latency of a call, in milliseconds:",
        tables.latency(result),
        "Memory and import:",
        tables.weight(result),
        "The most that the server used of its core:",
        tables.server(result),
    ]


def _delivery(result: Result) -> list[str]:
    return [_chart(result, "delivery"), tables.delivery(result), _sentences(findings.delivery(result))]


def _pacing(result: Result) -> list[str]:
    return [_chart(result, "pacing"), tables.pacing(result), _sentences(findings.pacing(result))]


def _batches(result: Result) -> list[str]:
    return [_chart(result, "batches"), tables.batches(result), _sentences(findings.batches(result))]


def _provenance(result: Result) -> str:
    facts, machine = result.facts, result.facts["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    pinned = (
        f"client pinned to core {machine['client_core']}, server to core {machine['server_core']}"
        if machine["client_core"] is not None
        else "client and server not pinned"
    )
    return (
        f"Made by `{facts['command']}` on {facts['started'][:10]}, in {facts['seconds']} s, on {machine['cores']} "
        f"cores of {machine['processor']} with {machine['memory_gb']} GB, {machine['system']}, {machine['python']}; "
        f"{pinned}; load before {machine['load_before']:.2f}. Versions: {versions}. "
        f"The raw result is in [benchmarks/result.json](benchmarks/result.json)."
    )


def _sentences(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _chart(result: Result, name: str, folder: str = "benchmarks") -> str:
    if not result.of(CHARTS[name][0]):
        return ""
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{folder}/{name}-dark.svg">'
        f'<img alt="{ALT[name]}" src="{folder}/{name}-light.svg"></picture>'
    )


ALT: Final = {
    "cost": "CPU of one request at 100 concurrent, for each client",
    "growth": "CPU of one request at 1, 10, 100 and 500 concurrent, for each client",
    "delivery": "Of 1,000 events on a bad network: lost, doubled, misreported, uncertain, for each client",
    "pacing": "Time to drain a backlog, answers of 429 and events given up, for each client",
    "batches": "Items a second and peak memory of trigger_many, trigger_stream and asyncio.gather",
}


def _joined(parts: Iterable[str]) -> str:
    return "\n\n".join(part for part in parts if part)


PAGES: Final = {Path("README.md"): summary, Path("docs/benchmarks.md"): details}
BLOCK: Final = re.compile(
    r"(<!-- benchmarks: written by `python -m benchmarks report` -->\n).*?(\n<!-- end of benchmarks -->)", re.DOTALL
)


def page_with(text: str, block: str) -> str:
    """Put a block between the marks of a page.

    :raises ValueError: for a page without the marks, or with several.
    """
    changed, count = BLOCK.subn(lambda found: f"{found[1]}\n{block}\n{found[2]}", text)
    if count != 1:
        raise ValueError(f"the page has {count} blocks for benchmarks, not 1")
    return changed


def committed(root: Path = ROOT) -> Result | None:
    """Give the result that the pages are made from; None where none was committed."""
    path = root / COMMITTED / "result.json"
    return Result.load(path) if path.exists() else None


def write(source: Path, root: Path = ROOT) -> list[Path]:
    """Commit to a result: copy it, draw its charts, and write the pages anew; give the files."""
    result = Result.load(source)
    folder = root / COMMITTED
    folder.mkdir(parents=True, exist_ok=True)
    if source.resolve() != (folder / "result.json").resolve():
        shutil.copyfile(source, folder / "result.json")
    written = [folder / "result.json", *draw(result, folder)]
    for page, content in PAGES.items():
        path = root / page
        path.write_text(page_with(path.read_text(), content(result)))
        written.append(path)
    return written
