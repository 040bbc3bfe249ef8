"""What the caller of a batch may choose."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable
from typing import Literal

from attrs import field, frozen

from .._core.notify import check_callback
from .._types.errors import ConfigurationError
from .._types.results import Outcome
from .._types.values import Trigger

Source = Iterable[Trigger] | AsyncIterable[Trigger]
"""Where the triggers of a batch come from."""

LOOK_AHEAD_PER_WORKER = 4
"""How many items per worker are pulled ahead by default, once there are ordering keys."""


def _given(kinds: tuple[type[BaseException], ...] | None) -> tuple[type[BaseException], ...]:
    return () if kinds is None else kinds


@frozen(kw_only=True)
class BatchOptions:
    """What a caller may choose; checked when it is made.

    :raises ConfigurationError: for a value that makes no sense.
    """

    max_concurrency: int
    on_outcome: Callable[[Outcome], object] | None
    stop_on: tuple[type[BaseException], ...] = field(converter=_given)
    on_key_failure: Literal["continue", "stop"]
    look_ahead: int | None

    def __attrs_post_init__(self) -> None:
        if not _is_whole(self.max_concurrency) or self.max_concurrency < 1:
            raise ConfigurationError(f"max_concurrency must be 1 or more, not {self.max_concurrency!r}")
        if self.look_ahead is not None and (not _is_whole(self.look_ahead) or self.look_ahead < 0):
            raise ConfigurationError(f"look_ahead must be 0 or more, or None for the default, not {self.look_ahead!r}")
        if self.on_key_failure not in ("continue", "stop"):
            raise ConfigurationError(f"on_key_failure must be 'continue' or 'stop', not {self.on_key_failure!r}")
        kinds = self.stop_on
        if not isinstance(kinds, tuple) or not all(isinstance(k, type) and issubclass(k, Exception) for k in kinds):
            raise ConfigurationError(f"stop_on must be a tuple of classes of errors, or None, not {kinds!r}")
        if self.on_outcome is not None:
            check_callback("on_outcome", self.on_outcome)

    @property
    def look_ahead_with_keys(self) -> int:
        """How many items may be pulled ahead of those in flight, once there are ordering keys."""
        return self.max_concurrency * LOOK_AHEAD_PER_WORKER if self.look_ahead is None else self.look_ahead


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def check_source(source: object) -> None:
    """Refuse what holds no triggers at all.

    :raises ConfigurationError: naming the type found.
    """
    if not isinstance(source, AsyncIterable | Iterable):
        raise ConfigurationError(f"a batch needs an iterable or async iterable of Trigger, not {type(source).__name__}")
