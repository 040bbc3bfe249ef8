"""A transport without sockets that answers as planned and records what it was sent."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any, Self

import anyio
import httpx
from attrs import define, field

from refold_async import RefoldClient

FIRED = b'{"message":"Webhook Fired Success"}'


@define
class Reply:
    """How a request is treated: after `seconds`, a status or an error."""

    ending: int | Exception = 200
    seconds: float = 0.0
    headers: dict[str, str] = field(factory=dict)
    body: bytes = FIRED


Plan = Callable[[int, int], Reply]
"""Returns the reply to a request, by the number in its payload and how often that number was sent before.

A request whose body holds no number `payload.n` is numbered by its arrival, from 0.
"""


class FakeTransport(httpx.AsyncBaseTransport):
    """Replies as planned, on any event loop, and keeps a record.

    :ivar requests: everything that was sent, in order, with its body.
    :ivar started: the numbers of the requests, in the order in which they came.
    :ivar answered: the numbers whose reply was returned, and its status, in that order.
    :ivar spans: from when to when each number was being answered.
    :ivar cut_off: how often each was cancelled meanwhile.
    """

    def __init__(self, plan: Plan = lambda n, before: Reply()) -> None:
        self.plan = plan
        self.requests: list[httpx.Request] = []
        self.started: list[int] = []
        self.answered: list[tuple[int, int]] = []
        self.spans: dict[int, list[tuple[float, float]]] = {}
        self.cut_off: Counter[int] = Counter()
        self.in_flight = 0
        self.most_in_flight = 0

    @classmethod
    def answering(cls, *answers: httpx.Response | Exception) -> Self:
        """Make one that returns, or raises, these in turn, and the last one from then on."""

        def plan(number: int, before: int) -> Reply:
            answer = answers[min(len(transport.requests), len(answers)) - 1]
            if isinstance(answer, Exception):
                return Reply(answer)
            return Reply(answer.status_code, headers=dict(answer.headers), body=answer.content)

        transport = cls(plan)
        return transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        content = b"".join([part async for part in request.stream])
        self.requests.append(httpx.Request(request.method, request.url, headers=request.headers, content=content))
        n = _number(content)
        n = len(self.started) if n is None else n
        before = self.started.count(n)
        self.started.append(n)
        reply = self.plan(n, before)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        began = anyio.current_time()
        try:
            if reply.seconds:
                await anyio.sleep(reply.seconds)
        except BaseException:
            self.cut_off[n] += 1
            raise
        finally:
            self.in_flight -= 1
            self.spans.setdefault(n, []).append((began, anyio.current_time()))
        if isinstance(reply.ending, Exception):
            raise reply.ending
        self.answered.append((n, reply.ending))
        return httpx.Response(reply.ending, headers=reply.headers, stream=httpx.ByteStream(reply.body))

    @property
    def times(self) -> list[float]:
        """When requests came, in order."""
        return sorted(began for spans in self.spans.values() for began, _ in spans)


def _number(content: bytes) -> int | None:
    try:
        number = json.loads(content)["payload"]["n"]
    except (ValueError, KeyError, TypeError):
        return None
    return number if isinstance(number, int) else None


def fired() -> httpx.Response:
    """Refold's own success."""
    return httpx.Response(200, content=FIRED)


def client_over(transport: httpx.AsyncBaseTransport, **options: Any) -> RefoldClient:
    """Make a client over a transport, without a rate limit or retries unless told."""
    return RefoldClient(
        **{"api_key": "tk_1", "linked_account_id": "acct_1", "rate_limit": None, "retry": None, **options},
        transport=transport,
    )
