"""What can be watched: frozen events, given to the client's hooks as they happen, and the log lines beside them."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable

from attrs import frozen

from ._errors import ConfigurationError, RefoldError
from ._models import Delivery, Receipt, Trigger

logger = logging.getLogger("refold_async")


@frozen
class AttemptStarted:
    """A request is about to be tried; `attempt` counts from 1."""

    trigger: Trigger | None
    attempt: int


@frozen
class AttemptFinished:
    """A request ended: with a status, or with an error, whose class is named."""

    trigger: Trigger | None
    attempt: int
    delivery: Delivery
    status_code: int | None
    error: str | None
    elapsed: float


@frozen
class RetryScheduled:
    """The call will be tried again in `delay` seconds; `delivery` is the verdict of the attempt that failed."""

    trigger: Trigger | None
    attempt: int
    delivery: Delivery
    delay: float


@frozen
class RateLimitWaited:
    """An attempt was held back by the limiter for `waited` seconds."""

    trigger: Trigger | None
    waited: float


@frozen
class RateLimitPaused:
    """A 429 paused the shared limiter; `retry_after` is what the server asked for, in seconds."""

    trigger: Trigger | None
    retry_after: float | None


@frozen
class CallFinished:
    """A call ended, also one that was cancelled or never sent. This is the last event of each call."""

    trigger: Trigger | None
    delivery: Delivery
    attempts: int
    elapsed: float
    receipt: Receipt | None = None
    error: RefoldError | None = None


HookEvent = AttemptStarted | AttemptFinished | RetryScheduled | RateLimitWaited | RateLimitPaused | CallFinished
Hook = Callable[[HookEvent], object]


class Hooks:
    """The hooks of a client, called in order; falsy when there are none, so that events need not be built."""

    __slots__ = ("_hooks",)

    def __init__(self, hooks: Iterable[Hook] = ()) -> None:
        self._hooks = tuple(hooks)
        for hook in self._hooks:
            if not callable(hook) or inspect.iscoroutinefunction(hook):
                raise ConfigurationError(
                    f"hooks= takes plain callables, not {hook!r}: a hook is also called while a call is being "
                    "cancelled, when nothing can be awaited. Put the event on a queue and await elsewhere."
                )

    def __bool__(self) -> bool:
        return bool(self._hooks)

    def emit(self, event: HookEvent) -> None:
        """Give the event to each hook. A hook that raises is logged, and changes nothing else."""
        for hook in self._hooks:
            try:
                hook(event)
            except Exception:
                logger.warning("a hook raised on %s; the call goes on", type(event).__name__, exc_info=True)
