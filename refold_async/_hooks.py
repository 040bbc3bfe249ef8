"""Telling the client's hooks what happens. The events are in `hooks`, which is imported once there is a hook."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ._logging import log_as_told
from ._types.errors import ConfigurationError

if TYPE_CHECKING:
    from .hooks import HookEvent

logger = logging.getLogger("refold_async")
logger.addHandler(logging.NullHandler())  # errors are raised as well: silent until the application sets logging up
log_as_told(logger, os.environ.get("REFOLD_LOG"))

Hook = Callable[["HookEvent"], object]


class Hooks:
    """The hooks of a client, called in order; falsy when there are none, so that events need not be built."""

    __slots__ = ("_hooks",)

    def __init__(self, hooks: Iterable[Hook] = ()) -> None:
        self._hooks = tuple(hooks)
        for hook in self._hooks:
            check_callback("hooks", hook)

    def __bool__(self) -> bool:
        return bool(self._hooks)

    def emit(self, event: HookEvent) -> None:
        """Give the event to each hook. A hook that raises is logged, and changes nothing else."""
        for hook in self._hooks:
            try:
                hook(event)
            except Exception:
                logger.warning("a hook raised on %s; the call goes on", type(event).__name__, exc_info=True)


def check_callback(name: str, given: object) -> None:
    """Refuse what cannot be called from anywhere.

    :raises ConfigurationError: naming the argument.
    """
    if not callable(given) or inspect.iscoroutinefunction(given):
        raise ConfigurationError(
            f"{name}= takes plain callables, not {given!r}: they are also called while a call is being cancelled, "
            "when nothing can be awaited. Put what they are given on a queue, and await elsewhere"
        )
