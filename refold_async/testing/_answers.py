"""Answers: their bytes, and the ways in which Refold's documentation spells errors."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Literal

from attrs import frozen

ErrorSpelling = Literal["documented", "v1", "v3", "mixed", "swapped"]

_REASONS = {status.value: status.phrase for status in HTTPStatus}
_JSON = "Content-Type: application/json; charset=utf-8"


@frozen
class Reply:
    """An answer before it is bytes.

    :ivar status: its status.
    :ivar body: its body.
    :ivar headers: beyond Date, Content-Type and Content-Length.
    """

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


def json_reply(document: Any, status: int = 200) -> Reply:
    """Make a JSON answer."""
    return Reply(status, json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode())


FIRED = Reply(200, b'{"message":"Webhook Fired Success"}')


class WallClock:
    """The time of day on the mock's own clock, so that a test which moves that clock moves both.

    :param clock: seconds, monotonic.
    :param skew: seconds by which the mock's time of day is ahead of this machine's.
    """

    def __init__(self, clock: Callable[[], float], skew: float = 0.0) -> None:
        self._clock = clock
        self._offset = time.time() + skew - clock()
        self._second = -1
        self._date = ""

    def at(self, moment: float) -> float:
        """Return the Unix time of a moment on the clock."""
        return moment + self._offset

    def date_header(self, moment: float | None = None) -> str:
        """Return the Date header of a moment on the clock, by default of this one. It is formatted once a second."""
        now = int((self._clock() if moment is None else moment) + self._offset)
        if now != self._second:
            self._second, self._date = now, f"Date: {formatdate(now, usegmt=True)}"
        return self._date


def render(reply: Reply, date: str) -> bytes:
    """Return the bytes of an answer."""
    lines = [f"HTTP/1.1 {reply.status} {_REASONS.get(reply.status, 'Status')}"]
    names = {name.lower() for name, _ in reply.headers}
    if "date" not in names:
        lines.append(date)
    if "content-type" not in names:
        lines.append(_JSON)
    lines += [f"{name}: {value}" for name, value in reply.headers]
    lines.append(f"Content-Length: {len(reply.body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + reply.body


_TYPES = {
    400: "BAD_REQUEST",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    409: "CONFLICT",
    413: "PAYLOAD_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    429: "TOO_MANY_REQUESTS",
    500: "INTERNAL_SERVER_ERROR",
}

_FIELDS = {
    "documented": ("http_error_type", "error"),
    "v1": ("error_type", "error_code"),
    "v3": ("http_error_type", "error"),
    "mixed": ("http_error_type", "error_code"),
    "swapped": ("http_error_type", "error_code"),
}


@frozen
class Errors:
    """Makes error answers in one of the spellings.

    The documentation has two pairs of field names, `error_type`/`error_code` and `http_error_type`/`error`, mixes them,
    and shows one answer with the two values swapped.

    :ivar spelling: "documented" for each answer as its page shows it; "v1" or "v3" for one pair in all of them;
        "mixed" for `http_error_type` with `error_code`; "swapped" for these with the two values exchanged. With "v1"
        the body has a `request_id`, too.
    """

    spelling: ErrorSpelling = "documented"

    def make(
        self,
        status: int,
        message: str,
        code: str | None = None,
        *,
        spelled: ErrorSpelling = "v3",
        kind: str | None = None,
    ) -> Reply:
        """Make an answer; `spelled` is how its page shows it."""
        spelling = spelled if self.spelling == "documented" else self.spelling
        kind = kind or _TYPES.get(status, "ERROR")
        body: dict[str, Any] = {"status_code": status}
        type_name, code_name = _FIELDS[spelling]
        if spelling == "swapped":
            kind, code = code or kind, kind
        body[type_name] = kind
        if code is not None:
            body[code_name] = code
        body["message"] = message
        if self.spelling == "v1":
            body["request_id"] = secrets.token_hex(8)
        return json_reply(body, status)
