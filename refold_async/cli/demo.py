"""The demonstration: a batch through the real client, over real sockets, against a server that misbehaves."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import anyio
from attrs import define, field
from rich.console import Console
from rich.table import Table

from .. import Delivery, Idempotency, RateLimit, RefoldClient, Trigger
from ..hooks import HookEvent, RateLimitPaused, RetryScheduled
from ..testing import Dedupe, Fault, MockRefold, SeededFaults
from .console.progress import Progress, Status

_FAULTS = {
    Fault.reset_after_firing(): 0.03,
    Fault.close_before_firing(): 0.03,
    Fault.truncate_body(): 0.02,
    Fault.html_502(): 0.03,
    Fault.throttle("0.3"): 0.01,
    Fault.answer(503, headers={"Retry-After": "0.2"}): 0.02,
    Fault.not_json(): 0.01,
    Fault.close_idle(): 0.03,
}
_AT_ONCE = 20


@define
class Summary:
    """What the client said, and what the ledger knows."""

    events: int = 0
    verdicts: Counter[Delivery] = field(factory=Counter)
    fired: Counter[Delivery] = field(factory=Counter)
    fired_twice: int = 0
    retries: int = 0
    pauses: int = 0
    requests: int = 0
    dropped_repeats: int = 0
    faults: Counter[str] = field(factory=Counter)
    seconds: float = 0.0

    @property
    def reached(self) -> bool:
        """Whether the mock saw any of it: without that, the ledger proves nothing."""
        return self.requests > 0

    @property
    def truthful(self) -> bool:
        """Whether there is a verdict for each event, and the ledger contradicts none of them."""
        return (
            self.reached
            and sum(self.verdicts.values()) == self.events
            and self.fired[Delivery.REJECTED] == self.fired[Delivery.NOT_SENT] == self.fired_twice == 0
            and self.fired[Delivery.ACCEPTED] == self.verdicts[Delivery.ACCEPTED]
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the summary for machines."""
        return {
            "verdicts": {verdict.value: self.verdicts[verdict] for verdict in Delivery},
            "fired": {verdict.value: self.fired[verdict] for verdict in Delivery},
            "fired_twice": self.fired_twice,
            "retries": self.retries,
            "pauses": self.pauses,
            "requests": self.requests,
            "dropped_repeats": self.dropped_repeats,
            "faults": dict(self.faults),
            "seconds": round(self.seconds, 2),
            "truthful": self.truthful,
        }


async def run_demo(events: int, seed: int, rate: float, console: Console) -> Summary:
    """Fire the events, show the progress, and hold the verdicts against the ledger."""
    limit = RateLimit(rate)
    summary = Summary(events=events)
    console.print(
        f"Firing [bold]{events}[/] events at a mock Refold on 127.0.0.1, {rate:g} a second, with faults switched on.\n"
        "The workflows there drop repeats of a key, and the client knows it: so it may retry what may have fired."
    )

    def watch(event: HookEvent) -> None:
        summary.retries += isinstance(event, RetryScheduled)
        summary.pauses += isinstance(event, RateLimitPaused)

    started = time.monotonic()
    dedupe = Dedupe(header="Idempotency-Key")
    async with MockRefold(rate_limit=limit, dedupe=dedupe, faults=SeededFaults(seed, _FAULTS)) as server:
        idempotency = Idempotency(header="Idempotency-Key")
        async with server.client(rate_limit=limit, idempotency=idempotency, hooks=[watch]) as client:
            verdicts = await _fire_all(client, events, summary, console)
        summary.seconds = time.monotonic() - started
        counts = server.ledger.count_fired_by("deal_id")
        summary.requests = server.ledger.requests
        summary.dropped_repeats = sum(entry.duplicate for entry in server.ledger.entries)
        summary.faults = server.ledger.faults()
    for deal, verdict in verdicts.items():
        summary.fired[verdict] += counts[deal] > 0
        summary.fired_twice += counts[deal] > 1
    _show(summary, console)
    return summary


async def _fire_all(client: RefoldClient, events: int, summary: Summary, console: Console) -> dict[int, Delivery]:
    verdicts: dict[int, Delivery] = {}

    def snapshot() -> Status:
        return Status(
            counts={verdict.value: summary.verdicts[verdict] for verdict in Delivery},
            retries=summary.retries,
            position=len(verdicts),
            total=events,
            of_rows=True,
        )

    def deal(number: int) -> Trigger:
        return Trigger("pipedrive", "Deal Created", {"deal_id": number, "deal_name": f"Deal {number}"}, context=number)

    progress = Progress(console, snapshot)
    async with anyio.create_task_group() as group:
        with progress.shown():
            group.start_soon(progress.run)
            deals = (deal(number) for number in range(events))
            async with client.trigger_stream(deals, max_concurrency=_AT_ONCE) as outcomes:
                async for outcome in outcomes:
                    verdicts[outcome.trigger.context] = outcome.delivery
                    summary.verdicts[outcome.delivery] += 1
        group.cancel_scope.cancel()
    return verdicts


_MEANINGS = {
    Delivery.ACCEPTED: "Refold took it",
    Delivery.REJECTED: "Refold said no: it did not fire",
    Delivery.NOT_SENT: "it cannot have fired",
    Delivery.AMBIGUOUS: "it may have fired: a person should look",
}


def _show(summary: Summary, console: Console) -> None:
    table = Table(title="What the client said, and what the ledger knows", title_justify="left")
    for heading in ("verdict", "meaning"):
        table.add_column(heading)
    for heading in ("events", "really fired"):
        table.add_column(heading, justify="right")
    for verdict in Delivery:
        table.add_row(verdict.name, _MEANINGS[verdict], str(summary.verdicts[verdict]), str(summary.fired[verdict]))
    console.print(table)
    played = ", ".join(f"{count} {name}" for name, count in summary.faults.most_common())
    console.print(
        f"{summary.requests} requests in {summary.seconds:.1f} s, {summary.retries} of them retries; "
        f"{summary.dropped_repeats} repeats were dropped by their key; fired twice: {summary.fired_twice}."
    )
    console.print(f"Faults played: {played or 'none'}.")
    if not summary.reached:
        console.print("[bold red]Nothing reached the mock, so nothing was shown: something here keeps it away.[/]")
    elif summary.truthful:
        console.print("[bold green]Every verdict is true.[/]")
    else:
        console.print("[bold red]The ledger contradicts a verdict: this is a bug, please report it with the seed.[/]")
