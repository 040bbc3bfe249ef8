"""A short run of `make chaos`."""

from __future__ import annotations

import pytest

from refold_async import Delivery
from tests.campaigns.chaos import Tally, Wire, chaos, compare
from tests.support import abandons_sockets


@abandons_sockets
@pytest.mark.asyncio
@pytest.mark.parametrize("seed", [11, 12])
@pytest.mark.parametrize("wire", ["pool", "httpx"])
async def test_every_verdict_is_held_against_the_ledger(seed: int, wire: Wire) -> None:
    assert (await chaos(600, seed, wire, patience=6.0)).problems == []


def tally(ambiguous: range) -> Tally:
    verdicts = {n: Delivery.AMBIGUOUS if n in ambiguous else Delivery.ACCEPTED for n in range(100)}
    return Tally(verdicts, cut={99})


def test_more_that_is_ambiguous_than_on_the_stock_wire_is_a_failure() -> None:
    assert compare(tally(range(10)), tally(range(10))) == []
    assert compare(tally(range(12)), tally(range(10))) == [], "which may be chance"
    assert compare(tally(range(10)), tally(range(60))) == []
    assert len(compare(tally(range(40)), tally(range(10)))) == 1
