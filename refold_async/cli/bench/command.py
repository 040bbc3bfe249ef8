"""`refold-async bench`: a load of one's own against the mock, or against a Refold that is meant for it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Annotated, Any

import anyio
import typer
from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table

from ... import Delivery, RateLimit, RefoldClient, RefoldError
from ...testing import MockProcesses, Usage
from ..console.exits import EXIT_ACCEPTED, EXIT_FAILED, stop
from ..console.options import CACert, Verbose, trusted
from ..console.output import print_json
from ..console.signals import drained_by_signals
from ..mock import FaultsOption, LatencyOption, SeedOption, WorkersOption, worker_options
from .load import Load, Measured, fire, memory_peak

_REFRESH = 4
_REFOLDS_OWN_RATE = 20.0


def bench(
    events: Annotated[int | None, typer.Option(min=1, help="How many events to fire. [default: 10000]")] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="Fire for so long, in place of --events.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Callers that fire one event after the other.")] = 100,
    rate: Annotated[
        float | None,
        typer.Option(min=0, help="The client's rate limit, a second; 0 for none. [default: 0; 20 with --base-url]"),
    ] = None,
    burst: Annotated[int, typer.Option(min=1, help="The client's burst.")] = 5,
    payload_bytes: Annotated[int, typer.Option(min=0, max=2_900_000, help="Text in each payload.")] = 100,
    base_url: Annotated[
        str | None,
        typer.Option(
            help="Fire real events at this Refold, not at a mock, with REFOLD_API_KEY or REFOLD_SESSION_TOKEN."
        ),
    ] = None,
    slug: Annotated[str | None, typer.Option(help="With --base-url: the application.")] = None,
    event: Annotated[str | None, typer.Option(help="With --base-url: the event's name.")] = None,
    linked_account_id: Annotated[str | None, typer.Option(help="With --base-url: the customer.")] = None,
    cacert: CACert = None,
    latency: LatencyOption = "0",
    faults: FaultsOption = 0.0,
    seed: SeedOption = 0,
    workers: WorkersOption = 1,
    uvloop: Annotated[bool, typer.Option("--uvloop", help="Run the client on uvloop.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    verbose: Verbose = False,
) -> None:
    """Fire a load, and show events a second, latencies, the client's CPU and memory, verdicts and waits.

    The mock runs in processes of its own. Exit codes: 0 measured, 1 nothing was accepted, 2 wrong usage.
    """
    if base_url is not None:
        if slug is None or event is None:
            stop("--base-url fires real events: name them with --slug and --event")
        if latency != "0" or faults or workers != 1:
            stop("--latency, --faults and --workers are the mock's: leave them out with --base-url")
    rate = (0.0 if base_url is None else _REFOLDS_OWN_RATE) if rate is None else rate
    load = Load(
        events=10_000 if events is None and seconds is None else events,
        seconds=seconds,
        concurrency=concurrency,
        slug=slug or "pipedrive",
        event=event or "Deal Created",
        padding=payload_bytes,
    )
    client = {
        "rate_limit": RateLimit(rate, burst) if rate else None,
        "max_connections": concurrency,
        "linked_account_id": linked_account_id,
        "verify": trusted(cacert),
    }
    console, measured = Console(stderr=as_json), Measured()
    try:
        with _target(base_url, client, worker_options(workers, latency, faults, seed, rate_limit=None, keep=1000)) as (
            options,
            mock,
        ):
            before = None if mock is None else mock.usage()
            options |= {"hooks": [measured.watch]} if rate else {}  # a hook costs, so none without need
            with _shown(console, measured, load):
                anyio.run(_run, options, load, measured, console, backend_options={"use_uvloop": uvloop})
            after = None if mock is None else mock.usage()
    except (RefoldError, OSError, RuntimeError, ValueError, ImportError) as error:
        stop(f"cannot run the benchmark: {error}")
    result = _as_dict(measured, load, rate, before, after)
    if as_json:
        print_json(result)
    else:
        console.print(_table(measured, load), _served(result["mock"]), sep="\n")
    raise typer.Exit(EXIT_ACCEPTED if measured.verdicts[Delivery.ACCEPTED] else EXIT_FAILED)


@contextlib.contextmanager
def _target(
    base_url: str | None, client: dict[str, Any], options: list[dict[str, Any]]
) -> Iterator[tuple[dict[str, Any], MockProcesses | None]]:
    """Yield the client's options, and the mock that they lead to unless there is a base URL."""
    if base_url is not None:
        yield {**client, "base_url": base_url}, None
        return
    with MockProcesses(options) as mock:
        own = {"base_url": mock.url, "api_key": mock.api_key, "linked_account_id": "acct_bench"}
        yield {**client, **own}, mock


async def _run(options: dict[str, Any], load: Load, measured: Measured, console: Console) -> None:
    async with RefoldClient(**options) as client:
        with drained_by_signals(measured.stop, lambda: "stopped before the last calls ended"):
            console.print(f"firing at {options['base_url']}; Ctrl-C ends it and shows what was measured")
            measured.restart()
            await fire(client, load, measured)


@contextlib.contextmanager
def _shown(console: Console, measured: Measured, load: Load) -> Iterator[None]:
    """Show the figures as they grow, on a terminal. A thread of rich's draws them, which the CPU time leaves out."""
    if not console.is_terminal:
        yield
        return
    with Live(
        get_renderable=lambda: _table(measured, load), console=console, refresh_per_second=_REFRESH, transient=True
    ):
        yield


def _table(measured: Measured, load: Load) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column()
    of = "" if load.events is None else f" of {load.events:,}"
    table.add_row(
        "events", f"{measured.done:,}{of} in {measured.seconds:.1f} s: [bold]{measured.rate:,.0f} a second[/]"
    )
    shown = {name: value for name, value in measured.latencies.as_dict().items() if name != "mean"}
    table.add_row(
        "latency", "  ".join(f"{name.replace('_', '.')} {value:,.1f}" for name, value in shown.items()) + " ms"
    )
    each = measured.cpu / measured.done * 1e6 if measured.done else 0.0
    busy = measured.cpu / measured.seconds if measured.seconds else 0.0
    table.add_row("client's CPU", f"{each:,.0f} µs an event, {busy:.0%} of a core")
    peak = memory_peak()
    if peak is not None:
        table.add_row("client's memory", f"{peak:,.0f} MB at most")
    verdicts = "  ".join(f"{verdict.value} {measured.verdicts[verdict]:,}" for verdict in Delivery)
    table.add_row("verdicts", verdicts)
    if measured.errors:
        errors = measured.errors.copy()  # the client's thread goes on counting while this one draws
        table.add_row("errors", ", ".join(f"{name} {count:,}" for name, count in errors.most_common(5)))
    table.add_row("attempts", f"{measured.attempts:,}")
    table.add_row(
        "waits", f"{measured.waits:,} of {measured.waited:,.1f} s in all, {measured.pauses:,} pauses after a 429"
    )
    return table


def _served(mock: dict[str, Any] | None) -> str:
    if mock is None:
        return ""
    return (
        f"The mock served {mock['requests']:,} requests, of which {mock['fired']:,} fired, "
        f"for {mock['cpu_us_per_request']:.0f} µs of CPU each."
    )


def _as_dict(measured: Measured, load: Load, rate: float, before: Usage | None, after: Usage | None) -> dict[str, Any]:
    peak = memory_peak()
    mock = None
    if before is not None and after is not None:
        requests, cpu = after.totals.requests - before.totals.requests, after.cpu - before.cpu
        mock = {
            "requests": requests,
            "fired": after.totals.fired - before.totals.fired,
            "statuses": dict(after.totals.statuses),
            "cpu_seconds": round(cpu, 3),
            "cpu_us_per_request": round(cpu / requests * 1e6, 1) if requests else 0.0,
        }
    return {
        "events": measured.done,
        "seconds": round(measured.seconds, 3),
        "events_per_second": round(measured.rate, 1),
        "latency_ms": measured.latencies.as_dict(),
        "client": {
            "cpu_seconds": round(measured.cpu, 3),
            "cpu_us_per_event": round(measured.cpu / measured.done * 1e6, 1) if measured.done else 0.0,
            "memory_mb": None if peak is None else round(peak, 1),
            "cores": os.cpu_count(),
        },
        "verdicts": {verdict.value: measured.verdicts[verdict] for verdict in Delivery},
        "errors": dict(measured.errors),
        "attempts": measured.attempts,
        "waits": {"count": measured.waits, "seconds": round(measured.waited, 3), "pauses": measured.pauses},
        "load": {"concurrency": load.concurrency, "rate": rate, "payload_bytes": load.padding},
        "mock": mock,
    }
