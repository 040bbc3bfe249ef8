"""A process in which one contender takes its turns: `python -m benchmarks.worker MEASUREMENT CONTENDER`.

Each line of standard input is a turn, as JSON; each gets one line back: `{"ok": …}` or `{"failed": …}`. Whatever the
contender prints is turned to standard error, so that it does not mix with these.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from importlib import import_module
from typing import Any

from . import cores


def _module(measurement: str) -> Any:
    return import_module(measurement if "." in measurement else f"{__package__}.measurements.{measurement}")


def _turn(module: Any, contender: str, turn: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"ok": module.turn(contender, **turn)}
    except Exception as error:  # noqa: BLE001 - whatever a contender raises is its result
        traceback.print_exc()
        return {"failed": f"{type(error).__name__}: {_first(error)}"}


def _first(error: BaseException) -> str:
    """Give the message of an error, or of the first one in a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error).partition("\n")[0][:200]


def main() -> None:
    """Take turns until standard input is closed."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    measurement, contender = sys.argv[1:]
    cores.pin(cores.core_for(cores.CLIENT))
    module = _module(measurement)
    for line in sys.stdin:
        answers.write(json.dumps(_turn(module, contender, json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
