"""The bodies of requests: JSON, and forms with files."""

from __future__ import annotations

import json
import re
from typing import Any

from attrs import field, frozen


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


# NaN and Infinity: Python's json takes them, Node's does not.
_scan = json.JSONDecoder(parse_constant=_refuse_constant).scan_once  # type: ignore[attr-defined]
_NOT_SPACE = re.compile(r"[^ \t\n\r]")


def parse_json(body: bytes) -> Any:
    """Return the document, None where it is not JSON."""
    try:
        text = body.decode()
        document, end = _scan(text, 0)
    except (ValueError, StopIteration):
        return _parse_slowly(body)
    except RecursionError:
        return None
    return None if end != len(text) and _NOT_SPACE.search(text, end) else document


def _parse_slowly(body: bytes) -> Any:
    """Parse what begins with white space or is in another encoding of Unicode."""
    try:
        return json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None


@frozen
class UploadedFile:
    """A file of a multipart request.

    :ivar name: the file's name as sent.
    :ivar content_type: as sent; None where the part has none.
    :ivar data: its bytes.
    """

    name: str
    content_type: str | None
    data: bytes = field(repr=False)


def parse_body(content_type: str, body: bytes) -> tuple[Any, dict[str, UploadedFile]]:
    """Parse a form: returns its event and payload as JSON would hold them, and its files.

    It is strict where a sender may be wrong: a body that does not follow the boundary, or a payload that is not JSON,
    gives None in place of the document.
    """
    boundary = _parameter(content_type, "boundary")
    parts = None if boundary is None else _split(b"--" + boundary.encode("latin-1"), body)
    if parts is None:
        return None, {}
    document: dict[str, Any] = {}
    files: dict[str, UploadedFile] = {}
    for head, data in parts:
        disposition = _header(head, "content-disposition") or ""
        name, file_name = _parameter(disposition, "name"), _parameter(disposition, "filename")
        if name is None:
            return None, {}
        if file_name is not None:
            files[name] = UploadedFile(file_name, _header(head, "content-type"), data)
        elif name == "payload":
            document[name] = parse_json(data)
            if document[name] is None and data.strip() != b"null":
                return None, {}
        else:
            document[name] = data.decode("utf-8", "replace")
    return document, files


def _split(delimiter: bytes, body: bytes) -> list[tuple[str, bytes]] | None:
    """Split a form into its parts, each a head and its data; None where it does not follow the delimiter."""
    opening, *parts = (b"\r\n" + body).split(b"\r\n" + delimiter)
    if opening or not parts or not parts[-1].startswith(b"--"):
        return None
    split = []
    for part in parts[:-1]:
        head, separator, data = part.partition(b"\r\n\r\n")
        if not separator or not head.startswith(b"\r\n"):
            return None
        split.append((head.decode("utf-8", "replace"), data))
    return split


def _header(head: str, name: str) -> str | None:
    for line in head.split("\r\n"):
        key, _, value = line.partition(":")
        if key.strip().lower() == name:
            return value.strip()
    return None


def _parameter(value: str, name: str) -> str | None:
    """Return a parameter of a header's value, unescaped: backslashes as in HTTP, and browsers' %22, %0D and %0A."""
    match = re.search(rf';\s*{name}=(?:"((?:[^"\\]|\\.)*)"|([^;\s]+))', value, re.IGNORECASE)
    if match is None:
        return None
    if match[1] is None:
        return match[2]
    plain = re.sub(r'\\(["\\])', r"\1", match[1])
    return plain.replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")
