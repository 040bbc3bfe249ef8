"""The short form of `make outbox-kill`: real processes, killed and frozen, against the mock's ledger."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.campaigns.outbox_kill import run


@pytest.mark.parametrize("window", [False, True], ids=["without a window", "with a declared window"])
def test_processes_that_are_killed_and_frozen_fire_no_event_twice_and_lose_none(tmp_path: Path, window: bool) -> None:
    counts = run(events=120, kills=3, freezes=1, seed=7, folder=tmp_path, window=window, timeout=120)
    assert counts.is_good, counts
    assert not (window and counts.held), "with its own key, each event could be settled"
