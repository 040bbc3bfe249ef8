"""From a payload to the bytes of a JSON document, or to an error that names the culprit."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from types import CoroutineType
from typing import Any

from .._types.errors import CallbackError, InvalidTriggerError
from .._types.values import JSONEncoder

MAX_BODY_BYTES = 3_000_000
"""Refold caps one execution's input at about 3 MB."""

_MAX_DEPTH = 200
_CONTAINERS = (dict, list, tuple)
_SCALARS = frozenset({str, int, float, bool, type(None)})

_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _make_chunks() -> Callable[[object, int], Iterable[str]]:
    """Return what encodes a document in pieces.

    `JSONEncoder.encode` makes its C encoder again each time; this one is made once, where the interpreter has the one
    that is known. It does not look for loops: what is checked before has none.
    """
    internals: Any = json.encoder
    try:
        encode: Callable[[object, int], Iterable[str]] = internals.c_make_encoder(
            None, _encoder.default, internals.encode_basestring, None, ":", ",", False, False, False
        )
    except (AttributeError, TypeError):
        return lambda document, _: (_encoder.encode(document),)
    return encode


_chunks = _make_chunks()


_prefixes: dict[str, str] = {}
"""By event: the document up to its payload. Most calls fire one of a few events."""

_PREFIXES_REMEMBERED = 1024
_PAYLOAD = ',"payload":'


def encode_body(event: str, payload: Mapping[str, Any] | None, encoder: JSONEncoder | None) -> bytes:
    """Encode the request's body; the payload is left out when it is None.

    :raises InvalidTriggerError: naming the path of what cannot be sent.
    :raises CallbackError: when the encoder raised, or returned anything but bytes.
    """
    if encoder is None:
        if payload is not None and not isinstance(payload, dict):
            raise InvalidTriggerError(f"payload must be a JSON object (a dict) or None, not {type(payload).__name__}")
        try:
            prefix = _prefixes.get(event)
            if prefix is None:
                prefix = _make_prefix(event)
            if payload is None:
                body = f"{prefix.removesuffix(_PAYLOAD)}}}".encode()
            else:
                _check_keys(payload, 1)
                body = f"{prefix}{''.join(_chunks(payload, 0))}}}".encode()
        except (TypeError, ValueError, RecursionError) as error:
            problem = _find_problem(payload, "payload", 0) or _surrogate(event, "event")
            raise InvalidTriggerError(f"{problem or 'payload is not JSON'}; JSON cannot hold it") from error
    else:
        check_payload(payload)
        document: dict[str, Any] = {"event": event}
        if payload is not None:
            document["payload"] = payload
        body = _encode_with(encoder, document)
    if len(body) > MAX_BODY_BYTES:
        raise InvalidTriggerError(
            f"the body is {len(body):,} bytes and Refold takes at most {MAX_BODY_BYTES:,}: "
            "send a reference to the data instead of the data"
        )
    return body


def encode_event(event: str) -> bytes:
    """Encode an event's name as text.

    :raises InvalidTriggerError: for what UTF-8 cannot hold.
    """
    try:
        return event.encode()
    except UnicodeEncodeError as error:
        raise InvalidTriggerError(f"{_surrogate(event, 'event')}; JSON cannot hold it") from error


def encode_payload(payload: Mapping[str, Any], encoder: JSONEncoder | None) -> bytes:
    """Encode a payload by itself, as forms carry it.

    :raises InvalidTriggerError: naming the path of what cannot be sent.
    :raises CallbackError: when the encoder raised, or returned anything but bytes.
    """
    check_payload(payload)
    if encoder is not None:
        return _encode_with(encoder, payload)
    if not isinstance(payload, dict):
        raise InvalidTriggerError(f"payload must be a JSON object (a dict) or None, not {type(payload).__name__}")
    try:
        _check_keys(payload, 1)
        return "".join(_chunks(payload, 0)).encode()
    except (TypeError, ValueError, RecursionError) as error:
        problem = _find_problem(payload, "payload", 0)
        raise InvalidTriggerError(f"{problem or 'payload is not JSON'}; JSON cannot hold it") from error


def check_payload(payload: object) -> None:
    """Refuse a payload that is not a mapping, before an encoder of the caller's own sees it.

    :raises InvalidTriggerError: naming the type found.
    """
    if payload is not None and not isinstance(payload, Mapping):
        raise InvalidTriggerError(f"payload must be a JSON object (a dict) or None, not {type(payload).__name__}")


def _make_prefix(event: str) -> str:
    """Return the document up to its payload, and remember it."""
    prefix = "".join(_chunks({"event": event}, 0))[:-1] + _PAYLOAD
    if len(_prefixes) >= _PREFIXES_REMEMBERED:
        _prefixes.clear()
    _prefixes[event] = prefix
    return prefix


def _encode_with(encoder: JSONEncoder, document: Mapping[str, Any]) -> bytes:
    body: Any  # whatever an encoder of the caller's own returns
    try:
        body = encoder(document)
    except Exception as error:
        raise CallbackError(f"json_encoder raised {type(error).__name__} on this payload; nothing was sent") from error
    if not isinstance(body, bytes):
        if type(body) is CoroutineType:
            body.close()  # else Python warns that it was never awaited, whenever it is collected
        raise CallbackError(f"json_encoder must return bytes, not {type(body).__name__}: encode the text as UTF-8")
    return body


def _check_keys(value: Any, depth: int) -> None:
    """Refuse a key that is not a string: json would quietly turn 1 and None into "1" and "null".

    :raises TypeError: for such a key; `RecursionError` for what is nested too deep, or holds itself.
    """
    if depth > _MAX_DEPTH:
        raise RecursionError
    if isinstance(value, dict):
        "".join(value)  # looks at every key in C
        value = value.values()
    for item in value:
        if type(item) not in _SCALARS and isinstance(item, _CONTAINERS):  # the set alone answers for most
            _check_keys(item, depth + 1)


def _find_problem(value: Any, path: str, depth: int) -> str | None:
    if depth > _MAX_DEPTH:
        return f"{path[:80]}… is nested deeper than {_MAX_DEPTH} levels, or holds itself"
    if value is None or isinstance(value, bool | int):
        return None
    if isinstance(value, str):
        return _surrogate(value, path)
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{path} is {value!r}"
    if isinstance(value, dict):
        return _find_in_object(value, path, depth)
    if isinstance(value, list | tuple):
        found = (_find_problem(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value))
        return next((problem for problem in found if problem), None)
    return f"{path} is a {type(value).__name__}"


def _find_in_object(value: dict[Any, Any], path: str, depth: int) -> str | None:
    for key, item in value.items():
        if not isinstance(key, str):
            return f"{path} has a key that is a {type(key).__name__}, not a string"
        problem = _surrogate(key, f"a key of {path}") or _find_problem(item, f"{path}.{key}", depth + 1)
        if problem:
            return problem
    return None


def _surrogate(text: str, path: str) -> str | None:
    try:
        text.encode()
    except UnicodeEncodeError:
        return f"{path} holds half of a surrogate pair"
    return None
