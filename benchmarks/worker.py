"""A process in which a measurement takes its turns: `python -m benchmarks.worker MODULE [CORE]`.

It says when it is ready. Then each line of standard input is a turn, as JSON, and gets one line back: `{"ok": …}` or
`{"failed": …}`. Whatever a contender prints goes to standard error, so that it does not mix with these.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from importlib import import_module
from typing import Any

from . import machine

READY = "ready\n"


def _turn(module: Any, turn: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"ok": module.turn(**turn)}
    except Exception as error:  # noqa: BLE001 - whatever a contender raises is its result
        traceback.print_exc()
        first: BaseException = error
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        return {"failed": f"{type(first).__name__}: {str(first).partition(chr(10))[0][:200]}"}


def main() -> None:
    """Take turns until standard input is closed."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    machine.pin(int(sys.argv[2]) if len(sys.argv) > 2 else None)
    module = import_module(sys.argv[1])
    print(READY, end="", file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(_turn(module, json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
