"""A client of the caller's own, whose hooks and auth flows make requests of their own, and send triggers again.

Response hooks ask an audit service that fails as it likes, and raise for its status; request hooks do so before the
trigger leaves; auth flows fetch tokens first, or carry the trigger on every leg.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator

import httpx

from refold_async import Receipt
from refold_async._wire.httpx_internals import release_leaked_connection
from refold_async.testing import Fault, MockRefold
from refold_async.testing.ledger import Entry

from .faults import DEADLINE, DECLARED, DEDUPE, RETRY
from .tally import PlannedFaults, Tally, open_descriptors

SLOTS = 40
STATUSES = [200, 200, 200, 401, 404, 429, 500, 503]
AUDIT = "/api/v2/public/execution"


def audited(_: Entry) -> Fault:
    """Answer with a status by chance, or hang up."""
    if random.random() < 0.1:
        return Fault.close_before_firing()
    return Fault.answer(random.choice(STATUSES), headers={"Retry-After": "30"}, body=b'{"token":"t-1"}')


class Flow(httpx.Auth):
    """Draws for each request what it does: nothing, a token first, or the trigger again after some statuses.

    :param url: of the service that hands out tokens.
    """

    requires_response_body = False

    def __init__(self, url: str) -> None:
        self.url = url

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        way = random.random()
        if way < 0.2:
            token = yield httpx.Request("GET", self.url)
            if token.status_code == 404:
                return  # and the trigger is never sent
            request.headers["X-Token"] = "t"
        response = yield request
        legs = 1
        while way > 0.5 and legs < 3 and response.status_code in (401, 408, 429, 500, 503):
            if way > 0.9:
                await response.aread()
            if way > 0.95:
                yield httpx.Request("GET", self.url)
            legs += 1
            response = yield request


async def trace_of_hooks(name: str, info: object) -> None:
    """Mark the requests of hooks, by which httpcore is made to forget those that it keeps when they are cancelled."""


class Hooks:
    """What the caller has hung on the client: each asks the audit service now and then, and may raise for its answer.

    :ivar given: the client that they hang on.
    """

    def __init__(self, triggers: str, audit: str, other: httpx.AsyncClient) -> None:
        self.given: httpx.AsyncClient | None = None
        self._triggers = triggers
        self._audit = audit
        self._other = other

    async def before(self, request: httpx.Request) -> None:
        if str(request.url).startswith(self._triggers):
            await self._ask(0.15)

    async def after(self, response: httpx.Response) -> None:
        if str(response.request.url).startswith(self._triggers):
            if random.random() < 0.1:
                await response.aread()
            await self._ask(0.4)
            if random.random() < 0.2:
                response.raise_for_status()

    async def _ask(self, chance: float) -> None:
        if random.random() < chance:
            session = random.choice([self.given, self._other])
            assert session is not None
            response = await session.get(self._audit, auth=None, extensions={"trace": trace_of_hooks})
            if response.status_code >= 400 and random.random() < 0.7:
                response.raise_for_status()


async def foreign(triggers: int, seed: int, patience: float = 1.0) -> Tally:
    """Run it; what did not hold is in the tally."""
    random.seed(f"foreign {seed}")
    tally = Tally()
    descriptors = open_descriptors()
    deadline = DEADLINE * patience
    limits = httpx.Limits(max_connections=SLOTS * 2)
    async with (
        MockRefold(rate_limit=None, dedupe=DEDUPE, faults=PlannedFaults(seed), latency=0.001) as server,
        MockRefold(keep=1) as service,
        httpx.AsyncClient(limits=limits) as other,
    ):
        service.plan(audited, kind="read")
        audit = service.url + AUDIT
        hooks = Hooks(server.url, audit, other)
        async with (
            httpx.AsyncClient(
                limits=limits, event_hooks={"request": [hooks.before], "response": [hooks.after]}, auth=Flow(audit)
            ) as hooks.given,
            server.client(
                http_client=hooks.given,
                rate_limit=None,
                retry=RETRY,
                timeout=0.15 * patience,
                hooks=[tally.watch],
                max_connections=SLOTS,
            ) as plain,
        ):
            declared = plain.with_options(idempotency=DECLARED)

            async def fire(number: int) -> None:
                client = declared if number % 2 else plain

                async def one() -> Receipt:
                    return await client.trigger("pipedrive", "Deal Created", {"n": number}, deadline=deadline)

                await tally.end_it(number, seed, one, deadline)

            await tally.crew(range(triggers), SLOTS * 2, fire)
            await other.aclose()
            await release_leaked_connection(hooks.given._transport, trace_of_hooks)
            await tally.look_for_leftovers(plain, SLOTS)
        tally.check(server, triggers, resends=True)
    if open_descriptors() > descriptors:
        tally.problems.append(f"{open_descriptors() - descriptors} file descriptors were left open")
    return tally
