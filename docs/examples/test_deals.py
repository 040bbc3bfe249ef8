"""Tests of `deals.py` against a real server on loopback, which keeps a ledger of what fired."""

from __future__ import annotations

import pytest
from deals import won

from refold_async.testing import Fault, MockRefold


@pytest.mark.asyncio
async def test_a_deal_fires_once(refold_server: MockRefold) -> None:
    async with refold_server.client() as client:
        assert await won(client, "Acme") == "done"
    assert refold_server.ledger.fired_count(deal_name="Acme") == 1


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("fault", "shown", "fired"),
    [
        (Fault.reset_before_reading(), "please check in Refold", 0),
        (Fault.reset_after_firing(), "please check in Refold", 1),
        (Fault.answer(400), "please try again", 0),
    ],
)
async def test_a_failure_is_told_as_far_as_it_is_known(
    refold_server: MockRefold, fault: Fault, shown: str, fired: int
) -> None:
    refold_server.next(fault)
    async with refold_server.client(retry=None) as client:
        assert await won(client, "Acme") == shown
    assert refold_server.ledger.fired_count(deal_name="Acme") == fired
