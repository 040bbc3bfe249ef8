"""The files of a trigger: checked, read once, and put with the event into one multipart body."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .._types.errors import InvalidTriggerError
from .._types.values import JSONEncoder
from .encode import MAX_BODY_BYTES, encode_event, encode_payload

_TAKEN = frozenset({"event", "trigger", "payload"})
_UNQUOTABLE = re.compile(r'[\x00-\x1f\x7f"\\\ud800-\udfff]')
_CONTENT_TYPE = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+/[!#$%&'*+\-.^_`|~0-9A-Za-z]+( *;[ -~]*)?")


class Part(NamedTuple):
    """A file as it is sent, whatever happens to the one on the disk.

    :ivar field: the name that it has in the payload.
    """

    field: str
    name: str
    content_type: str
    data: bytes


def read_files(files: object) -> tuple[Part, ...]:
    """Check the files and read those that are paths. Blocks: call it in a thread.

    :raises InvalidTriggerError: for what cannot be sent, or could not be read.
    """
    if not isinstance(files, Mapping):
        raise InvalidTriggerError(f"files must be a mapping of names to files, or None, not {type(files).__name__}")
    parts: list[Part] = []
    left = MAX_BODY_BYTES
    for name, value in files.items():
        _check_field(name)
        if any(part.field == name for part in parts):
            raise InvalidTriggerError(f"files has {name!r} twice: one file for each name")
        part = _read(name, value, left)
        left -= len(part.data)
        if left < 0:
            raise InvalidTriggerError(
                f"files are more than {MAX_BODY_BYTES:,} bytes in all, which is what Refold takes: send a reference"
            )
        parts.append(part)
    return tuple(parts)


def encode_multipart(
    event: str, payload: Mapping[str, Any] | None, parts: tuple[Part, ...], encoder: JSONEncoder | None
) -> tuple[tuple[bytes, bytes], bytes]:
    """Return the content type and the body.

    :raises InvalidTriggerError: naming what cannot be sent.
    :raises CallbackError: when the encoder raised, or returned anything but bytes.
    """
    texts = [(b"event", encode_event(event))]
    if payload is not None:
        texts.append((b"payload", encode_payload(payload, encoder)))
        for part in parts:
            if part.field in payload:
                raise InvalidTriggerError(
                    f"files[{part.field!r}] would replace payload.{part.field}: Refold puts files into the payload"
                )
    boundary = b"refold-" + os.urandom(16).hex().encode()
    lines: list[bytes] = []
    for name, text in texts:
        lines.append(b'--%b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (boundary, name, text))
    lines.extend(
        b'--%b\r\nContent-Disposition: form-data; name="%b"; filename="%b"\r\nContent-Type: %b\r\n\r\n%b\r\n'
        % (boundary, part.field.encode(), part.name.encode(), part.content_type.encode(), part.data)
        for part in parts
    )
    body = b"".join(lines) + b"--%b--\r\n" % boundary
    if len(body) > MAX_BODY_BYTES:
        raise InvalidTriggerError(
            f"the body is {len(body):,} bytes with its files, and Refold takes at most {MAX_BODY_BYTES:,}: "
            "send a reference to the data instead of the data"
        )
    return (b"Content-Type", b"multipart/form-data; boundary=" + boundary), body


def _check_field(name: object) -> None:
    if not isinstance(name, str) or not name or name != name.strip() or _UNQUOTABLE.search(name):
        raise InvalidTriggerError(
            f"files has the name {name!r}: it must be a string without quotes, backslashes, control characters, or "
            "white space at its ends"
        )
    if name in _TAKEN:
        raise InvalidTriggerError(f"files has the name {name!r}, which the request uses for itself: choose another")


def _read(field: str, value: object, left: int) -> Part:
    content_type: object = None
    name: object = field
    if isinstance(value, bytes):
        data: object = value
    elif isinstance(value, str | os.PathLike):
        path = Path(value)
        name = path.name
        data = _read_path(field, path, left)
    elif isinstance(value, tuple) and len(value) in (2, 3):
        name, data = value[:2]
        content_type = value[2] if len(value) == 3 else None
    else:
        raise InvalidTriggerError(
            f"files[{field!r}] must be bytes, (name, bytes), (name, bytes, type) or a path, not {type(value).__name__}"
        )
    if not isinstance(data, bytes):
        raise InvalidTriggerError(f"files[{field!r}] must hold bytes, not {type(data).__name__}: read it first")
    if not isinstance(name, str) or not name.strip() or _UNQUOTABLE.search(name):
        raise InvalidTriggerError(
            f"files[{field!r}] has the file name {name!r}: it must be a string that is not blank, without quotes, "
            "backslashes or control characters"
        )
    if content_type is None:
        content_type = _guess_type(name)
    if not isinstance(content_type, str) or not _CONTENT_TYPE.fullmatch(content_type):
        raise InvalidTriggerError(f"files[{field!r}] has the content type {content_type!r}: write it as in 'text/csv'")
    return Part(field, name, content_type, data)


def _read_path(field: str, path: Path, left: int) -> bytes:
    try:
        # A pipe or a terminal could keep the thread for ever.
        if not stat.S_ISREG(path.stat().st_mode):
            raise InvalidTriggerError(f"files[{field!r}]: {str(path)!r} is not a regular file")
        with path.open("rb") as file:
            return file.read(max(left, 0) + 1)  # one more, to tell that it is too long
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InvalidTriggerError(f"files[{field!r}]: {str(path)!r} could not be read: {reason}") from error


def _guess_type(name: str) -> str:
    import mimetypes  # reads the system's tables; few calls need it

    guessed, encoding = mimetypes.guess_type("file:" + name.rpartition("/")[2])
    return guessed if guessed is not None and encoding is None else "application/octet-stream"
