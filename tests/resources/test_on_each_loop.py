"""Executions, reconciling, events and session tokens on asyncio and trio alike."""

from __future__ import annotations

import gc
from datetime import UTC, datetime

import anyio
import pytest

from refold_async import Delivery, RefoldError, SessionTokenSource
from refold_async.testing import Fault, MockRefold, RunPlan
from tests.resources.support import unpace
from tests.support import abandons_sockets


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_what_became_of_an_event_is_found_on_each_loop(backend: str) -> None:
    async def main(server: MockRefold) -> None:
        async with server.client(tag=True, rate_limit=None) as client:
            receipt = await unpace(client).trigger("slack", "E", {"n": 1})
            found = await client.reconcile(receipt)
            assert found.fired
            assert [each.id for each in await client.executions.list().collect()] == [found.executions[0].id]
            assert (await client.executions.wait(found.executions[0].id)).ok
            server.next(Fault.reset_after_firing())
            with pytest.raises(RefoldError) as caught:
                await client.trigger("slack", "E", {"n": 2})
            assert caught.value.delivery is Delivery.AMBIGUOUS
            assert (await client.reconcile(caught.value)).fired
            made = await client.events.create("Won", {"a": 1})
            assert await client.events.find("Won") == made

            source = SessionTokenSource(client, "acct_2")
            async with anyio.create_task_group() as tasks:
                for _ in range(5):
                    tasks.start_soon(source)
            asked = sum(entry.path.endswith("/session-token") for entry in server.ledger.entries)
            assert asked == 1, "those that came meanwhile have waited for it"
            async with server.client(api_key=None, session_token=source, linked_account_id=None) as own:
                await own.trigger("slack", "E", {"n": 3})
        assert [entry.account for entry in server.ledger.fired][-1] == "acct_2"

    with MockRefold(rate_limit=None, runs=RunPlan(shows_tag=True)) as server:
        anyio.run(main, server, backend=backend)


@abandons_sockets
def test_a_source_outlives_the_loop_that_it_was_first_used_on() -> None:
    with MockRefold(rate_limit=None) as server:
        client = server.client()
        source = SessionTokenSource(client, "acct_2")

        async def ask() -> str:
            return await source()

        assert anyio.run(ask, backend="asyncio") == anyio.run(ask, backend="asyncio")
        assert server.ledger.requests == 1


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.filterwarnings("error")
def test_a_list_that_is_left_early_leaves_nothing_to_be_closed(backend: str) -> None:
    async def main(server: MockRefold) -> None:
        async with server.client() as client:
            since = datetime(2020, 1, 1, tzinfo=UTC)
            for pager in (
                unpace(client).executions.list(page_size=2),
                client.executions.matching("COMPLETED", since=since),
            ):
                async for _ in pager:
                    break
                async for _ in pager.pages():
                    break
                assert await pager.first() is not None
                assert len(await pager.collect(3)) == 3

    with MockRefold(rate_limit=None) as server:
        for _ in range(5):
            server.runs.add(account=server.linked_account_id)
        anyio.run(main, server, backend=backend)
        gc.collect()
