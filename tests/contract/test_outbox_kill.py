"""The short form of `make outbox-kill` for procrastinate: workers, killed and frozen, against the mock's ledger."""

from __future__ import annotations

import pytest

from .servers import Server

pytest.importorskip("procrastinate")

from tests.campaigns.outbox_kill_procrastinate import run


@pytest.fixture
def _nothing_is_left() -> None:
    """Not of the wire: no look at its pools."""


@pytest.mark.parametrize("window", [False, True], ids=["without a window", "with a declared window"])
def test_workers_that_are_killed_and_frozen_fire_no_event_twice_and_lose_none(postgres: Server, window: bool) -> None:
    counts, disagree = run(postgres.url, events=120, kills=3, freezes=1, seed=7, window=window, timeout=120)
    assert counts.is_good, counts
    assert disagree == 0, "a job says something else than its row"
    assert not (window and counts.held), "with its own key, each event could be settled"
