"""The events that are passed to a client's `hooks=`, as they happen. Each names its call by `call_id`."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from ._types.errors import RefoldError
from ._types.filling import Filled
from ._types.values import Delivery, Receipt, Trigger

__all__ = [
    "AttemptFinished",
    "AttemptStarted",
    "CallFinished",
    "Hook",
    "HookEvent",
    "RateLimitPaused",
    "RateLimitWaited",
    "RetryScheduled",
]


@frozen(slots=False)
class AttemptStarted(Filled):
    """A request is about to be tried.

    :param trigger: what is sent; None for a request that fires nothing.
    :param attempt: the attempt's number in its call, from 1.
    :param call_id: the id of the call, the same for all its events.
    """

    trigger: Trigger | None
    attempt: int
    call_id: str = ""


@frozen(slots=False)
class AttemptFinished(Filled):
    """A request ended, with a status or with an error.

    :param trigger: what was sent; None for a request that fires nothing.
    :param attempt: the attempt's number in its call, from 1.
    :param delivery: the verdict of this attempt alone.
    :param status_code: the HTTP status; None if none was seen.
    :param error: the name of the error's class; None if there was a response.
    :param elapsed: seconds from the start of the attempt to its end.
    :param call_id: the id of the call, the same for all its events.
    """

    trigger: Trigger | None
    attempt: int
    delivery: Delivery
    status_code: int | None
    error: str | None
    elapsed: float
    call_id: str = ""


@frozen(slots=False)
class RetryScheduled(Filled):
    """The call will be tried again.

    :param trigger: what is sent; None for a request that fires nothing.
    :param attempt: the number of the attempt that failed, from 1.
    :param delivery: the verdict of that attempt.
    :param delay: seconds until the next attempt.
    :param call_id: the id of the call, the same for all its events.
    """

    trigger: Trigger | None
    attempt: int
    delivery: Delivery
    delay: float
    call_id: str = ""


@frozen(slots=False)
class RateLimitWaited(Filled):
    """The rate limiter held an attempt back.

    :param trigger: what is sent; None for a request that fires nothing.
    :param waited: seconds.
    :param call_id: the id of the call, the same for all its events.
    """

    trigger: Trigger | None
    waited: float
    call_id: str = ""


@frozen(slots=False)
class RateLimitPaused(Filled):
    """A 429 paused the limiter, and with it all calls that share it.

    :param trigger: what was sent; None for a request that fires nothing.
    :param retry_after: seconds that the server asked to wait; None if it did not say.
    :param call_id: the id of the call, the same for all its events.
    """

    trigger: Trigger | None
    retry_after: float | None
    call_id: str = ""


@frozen(slots=False)
class CallFinished(Filled):
    """A call ended, also one that was cancelled or never sent. This is the last event of each call.

    :param trigger: what was sent; None for a request that fires nothing.
    :param delivery: the verdict over all attempts.
    :param attempts: how many requests were tried, 0 if none.
    :param elapsed: seconds from the call to its end, waits included.
    :param receipt: the receipt, if the event was accepted.
    :param error: the error, if it was not; None for a call that was cancelled.
    :param call_id: the id of the call, the same for all its events.
    """

    trigger: Trigger | None
    delivery: Delivery
    attempts: int
    elapsed: float
    receipt: Receipt | None = None
    error: RefoldError | None = None
    call_id: str = ""


HookEvent = AttemptStarted | AttemptFinished | RetryScheduled | RateLimitWaited | RateLimitPaused | CallFinished
"""Any of them; take them apart with `match` or `isinstance`."""

Hook = Callable[[HookEvent], object]
"""What `hooks=` takes: a plain callable. What it raises or returns changes nothing."""
