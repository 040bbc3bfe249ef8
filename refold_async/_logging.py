"""The variable REFOLD_LOG, which turns the library's logging on without any code."""

from __future__ import annotations

import logging
import warnings

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING}


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
