"""An outage of an hour in mid-file, on a clock that jumps: what may be lost, and what must not be."""

from __future__ import annotations

import io
import json
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from attrs import define, field
from rich.console import Console

from refold_async import CircuitBreaker, Delivery, RefoldClient, RetryPolicy, Trigger
from refold_async.cli.batch.journal import Journal
from refold_async.cli.batch.order import KeyOrder
from refold_async.cli.batch.outage import Outage
from refold_async.cli.batch.run import Run
from refold_async.cli.batch.table import RowState, Table
from refold_async.cli.batch.trials import Trials
from refold_async.cli.console.progress import Progress
from refold_async.cli.reading.records import Origin
from refold_async.hooks import AttemptFinished
from tests.fakes.clock import run

HOUR = 3600.0
BEGINS = 30.0
"""Seconds from the first row to the outage: in mid-file at ten rows a second."""

CONCURRENCY = 20
REFUSED, PAGES, SILENCE = "refused connections", "502 pages", "silence"


@define
class Service(httpx.AsyncBaseTransport):
    """Refold with an outage from `begins` to `ends`, and a ledger of what fired.

    :ivar in_flight_at_outage: rows whose request had arrived, and was not answered, when the outage began.
    :ivar only_triggers: reads are answered all the time.
    """

    outage: str
    only_triggers: bool = False
    latency: float = 0.5
    fired: list[int] = field(factory=list)
    triggers_in_outage: int = 0
    reads: list[float] = field(factory=list)
    started: float | None = None

    @property
    def now(self) -> float:
        now = anyio.current_time()
        self.started = now if self.started is None else self.started
        return now - self.started

    @property
    def is_down(self) -> bool:
        return BEGINS <= self.now < BEGINS + HOUR

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        is_read = request.method == "GET"
        if is_read:
            self.reads.append(self.now)
            assert request.url.path == "/api/v2/public/execution"
        if self.is_down and not (is_read and self.only_triggers):
            self.triggers_in_outage += not is_read
            await self.fail(request)
            return httpx.Response(502, text="<html>Bad gateway</html>")
        await anyio.sleep(self.latency)
        if not is_read:
            assert isinstance(request.stream, httpx.ByteStream)
            self.fired.append(json.loads(b"".join(request.stream))["payload"]["n"])
        return httpx.Response(200, stream=httpx.ByteStream(b'{"message":"Webhook Fired Success"}'))

    async def fail(self, request: httpx.Request) -> None:
        if self.outage == REFUSED:
            raise httpx.ConnectError("[Errno 111] Connection refused", request=request)
        if self.outage == SILENCE:
            await anyio.sleep(request.extensions["timeout"]["read"] or 10)
            raise httpx.ReadTimeout("nothing came", request=request)


@define
class Rows:
    """A source of rows, in place of one that reads a file, and the feed that hands them over."""

    triggers: list[Trigger]
    offset: int = 0
    size: int = 0

    @property
    def input(self) -> Any:
        return self

    def rows(self) -> Iterator[Trigger]:
        return iter(self.triggers)

    @staticmethod
    def feed(rows: Callable[[], Iterator[Trigger]]) -> Any:
        class Feed:
            async def items(self) -> AsyncGenerator[Trigger, None]:
                for row in rows():
                    yield row

        return Feed()


def row(n: int, key: str | None = None) -> Trigger:
    return Trigger("slack", "E", {"n": n}, ordering_key=key, context=Origin(n, n, b"12345678"))


@define
class Played:
    run: Run
    service: Service
    printed: str

    def states(self) -> dict[int, RowState]:
        return {line: self.run.table.state(line) for line in range(1, self.run.table.last + 1)}


def play(
    service: Service, triggers: list[Trigger], journal: Journal | None = None, deadline: float = 30.0, **options: Any
) -> Played:
    """Send the rows through the outage, with everything of the command but the reading of files."""
    printed = io.StringIO()
    table = Table() if journal is None else journal.table
    settings: dict[str, Any] = {
        "limiter": None, "order": KeyOrder(), "trials": Trials(), "max_concurrency": CONCURRENCY, "skip_invalid": False,
    }  # fmt: skip
    batch = Run(source=Rows(triggers), table=table, journal=journal, make_feed=Rows.feed, **(settings | options))  # type: ignore[arg-type]

    async def main() -> None:
        client = RefoldClient(
            api_key="tk_1",
            linked_account_id="a",
            rate_limit=None,
            retry=RetryPolicy(),
            deadline=deadline,
            transport=service,
        )
        async with client:
            console = Console(file=printed, width=200)
            await batch.send(client, Progress(console, batch.snapshot, clock=anyio.current_time))

    run("asyncio", main)
    return Played(batch, service, printed.getvalue())


@pytest.mark.parametrize("outage", [REFUSED, PAGES, SILENCE])
@pytest.mark.parametrize("only_triggers", [False, True], ids=["all of it", "triggers only"])
def test_after_an_hour_without_refold_every_row_was_sent_but_what_was_in_flight(
    outage: str, only_triggers: bool
) -> None:
    rows = 3000
    played = play(Service(outage, only_triggers=only_triggers), [row(n) for n in range(1, rows + 1)])
    states = played.states()
    ambiguous = [line for line, state in states.items() if state is RowState.AMBIGUOUS]
    assert sorted(played.service.fired) == sorted(set(range(1, rows + 1)) - set(ambiguous))
    assert set(states.values()) <= {RowState.ACCEPTED, RowState.AMBIGUOUS}
    if outage == REFUSED:
        assert ambiguous == []
    first_ones = 20 if only_triggers else 0  # rows that went first, because reads said that all is well
    assert len(ambiguous) <= CONCURRENCY + first_ones
    assert played.service.triggers_in_outage <= 3 * (CONCURRENCY + first_ones), "nothing but probes went on"
    pauses = played.printed.count("pausing")
    assert pauses == 1, played.printed
    assert "app.refold.ai answers again after" in played.printed
    assert len(played.printed.splitlines()) < 60 + len(ambiguous)


def test_a_deadline_that_passes_before_the_read_timeout_counts_as_no_answer() -> None:
    played = play(Service(SILENCE), [row(n) for n in range(1, 3001)], deadline=4.0)
    ambiguous = [line for line, state in played.states().items() if state is RowState.AMBIGUOUS]
    assert 0 < len(ambiguous) <= CONCURRENCY + 4  # those that took the places of the first four, before the fifth
    assert sorted(played.service.fired) == sorted(set(range(1, 3001)) - set(ambiguous))
    assert played.printed.count("pausing") == 1


@pytest.mark.parametrize("delivery", [Delivery.NOT_SENT, Delivery.AMBIGUOUS])
def test_attempts_that_were_cut_short_from_here_are_no_outage(delivery: Delivery) -> None:
    """As when a wrong key stops the run, and all that wait for the rate limit end at once."""
    said: list[str] = []

    async def read() -> int:
        raise AssertionError("nothing is to be probed")

    async def main() -> None:
        outage = Outage(CircuitBreaker(), "host", read, said.append, lambda: None, lambda error: None)
        for _ in range(20):
            outage.watch(AttemptFinished(None, 1, delivery, None, None, 0.5))
        assert (said, outage.breaker.is_closed) == ([], True)
        for _ in range(5):
            outage.watch(AttemptFinished(None, 1, Delivery.AMBIGUOUS, None, "ReadTimeout", 0.5))
        assert len(said) == 1
        assert not outage.breaker.is_closed

    run("asyncio", main)


def test_reads_probe_one_at_a_time_every_five_seconds() -> None:
    played = play(Service(PAGES), [row(n) for n in range(1, 3001)])
    gaps = [later - earlier for earlier, later in zip(played.service.reads, played.service.reads[1:], strict=False)]
    assert HOUR / 5 - 5 <= len(played.service.reads) <= HOUR / 5 + 2
    assert min(gaps) >= 5


@pytest.mark.parametrize("outage", [REFUSED, PAGES, SILENCE])
def test_order_per_key_is_kept_through_an_outage(outage: str) -> None:
    keys = 40
    rows = [row(n, key=f"k{n % keys}") for n in range(1, 3001)]
    played = play(Service(outage), rows)
    by_key = defaultdict(list)
    for n in played.service.fired:
        by_key[n % keys].append(n)
    assert all(fired == sorted(fired) for fired in by_key.values())
    for key in range(keys):
        missing = set(range(key or keys, 3001, keys)) - set(by_key[key])
        if missing:  # an ambiguous row stops its key, and the rest of it was not sent
            assert played.run.table.state(min(missing)) is RowState.AMBIGUOUS
            assert missing == set(range(min(missing), 3001, keys))
    if outage == REFUSED:
        assert len(played.service.fired) == 3000


def test_with_keys_that_go_on_every_row_is_sent_in_order_but_what_was_in_flight() -> None:
    rows = [row(n, key=f"k{n % 40}") for n in range(1, 3001)]
    played = play(Service(PAGES), rows, order=KeyOrder(stops=False))
    ambiguous = [line for line, state in played.states().items() if state is RowState.AMBIGUOUS]
    assert 0 < len(ambiguous) <= CONCURRENCY
    assert len(played.service.fired) == 3000 - len(ambiguous)
    by_key = defaultdict(list)
    for n in played.service.fired:
        by_key[n % 40].append(n)
    assert all(fired == sorted(fired) for fired in by_key.values())


def test_the_journal_says_the_same_as_the_ledger_after_an_outage(tmp_path: Path) -> None:
    journal = Journal.open(
        tmp_path / "run.jsonl", settings="s", base_url="http://x", place="header k", source="it", resume=False
    )
    played = play(Service(PAGES), [row(n, key=f"k{n % 40}") for n in range(1, 2001)], journal)
    journal.close()
    again = Journal.open(
        tmp_path / "run.jsonl", settings="s", base_url="http://x", place="header k", source="it", resume=True
    )
    again.close()
    accepted = set(again.table.lines(RowState.ACCEPTED))
    assert accepted == set(played.service.fired)
    assert set(again.table.lines(RowState.AMBIGUOUS)) == set(played.run.table.lines(RowState.AMBIGUOUS))
    assert again.table.count(RowState.SENDING, RowState.RESENDING) == 0


def test_an_outage_longer_than_max_outage_stops_the_run() -> None:
    played = play(Service(REFUSED), [row(n) for n in range(1, 3001)], max_outage=600.0)
    assert played.run.report.stopped == "unreachable"
    assert 500 < len(played.service.fired) < 2000
    assert set(played.states().values()) == {RowState.ACCEPTED, RowState.UNSENT}
