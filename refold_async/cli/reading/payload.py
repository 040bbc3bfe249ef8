"""The payload of one event, as it is named on the command line."""

from __future__ import annotations

import codecs
from typing import Any

from .decode import BAD_BYTES, Decoder
from .input import LONGEST_LINE, Input, InputError
from .json_values import SPACE, kind_of, parse_json
from .problems import RowError


def read_payload(text: str | None) -> dict[str, Any] | None:
    """Return the payload: a JSON object, as it was typed, or in a file for `@FILE`, or on standard input for `-`.

    :raises InputError: when it cannot be read, or is not a JSON object.
    """
    if text is None:
        return None
    name = "PAYLOAD"
    if text == "-" or text.startswith("@"):
        name, text = _read("-" if text == "-" else text[1:])
    try:
        found = parse_json(text.removeprefix(codecs.BOM_UTF8.decode()).strip(SPACE))
    except RowError as error:
        advice = "" if name != "PAYLOAD" else ". For a file, write @FILE; for standard input, -"
        raise InputError(f"{name} is {error}{advice}") from error
    if not isinstance(found, dict):
        raise InputError(f'payload must be a JSON object, as in {{"deal": 1}}, and {name} is {kind_of(found)}')
    return found


def _read(path: str) -> tuple[str, str]:
    if not path:
        raise InputError("PAYLOAD is @ without a file: write @FILE")
    source = Input.open(path, "Write @FILE for a file, and - for standard input")
    try:
        text = ""
        for piece in Decoder(source.read, None, source.name).pieces():
            text += piece
            if len(text) > LONGEST_LINE:
                raise InputError(
                    f"{source.name} is longer than {LONGEST_LINE // 1024 // 1024} MiB, and Refold takes 3 MB"
                )
    except OSError as error:
        raise InputError(f"reading {source.name} failed: {error.strerror}") from error
    finally:
        source.close()
    if BAD_BYTES in text:
        raise InputError(f"{source.name} is not UTF-8: save it as UTF-8")
    return source.name, text
