"""The library's logger, and the variable REFOLD_LOG, which turns it on without any code."""

from __future__ import annotations

import logging
import sys
import traceback
import warnings
from typing import Any

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING}


class _Logger(logging.LoggerAdapter[logging.Logger]):
    """Writes to the logger of the library, so that nothing that hangs on it can change what becomes of a call.

    The handlers of the standard library keep their failures to themselves, but those of others, and every filter, are
    code of the user's own: what they raise is printed, as `logging` does, and the call goes on. KeyboardInterrupt and
    SystemExit pass.
    """

    def __init__(self) -> None:
        logger = logging.getLogger("refold_async")
        super().__init__(logger, {})
        self.isEnabledFor = logger.isEnabledFor  # type: ignore[method-assign] # asked for each call: a frame less

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Write a record."""
        if not self.isEnabledFor(level):
            return
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1  # not this line, but who called
        try:
            self.logger.log(level, msg, *args, **kwargs)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # noqa: BLE001 - nothing is awaited here, so that a cancellation is their own
            if logging.raiseExceptions and sys.stderr is not None:
                traceback.print_exc()


logger = _Logger()


class _UntilConfigured(logging.StreamHandler):  # type: ignore[type-arg] # not generic at run time in 3.11
    """Writes to standard error as long as the root logger has no handler, which would write the record again."""

    def emit(self, record: logging.LogRecord) -> None:
        if not logging.getLogger().handlers:
            super().emit(record)


def log_as_told(logger: logging.Logger, value: str | None) -> None:
    """Set the logger's level, and print its records, as REFOLD_LOG says; None or an empty text changes nothing."""
    if not value:
        return
    level = LEVELS.get(value.strip().lower())
    if level is None:
        warnings.warn(f"REFOLD_LOG must be debug, info or warning, not {value!r}; it is ignored", stacklevel=2)
        return
    handler = _UntilConfigured()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(level)
