"""What a relay tells its hooks."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from .._types.errors import RefoldError
from ._status import EventStatus


@frozen
class EventHeld:
    """An event may have fired, and waits for somebody to say whether it did. Tell a person.

    A relay tells of it when it happens, and again of each that is held already when it begins to send. A worker tells
    of those that it holds itself.

    :param status: what is known of it.
    """

    status: EventStatus


@frozen
class RelayPaused:
    """Nothing is sent for a while: Refold cannot be reached, or does not take the key. No event is lost by that.

    :param error: what the last event met.
    """

    error: RefoldError


@frozen
class RelayResumed:
    """Events are sent again.

    :param seconds: how long the pause was.
    """

    seconds: float


RelayEvent = EventHeld | RelayPaused | RelayResumed
"""Any of them."""

RelayHook = Callable[[RelayEvent], object]
"""Is called with each of them, on the relay's event loop. What it raises is logged."""
