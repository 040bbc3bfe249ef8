"""A process in which one contender takes its turns: `python -m benchmarks.worker MEASUREMENT CONTENDER [CORE]`.

It says when it is ready. Then each line of standard input is a turn, as JSON, and gets one line back: `{"ok": …}` or
`{"failed": …}`. Whatever the contender prints is turned to standard error, so that it does not mix with these.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from importlib import import_module
from typing import Any

from . import cores

READY = "ready\n"


def _module(measurement: str) -> Any:
    return import_module(measurement if "." in measurement else f"{__package__}.measurements.{measurement}")


def _turn(module: Any, contender: str, turn: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"ok": module.turn(contender, **turn)}
    except Exception as error:  # noqa: BLE001 - whatever a contender raises is its result
        traceback.print_exc()
        return {"failed": _named(error)}


def _named(error: BaseException) -> str:
    """Give the type and message of an error, or of the first one in a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}"


def main() -> None:
    """Take turns until standard input is closed."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    measurement, contender, *core = sys.argv[1:]
    cores.pin(int(core[0]) if core else None)
    module = _module(measurement)
    answers.write(READY)
    answers.flush()
    for line in sys.stdin:
        answers.write(json.dumps(_turn(module, contender, json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
