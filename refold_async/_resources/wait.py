"""Waiting until an execution has ended."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import anyio
from attrs import field, frozen

from .._types.errors import (
    ConfigurationError,
    DeadlineExceededError,
    PacingTimeoutError,
    RateLimitedError,
    RefoldConnectionError,
    RefoldError,
    RefoldTimeoutError,
    ServerError,
    WaitTimeoutError,
)
from .._types.values import Unset
from .execution import Execution, ExecutionDetail

if TYPE_CHECKING:
    from .channel import Channel
    from .executions import Executions

UNLISTED_LOOKS = 3
UNLISTED_SECONDS = 60.0
"""After so many looks in vain, over so long, an execution is taken for one that will not be listed."""

MAY_PASS = (
    RefoldTimeoutError, RefoldConnectionError, DeadlineExceededError, PacingTimeoutError, RateLimitedError, ServerError,
)  # fmt: skip
"""What looking again may cure."""


def _seconds(_: object, attribute: Any, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"{attribute.name} must be a number above 0, not {value!r}")


@frozen(kw_only=True)
class Poll:
    """How often to look.

    :param first: seconds between the first look and the second.
    :param factor: each wait is so many times the one before it; 1 or more.
    :param cap: seconds; the longest wait.
    """

    first: float = field(default=1.0, validator=_seconds)
    factor: float = field(default=1.5, validator=_seconds)
    cap: float = field(default=10.0, validator=_seconds)

    @factor.validator
    def _grows(self, _: object, value: float) -> None:
        if value < 1:
            raise ValueError(f"factor must be 1 or more, not {value!r}")


class Waiting:
    """One wait. `run` is awaited once; nothing outlives it.

    :param timeout: seconds for all of it; None for no limit.
    :param options: of each request.
    :param clock: seconds, monotonic.
    :param sleep: waits that many seconds.
    """

    def __init__(
        self,
        executions: Executions,
        channel: Channel,
        execution_id: str,
        timeout: float | None,
        poll: Poll,
        options: dict[str, Any],
        *,
        clock: Callable[[], float] = anyio.current_time,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        if timeout is not None and (
            isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout < math.inf
        ):
            raise ConfigurationError(f"timeout must be seconds above 0, or None for no limit, not {timeout!r}")
        if not isinstance(poll, Poll):
            raise ConfigurationError(f"poll must be a Poll, not {poll!r}")
        self._executions = executions
        self._id = execution_id
        self._timeout = timeout
        self._poll = poll
        self._options = options
        self._clock = clock
        self._sleep = sleep
        self._deadline = options.pop("deadline", channel.sender.settings.deadline)
        if isinstance(self._deadline, Unset):
            self._deadline = channel.sender.settings.deadline
        self._ends = math.inf
        self._last: Execution | None = None
        self._looks = 0
        self._filter_works = True
        self._failure: RefoldError | None = None

    async def run(self) -> ExecutionDetail:
        """Look until it has ended.

        :raises WaitTimeoutError: when that takes too long.
        """
        began = self._clock()
        if self._timeout is not None:
            self._ends = began + self._timeout
        delay = self._poll.first
        while True:
            found = await self._look()
            if isinstance(found, ExecutionDetail):
                return found
            now = self._clock()
            if self._last is None and self._looks >= UNLISTED_LOOKS and now - began >= UNLISTED_SECONDS:
                raise self._too_late("it is not listed yet, or there is no execution of this id for this account")
            if now + delay >= self._ends:
                raise self._too_late("it has not ended" if self._last is not None else "it was not listed")
            await self._sleep(delay)
            delay = min(self._poll.cap, delay * self._poll.factor)

    async def _look(self) -> Execution | None:
        """Look once. Returns the detail if the execution has ended, else what was seen, or None."""
        try:
            seen = await self._find()
            if seen is None or not seen.has_ended:
                self._failure = None
                return seen
            self._last = seen
            if isinstance(seen, ExecutionDetail):
                return seen
            return await self._executions.get(self._id, **self._limits())
        except MAY_PASS as error:
            self._failure = error
            return None
        finally:
            self._looks += 1

    async def _find(self) -> Execution | None:
        if self._filter_works:
            listed = self._executions.list(execution_id=self._id, page_size=10, **self._limits())
            async for page in listed.pages():
                for execution in page.items:
                    if execution.id == self._id:
                        self._last = execution
                        return execution
                # A filter that is ignored lists others; the execution itself has to be asked for then.
                self._filter_works = not page.items
                break
        if self._filter_works:
            return None
        detail = await self._executions.get(self._id, **self._limits())
        self._last = detail
        return detail

    def _limits(self) -> dict[str, Any]:
        """Return the options of a request: none may last beyond the end of the wait."""
        left = self._ends - self._clock()
        deadline = self._deadline
        if left != math.inf:
            deadline = max(0.001, left) if deadline is None else max(0.001, min(deadline, left))
        return {**self._options, "deadline": deadline}

    def _too_late(self, why: str) -> WaitTimeoutError:
        status = "" if self._last is None else f" (last seen: {self._last.status})"
        error = WaitTimeoutError(f"waiting for execution {self._id}: {why}{status}", last=self._last)
        error.__cause__ = self._failure
        return error
