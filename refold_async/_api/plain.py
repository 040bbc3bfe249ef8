"""Requests for the rest of Refold's API: a method and a path, checked so that they reach nothing else."""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote, urlencode

from .._types.errors import InvalidRequestError, InvalidTriggerError
from .._types.values import RESERVED_HEADERS, is_header_name
from .address import Address
from .constants import COMMON_HEADERS, JSON_TYPE
from .encode import MAX_BODY_BYTES
from .headers import header_value
from .request import CredentialSource, EncodedRequest, Pairs, RequestHead

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

_PATH = re.compile(r"/api/[A-Za-z0-9\-._~!$&'()*+,;=:@%/]+")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_FIRES = re.compile(
    r"/api/v\d+/(?:(?:public/)?event(?:/.*)?|webhook/.+|(?:.*/)?(?:execute|rerun))/?", re.IGNORECASE | re.DOTALL
)
"""Paths that start workflows, also those of Refold's older versions."""


class Repeat(enum.Enum):
    """When a request may be made again after an attempt that did not succeed."""

    FREELY = "always: it reads, or doing it twice is the same as once"
    UNWRITTEN = "only while nothing of it was written"
    AS_TRIGGER = "where it surely did nothing, as triggers are"


class PlainRequest:
    """A request that is not a trigger's, checked.

    :param method: one of `METHODS`.
    :param path: the path from `/api/` on, quoted.
    :param params: what stands behind the question mark.
    :param document: what goes into the body as JSON; `...` for no body.
    :param headers: further header fields.
    :param repeat: when it may be made again; by default GET freely, and others while nothing was written.
    :param may_fire: whether the path may be one that starts workflows.
    :param is_of_account: whether the linked account is named in it.
    :raises InvalidRequestError: for what could reach another place, or cannot be sent.
    """

    __slots__ = ("body", "headers", "is_of_account", "method", "path", "query", "repeat")

    def __init__(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        document: Any = ...,
        headers: Mapping[str, str] | None = None,
        repeat: Repeat | None = None,
        may_fire: bool = False,
        is_of_account: bool = True,
    ) -> None:
        if not isinstance(method, str) or method.upper() not in METHODS:
            raise InvalidRequestError(f"method must be one of {', '.join(METHODS)}, not {method!r}")
        self.method = method.upper()
        plain = check_path(path)
        self.path = path
        if not may_fire and _FIRES.fullmatch(plain):
            raise InvalidRequestError(
                f"{path} starts workflows, which request() does not: use trigger(), trigger_all() or "
                "executions.rerun(), which tell whether it may have fired"
            )
        self.query = _encode_query(params)
        self.headers = _check_headers(headers)
        self.body = None if document is ... else _encode_document(document)
        if self.body is not None and self.method == "GET":
            raise InvalidRequestError("a GET request has no body: pass params=")
        self.repeat = repeat or (Repeat.FREELY if self.method == "GET" else Repeat.UNWRITTEN)
        self.is_of_account = is_of_account

    @property
    def is_read(self) -> bool:
        """Whether it changes nothing."""
        return self.method == "GET"

    def encode(
        self,
        address: Address,
        credential: CredentialSource,
        extra_headers: Pairs,
        account: str | None,
        config: str | None,
    ) -> EncodedRequest:
        """Return the request, ready to be sent any number of times.

        :param extra_headers: those of the client; the request's own replace them by name.
        """
        own = {name.lower() for name, _ in self.headers}
        extra = tuple(pair for pair in extra_headers if pair[0].lower() not in own)
        given = own | {name.lower() for name, _ in extra}
        common = tuple(pair for pair in COMMON_HEADERS if pair[0].lower() not in given)
        ids = ((b"linked_account_id", account), (b"config_id", config)) if self.is_of_account else ()
        named = tuple((name, header_value(name.decode(), value)) for name, value in ids if value is not None)
        types = () if self.body is None else (JSON_TYPE,)
        target = address.target(self.path) + (b"?" + self.query if self.query else b"")
        head = RequestHead(self.method, address, target, (*common, *extra, *types, *named, *self.headers), credential)
        request = EncodedRequest(head, (), self.body or b"")
        request.account = account
        request.config = config
        return request

    def __repr__(self) -> str:
        return f"<PlainRequest {self.method} {self.path}>"


def segment(value: object, name: str) -> str:
    """Quote an id as one segment of a path.

    :param name: what it is called in an error.
    :raises InvalidRequestError: for what is not text, is blank, or could name another path.
    """
    if not isinstance(value, str) or not value.strip():
        raise InvalidRequestError(f"{name} must be a text that is not blank, not {value!r}")
    try:
        quoted = quote(value, safe="")
        check_path(f"/api/{quoted}")
    except (InvalidRequestError, UnicodeEncodeError):
        raise InvalidRequestError(f"{name} {value!r} cannot stand in a path") from None
    return quoted


def check_path(path: object) -> str:
    """Refuse a path that could leave Refold's API, or be read differently by a proxy on the way.

    Returns it as it reads once nothing in it is quoted any more.

    :raises InvalidRequestError: saying why.
    """
    if not isinstance(path, str) or not path.startswith("/api/"):
        raise InvalidRequestError(f"path must begin with /api/, and without the host, not {path!r}")
    if not _PATH.fullmatch(path) or _BROKEN_ESCAPE.search(path):
        raise InvalidRequestError(
            f"path {path!r} holds what no path can: quote ids with urllib.parse.quote(id, safe=''), and pass a query "
            "as params="
        )
    plain = path.removesuffix("/")
    while (decoded := unquote(plain)) != plain:  # however often it was quoted: a proxy may undo more than one
        plain = decoded
    if _CONTROL.search(plain) or any(part.strip() in ("", ".", "..") for part in re.split(r"[/\\]", plain[1:])):
        raise InvalidRequestError(f"path {path!r} has a segment that is blank, '.' or '..', or a control character")
    return plain.replace("\\", "/")


def _encode_query(params: Mapping[str, Any] | None) -> bytes:
    if params is None:
        return b""
    if not isinstance(params, Mapping):
        raise InvalidRequestError(f"params must be a mapping of names to values, not {type(params).__name__}")
    pairs: list[tuple[str, str]] = []
    for name, value in params.items():
        if not isinstance(name, str) or not name:
            raise InvalidRequestError(f"params holds {name!r}, which is not a name")
        values = value if isinstance(value, list | tuple) else (value,)
        pairs += [(name, _query_value(name, each)) for each in values if each is not None]
    try:
        return urlencode(pairs, quote_via=quote, safe="").encode("ascii")
    except UnicodeEncodeError:
        raise InvalidRequestError("params holds half of a surrogate pair, which no URL can") from None


def _query_value(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise InvalidRequestError(f"params[{name!r}] must be a text, a number, True, False or None, or a list of them")


def _check_headers(headers: Mapping[str, str] | None) -> Pairs:
    if headers is None:
        return ()
    if not isinstance(headers, Mapping):
        raise InvalidRequestError(f"headers must be a mapping of names to values, not {type(headers).__name__}")
    checked: list[tuple[bytes, bytes]] = []
    for name, value in headers.items():
        if not is_header_name(name):
            raise InvalidRequestError(f"headers holds {name!r}, which is not a valid header name")
        if name.lower() in RESERVED_HEADERS:
            raise InvalidRequestError(f"headers may not set {name!r}: the client sets that header itself")
        try:
            checked.append((name.encode("ascii"), header_value(f"headers[{name!r}]", value)))
        except InvalidTriggerError as error:
            raise InvalidRequestError(str(error)) from None
    return tuple(checked)


def _encode_document(document: Any) -> bytes:
    try:
        body = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequestError(f"json cannot be sent: {error}") from None
    if len(body) > MAX_BODY_BYTES:
        raise InvalidRequestError(f"the body is {len(body):,} bytes and Refold takes at most {MAX_BODY_BYTES:,}")
    return body
