"""The journal against a world in which it is known what fired, whenever whoever wrote it was killed."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from refold_async import Delivery
from refold_async.cli.batch.recovery import KIND, VERSION, recover
from refold_async.cli.batch.table import RowState, Sent, Table
from tests.campaigns.kill_resume import kill_and_resume
from tests.cli.support import write_rows

HEADER = json.dumps({"journal": KIND, "version": VERSION, "settings": "s", "keys": "header k"})

# How an attempt ends: whether it fires, and what the client sees of it; None when it is killed before it sees anything.
ATTEMPTS = st.sampled_from(
    [
        (True, "accepted"), (False, "rejected"), (False, "not_sent"), (True, "ambiguous"), (False, "ambiguous"),
        (True, None), (False, None),
    ]
)  # fmt: skip


@define
class World:
    """One row, what is written of it, and what really became of it."""

    lines: list[str] = field(factory=lambda: [HEADER])
    fired: int = 0

    def write(self, what: str, **more: object) -> None:
        entry = {"what": what, "line": 1, "at": len(self.lines), "digest": "00" * 8, **more}
        self.lines.append(json.dumps(entry))

    def run(self, attempts: list[tuple[bool, str | None]]) -> bool:
        """Make a call of these attempts; give whether whoever makes it is still alive."""
        seen: list[str] = []
        for number, (fires, how) in enumerate(attempts, 1):
            self.write("sending", attempt=number)
            self.fired += fires
            if how is None:
                return False
            seen.append(how)
            if how == "accepted" or number == len(attempts):
                break
            self.write("retrying", attempt=number, delivery=how)
        verdict = seen[-1] if "ambiguous" not in seen or seen[-1] == "accepted" else "ambiguous"
        self.write("ended", delivery=verdict, status=404 if verdict == "rejected" else None)
        return True

    def recovered(self) -> Table:
        table = Table()
        recover(io.BytesIO("".join(f"{line}\n" for line in self.lines).encode()), "it", table, "s")
        return table


@given(st.lists(st.lists(ATTEMPTS, min_size=1, max_size=4), min_size=1, max_size=5))
def test_a_state_never_says_more_than_is_known(runs: list[list[tuple[bool, str | None]]]) -> None:
    world = World()
    for attempts in runs:
        world.run(attempts)
        state = world.recovered().state(1)
        assert state in (RowState.ACCEPTED, RowState.AMBIGUOUS, RowState.NOT_SENT, RowState.REJECTED), (
            "nothing is on the wire once its run has ended"
        )
        if state in (RowState.NOT_SENT, RowState.REJECTED):
            assert world.fired == 0
        if state == RowState.ACCEPTED:
            assert world.fired > 0
            break


@given(st.lists(ATTEMPTS, min_size=1, max_size=6))
def test_a_table_that_is_kept_up_to_date_is_the_one_that_would_be_read(
    attempts: list[tuple[bool, str | None]],
) -> None:
    world = World()
    live = Table()
    alive = world.run(attempts)
    for line in world.lines[1:]:
        entry = json.loads(line)
        if entry["what"] == "sending":
            live.sending(1, b"", Sent(None, "header k", entry["at"]))
        elif entry["what"] == "retrying":
            live.retrying(1, Delivery(entry["delivery"]))
        else:
            live.ended(1, Delivery(entry["delivery"]), entry["status"])
    assert (live.state(1) in (RowState.SENDING, RowState.RESENDING)) != alive
    live.killed()
    assert live.state(1) == world.recovered().state(1)
    assert live.count(live.state(1)) == 1


@pytest.mark.parametrize(
    ("reading", "delivery", "state"),
    [
        (True, Delivery.ACCEPTED, RowState.ACCEPTED),
        (False, Delivery.AMBIGUOUS, RowState.AMBIGUOUS),
        (False, Delivery.NOT_SENT, RowState.NOT_SENT),
    ],
)
def test_a_million_rows_take_a_few_bytes_each(reading: bool, delivery: Delivery, state: RowState) -> None:
    import tracemalloc

    table = Table(reading=reading)
    tracemalloc.start()
    for line in range(1, 100_001):
        table.sending(line, b"12345678", Sent(f"key {line}", "", 0.0))
        table.ended(line, delivery, 200)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 100_000 * 12
    assert (table.count(state), table.last) == (100_000, 100_000)


def test_a_key_stands_for_a_row_only_if_all_of_it_was_sent_with_that_key_in_that_place() -> None:
    table = Table(reading=True)
    first = Sent("k", "header x", 1.0)
    for line, again in enumerate(
        [Sent("k", "header x", 2.0), Sent("k", "header y", 2.0), Sent(None, "header x", 2.0)], 1
    ):
        table.sending(line, b"", first)
        table.sending(line, b"", again)
    assert table.sent[1] == first, "the window counts from the first time"
    assert [table.sent[line].key for line in (2, 3)] == [None, None]


@pytest.mark.parametrize("status", [401, 425, 429, 503])
def test_what_may_pass_is_told_from_what_is_wrong_with_the_row(status: int) -> None:
    table = Table()
    for line, answered in ((1, status), (2, 400)):
        table.sending(line, b"", Sent(None, "", 0.0))
        table.ended(line, Delivery.REJECTED, answered)
    assert (table.state(1), table.state(2), list(table.lines(RowState.DEFERRED))) == (
        RowState.DEFERRED,
        RowState.REJECTED,
        [1],
    )


@pytest.mark.parametrize("declared", [False, True], ids=["undeclared", "declared"])
def test_killed_and_resumed_each_row_fires_once_or_is_listed(tmp_path: Path, declared: bool) -> None:
    assert kill_and_resume(3, 11, declared=declared, folder=tmp_path) == []


def test_killed_and_resumed_the_rows_of_an_ordering_key_fire_in_order(tmp_path: Path) -> None:
    assert kill_and_resume(3, 12, declared=False, keyed=True, folder=tmp_path) == []


def test_support_writes_rows_that_are_numbered_as_their_lines(tmp_path: Path) -> None:
    text = write_rows(tmp_path / "rows.jsonl", 3).read_text()
    assert [json.loads(line)["payload"]["n"] for line in text.splitlines()] == [1, 2, 3]


@pytest.mark.parametrize(
    ("delivery", "status", "state"),
    [
        (Delivery.NOT_SENT, None, RowState.NOT_SENT),
        (Delivery.REJECTED, 429, RowState.DEFERRED),
        (Delivery.REJECTED, 503, RowState.DEFERRED),
    ],
)
@pytest.mark.parametrize("waits", [False, True])
def test_a_row_that_ends_before_any_attempt_is_to_be_sent(
    delivery: Delivery, status: int | None, state: RowState, waits: bool
) -> None:
    table = Table()
    if waits:
        table.waits(1)
    table.ended(1, delivery, status)
    assert table.state(1) is state
    assert table.count(state) == 1
