"""Telling the client's hooks what happens. The events are in `hooks`, which is imported once there is a hook."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from .._logging import log_as_told, logger
from .._types.errors import ConfigurationError, RefoldError
from .._types.filling import filled
from .usercode import call_logged

if TYPE_CHECKING:
    from .._types.evidence import Evidence
    from .._types.values import Delivery, Receipt
    from ..hooks import Hook
    from ..policies.verdict import Verdict
    from .call import Call

# Errors are raised as well: silent until the application sets logging up.
logger.logger.addHandler(logging.NullHandler())
log_as_told(logger.logger, os.environ.get("REFOLD_LOG"))

_WHAT: dict[type, str] = {}
"""What a hook's call is called in the log, by the kind of the event. There are six."""


class Hooks:
    """The hooks of a client, called in order; falsy when there are none, so that events need not be built.

    A hook cannot change anything: what it raises or returns is logged and dropped.
    """

    __slots__ = ("_events", "_hooks")

    def __init__(self, hooks: Iterable[Hook] | Hooks = ()) -> None:
        self._hooks: tuple[Callable[[Any], object], ...]
        if isinstance(hooks, Hooks):
            self._hooks = hooks._hooks  # noqa: SLF001 - of this very class
        else:
            try:
                self._hooks = tuple(hooks)
            except TypeError:
                raise ConfigurationError(f"hooks must be an iterable of callables, not {hooks!r}") from None
        for hook in self._hooks:
            check_callback("hooks", hook)
        self._events: Any = None
        if self._hooks:
            from .. import hooks as events

            self._events = events

    def __bool__(self) -> bool:
        return bool(self._hooks)

    def __len__(self) -> int:
        return len(self._hooks)

    def emit(self, event: object) -> None:
        """Pass the event to each hook."""
        kind = type(event)
        what = _WHAT.get(kind)
        if what is None:
            what = _WHAT[kind] = f"a hook on {kind.__name__}"
        for hook in self._hooks:
            call_logged(what, hook, event)

    def attempt_started(self, call: Call) -> None:
        """Tell that a request is about to be tried."""
        self.emit(
            filled(
                self._events.AttemptStarted,
                {"trigger": call.trigger, "attempt": call.attempt, "call_id": call.id},
            )
        )

    def attempt_finished(self, call: Call, evidence: Evidence, verdict: Verdict, elapsed: float) -> None:
        """Tell that a request ended."""
        error = None if evidence.error is None else type(evidence.error).__name__
        self.emit(
            filled(
                self._events.AttemptFinished,
                {
                    "trigger": call.trigger,
                    "attempt": call.attempt,
                    "delivery": verdict.delivery,
                    "status_code": evidence.status,
                    "error": error,
                    "elapsed": elapsed,
                    "call_id": call.id,
                },
            )
        )

    def retry_scheduled(self, call: Call, verdict: Verdict, delay: float) -> None:
        """Tell that the call will be tried again."""
        self.emit(self._events.RetryScheduled(call.trigger, call.attempt, verdict.delivery, delay, call.id))

    def rate_limit_waited(self, call: Call, waited: float) -> None:
        """Tell that the limiter held an attempt back."""
        self.emit(self._events.RateLimitWaited(call.trigger, waited, call.id))

    def rate_limit_paused(self, call: Call, retry_after: float | None) -> None:
        """Tell that a 429 paused the limiter."""
        self.emit(self._events.RateLimitPaused(call.trigger, retry_after, call.id))

    def call_finished(
        self, call: Call, delivery: Delivery, elapsed: float, receipt: Receipt | None, error: RefoldError | None
    ) -> None:
        """Tell that a call ended."""
        self.emit(
            filled(
                self._events.CallFinished,
                {
                    "trigger": call.trigger,
                    "delivery": delivery,
                    "attempts": call.tried,
                    "elapsed": elapsed,
                    "receipt": receipt,
                    "error": error,
                    "call_id": call.id,
                },
            )
        )


def check_callback(name: str, given: object) -> None:
    """Refuse what cannot be called from anywhere.

    :raises ConfigurationError: naming the argument.
    """
    if not callable(given) or inspect.iscoroutinefunction(given):
        raise ConfigurationError(
            f"{name}= takes plain callables, not {given!r}: they are also called while a call is being cancelled, "
            "when nothing can be awaited. Put what they are given on a queue, and await elsewhere"
        )
