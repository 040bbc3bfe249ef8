"""`refold-async mock-server`, and the options of a mock that `bench` has, too."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .. import RateLimit
from ..testing import Dedupe, Latency, MockProcesses, MockRefold, RunPlan, SeededFaults, Totals
from .console.exits import stop
from .console.options import Verbose
from .console.words import counted

LatencyOption = Annotated[
    str,
    typer.Option(
        metavar="MS | MEDIAN:P99",
        help="Milliseconds before each answer: always the same, or lognormal with this median and 99th percentile.",
    ),
]
FaultsOption = Annotated[
    float, typer.Option(min=0, max=1, help="The share of requests that go wrong in some way, such as 0.05.")
]
SeedOption = Annotated[int, typer.Option(help="Of the faults and of the latencies.")]
WorkersOption = Annotated[
    int, typer.Option(min=1, help="Processes that serve. They share no limit and no keys of repeats.")
]


def latency_from(text: str, seed: int) -> float | Latency:
    """Return the latency in seconds for `50` or `50:400`, which are milliseconds; others are a usage error."""
    try:
        median, *rest = (float(part) / 1000 for part in text.split(":"))
        if not rest and 0 <= median < float("inf"):
            return median
        [p99] = rest
        return Latency(median, p99, seed)
    except ValueError:
        stop(f"--latency takes milliseconds (50), or a median and a larger 99th percentile (50:400), not {text!r}")


def worker_options(workers: int, latency: str, faults: float, seed: int, **common: Any) -> list[dict[str, Any]]:
    """Return the options of each process: the same for all, but with random numbers of its own."""
    return [
        {
            **common,
            "latency": latency_from(latency, seed + number),
            "faults": SeededFaults.mixed(seed + number, faults) if faults else (),
        }
        for number in range(workers)
    ]


def mock_server(
    host: Annotated[str, typer.Option(help="The address to bind.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any free one.")] = 8321,
    rate: Annotated[
        float | None,
        typer.Option(
            min=0, help="The limit that is enforced, a second; 0 for none. [default: 20, or 0 with --workers]"
        ),
    ] = None,
    burst: Annotated[int, typer.Option(min=1, help="The burst that is allowed.")] = 5,
    latency: LatencyOption = "0",
    faults: FaultsOption = 0.0,
    seed: SeedOption = 0,
    workers: WorkersOption = 1,
    tls: Annotated[bool, typer.Option("--tls", help="Serve https with a certificate made for the occasion.")] = False,
    ca_file: Annotated[
        Path | None, typer.Option(help="With --tls: where to write the authority that clients must trust.")
    ] = None,
    dedupe_header: Annotated[str | None, typer.Option(help="Drop repeats of the key in this header.")] = None,
    repeat_status: Annotated[int, typer.Option(help="What a repeat is answered with: 200 or 409.")] = 200,
    show_tags: Annotated[
        bool, typer.Option("--show-tags", help="Show the tag of an event in its executions, for trigger --wait.")
    ] = False,
    keep: Annotated[int, typer.Option(min=1, help="How many requests the ledger keeps.")] = 10_000,
    seconds: Annotated[float | None, typer.Option(min=0, help="Stop by itself after so long.")] = None,
    verbose: Verbose = False,
) -> None:
    """Serve a mock of Refold until Ctrl-C."""
    if repeat_status not in (200, 409):
        stop(f"--repeat-status takes 200 or 409, not {repeat_status}")
    if workers > 1 and (rate or dedupe_header or tls):
        stop("several --workers share nothing, so --rate, --dedupe-header and --tls need a single one")
    if ca_file is not None and not tls:
        stop("--ca-file needs --tls")
    rate = (20.0 if workers == 1 else 0.0) if rate is None else rate
    options = worker_options(
        workers,
        latency,
        faults,
        seed,
        rate_limit=RateLimit(rate, burst) if rate else None,
        keep=keep,
        runs=RunPlan(shows_tag=show_tags),
    )
    stopped = threading.Event()
    for asked in (signal.SIGINT, signal.SIGTERM):  # SIGINT too: a shell starts background jobs with it ignored
        signal.signal(asked, lambda *_: stopped.set())

    def serve(url: str, api_key: str, totals: Callable[[], Totals]) -> Totals:
        typer.echo(f"mock Refold at {url}  (API key {api_key}); Ctrl-C stops it")
        stopped.wait(seconds)
        return totals()

    try:
        if workers == 1:
            status: Literal[200, 409] = 409 if repeat_status == 409 else 200
            dedupe = None if dedupe_header is None else Dedupe(header=dedupe_header, repeat_status=status)
            server = MockRefold(host=host, port=port, tls=tls, dedupe=dedupe, **options[0])
            if ca_file is not None:
                _write(ca_file, server.ca_pem)
            with server:
                served = serve(server.url, server.api_key, lambda: server.ledger.totals)
        else:
            with MockProcesses(options, host=host, port=port) as processes:
                served = serve(processes.url, processes.api_key, lambda: processes.usage().totals)
    except OSError as error:
        stop(f"cannot listen on {host}:{port}: {error.strerror}. Is another server there? Try --port 0")
    except (RuntimeError, ValueError) as error:
        stop(str(error))
    typer.echo(_summed_up(served))


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        stop(f"cannot write {path}: {error.strerror}")


def _summed_up(totals: Totals) -> str:
    counts = dict(sorted(totals.statuses.items()))
    silent = totals.requests - sum(counts.values())
    parts = [f"{status}: {count}" for status, count in counts.items()] + ([f"no answer: {silent}"] if silent else [])
    return (
        f"{counted(totals.requests, 'request')} ({', '.join(parts) or 'none'}), {counted(totals.fired, 'event')} fired"
    )
