"""What the tests of batches share: event loops whose clock jumps, and a wire that does as it is told."""

from __future__ import annotations

import asyncio
import json
import selectors
from collections import Counter
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import closing, contextmanager
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import trio
import trio.testing
from attrs import define, field

from refold_async import Outcome, RefoldClient, Trigger


class _Jumping(selectors.DefaultSelector):
    """Never waits: where nothing happens before a timer is due, the clock jumps to it."""

    now = 1000.0

    def select(self, timeout: float | None = None) -> Any:
        events = super().select(0)
        if not events and timeout is None:
            raise RuntimeError("everything waits for what will never come")
        if not events and timeout is not None:
            self.now += max(0.0, timeout)
        return events


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock moves only when nothing else is left to do, so that hours take no time."""

    def __init__(self) -> None:
        self._clock = _Jumping()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now


BACKENDS: dict[str, Callable[[], tuple[str, dict[str, Any]]]] = {
    "asyncio": lambda: ("asyncio", {"loop_factory": JumpingLoop}),
    "trio": lambda: ("trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}),
}
"""Options for `anyio.run` and its pytest plugin. The clock is `anyio.current_time`."""


def run(backend: str, main: Callable[[], Any]) -> Any:
    """Run on a loop with a jumping clock; a virtual month is taken for a hang."""

    async def bounded() -> Any:
        with anyio.fail_after(30 * 86_400):
            return await main()

    name, options = BACKENDS[backend]()
    if name == "trio":  # the oldest anyio that we take does not pass the clock on
        return trio.run(bounded, **options)
    return anyio.run(bounded, backend=name, backend_options=options)


@define
class Answer:
    """How the wire treats a request: after `seconds`, a status or an error."""

    ending: int | Exception = 200
    seconds: float = 0.0
    headers: dict[str, str] = field(factory=dict)


Plan = Callable[[int, int], Answer]
"""Gives the answer to a request, by the number in its payload and how often that was sent before."""


class Wire(httpx.AsyncBaseTransport):
    """Answers as planned, and keeps a ledger.

    :ivar started: the numbers in the order in which their requests came.
    :ivar answered: the numbers whose answer was given, and its status, in that order.
    :ivar spans: from when to when each number was on the wire.
    :ivar cut_off: how often each was cancelled there.
    """

    def __init__(self, plan: Plan = lambda n, before: Answer()) -> None:
        self.plan = plan
        self.started: list[int] = []
        self.answered: list[tuple[int, int]] = []
        self.spans: dict[int, list[tuple[float, float]]] = {}
        self.cut_off: Counter[int] = Counter()
        self.in_flight = 0
        self.most_in_flight = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.ByteStream)
        n = json.loads(b"".join(request.stream))["payload"]["n"]
        answer = self.plan(n, self.started.count(n))
        self.started.append(n)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        began = anyio.current_time()
        try:
            if answer.seconds:
                await anyio.sleep(answer.seconds)
        except BaseException:
            self.cut_off[n] += 1
            raise
        finally:
            self.in_flight -= 1
            self.spans.setdefault(n, []).append((began, anyio.current_time()))
        if isinstance(answer.ending, Exception):
            raise answer.ending
        self.answered.append((n, answer.ending))
        body = b'{"message":"Webhook Fired Success"}'
        return httpx.Response(answer.ending, headers=answer.headers, stream=httpx.ByteStream(body))

    @property
    def times(self) -> list[float]:
        """When requests came, in order."""
        return sorted(began for spans in self.spans.values() for began, _ in spans)


def client_over(wire: httpx.AsyncBaseTransport, **options: Any) -> RefoldClient:
    """Make a client over a wire, without a rate limit or retries unless told."""
    return RefoldClient(
        **{"api_key": "tk_1", "linked_account_id": "acct_1", "rate_limit": None, "retry": None, **options},
        transport=wire,
    )


def trigger(n: int, key: str | None = None) -> Trigger:
    """Give a trigger that the wire can tell by its number."""
    return Trigger("pipedrive", "Deal Created", {"n": n}, ordering_key=key)


class Rows:
    """A source that counts what was pulled, and notes how it was left.

    :param count: how many there are; None for no end.
    :param fails_at: the number at which it raises.
    """

    def __init__(self, count: int | None, *, fails_at: int | None = None, key: str | None = None) -> None:
        self._count = count
        self._fails_at = fails_at
        self._key = key
        self.pulled = 0
        self.closed = False

    def __iter__(self) -> Generator[Trigger]:
        try:
            while self._count is None or self.pulled < self._count:
                if self.pulled == self._fails_at:
                    raise OSError("the disk is gone")
                self.pulled += 1
                yield trigger(self.pulled - 1, self._key)
            if self.pulled == self._fails_at:
                raise OSError("the disk is gone")
        finally:
            self.closed = True

    async def asynchronous(self, seconds: float = 0.0) -> AsyncIterator[Trigger]:
        """Give them as an async generator that waits so long before each."""
        with closing(iter(self)) as rows:
            while True:
                await anyio.sleep(seconds)
                row = next(rows, None)
                if row is None:
                    return
                yield row


@define
class Told:
    """What `on_outcome` was told."""

    outcomes: list[Outcome] = field(factory=list)

    def __call__(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    @property
    def indexes(self) -> list[int]:
        """In the order in which they came."""
        return [outcome.index for outcome in self.outcomes]

    @property
    def kinds(self) -> list[str]:
        """The verdict of each, or the name of its error, in input order."""
        ordered = sorted(self.outcomes, key=lambda outcome: outcome.index)
        return [outcome.delivery.value if outcome.ok else type(outcome.error).__name__ for outcome in ordered]


@contextmanager
def leaving_nothing() -> Iterator[None]:
    """Hold that no task is left of those that are started in the block, where the loop tells."""
    before = _tasks()
    yield
    assert _tasks() <= before


def _tasks() -> set[asyncio.Task[Any]]:
    try:
        return asyncio.all_tasks()
    except RuntimeError:
        return set()  # trio's nurseries leave none
