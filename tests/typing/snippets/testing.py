"""Tests of user code, against the mock."""

from __future__ import annotations

from typing import assert_type

from refold_async import RefoldClient
from refold_async.testing import Fault, MockRefold


async def test_it(refold_server: MockRefold) -> None:
    refold_server.next(Fault.answer(500), None)
    async with refold_server.client(retry=None) as client:
        assert_type(client, RefoldClient)
        await client.trigger("pipedrive", "Deal Created", {"n": 1})
    assert_type(refold_server.ledger.fired_count(n=1), int)


def test_without_a_fixture() -> None:
    with MockRefold(rate_limit=None) as server:
        assert_type(server.url, str)
