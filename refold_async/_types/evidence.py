"""What is known of one attempt to send a request: a value that the wire returns, and that nobody changes."""

from __future__ import annotations

import enum
import re
from typing import NamedTuple

_FIELDS: dict[bytes, re.Pattern[bytes]] = {}
"""How a field is found in a head, by its name. The library asks for three."""

HeaderPairs = tuple[tuple[bytes, bytes], ...]


class Cut(enum.Enum):
    """Why an attempt was ended before its response was complete."""

    CANCELLED = "cancelled"
    DEADLINE = "the deadline passed"
    CLOSED = "the client was closed"
    STOPPED = "the batch was stopped"


class Evidence(NamedTuple):
    """One attempt, as far as it went.

    :ivar status: the status, once it was seen. It decides, whatever happens later.
    :ivar head: the response's head: its bytes as received, or its header fields where they were parsed already.
    :ivar body: the bytes of the body that arrived, still compressed if the server compressed them.
    :ivar complete: whether the body arrived in full.
    :ivar written: whether any byte of the request was handed over; None where the wire cannot tell.
    :ivar error: the exception that ended the attempt.
    :ivar cut: why the attempt was ended from this side.
    :ivar reached: whether the attempt got as far as the wire. An attempt that did not is not counted.
    :ivar earlier: the attempts before this one that the same send made, such as the legs of an auth flow.
    """

    status: int | None = None
    head: bytes | HeaderPairs = b""
    body: bytes = b""
    complete: bool = False
    written: bool | None = False
    error: Exception | None = None
    cut: Cut | None = None
    reached: bool = True
    earlier: tuple[Evidence, ...] = ()

    @property
    def headers(self) -> HeaderPairs:
        """The header fields of the response in order, as they were received."""
        if not isinstance(self.head, bytes):
            return self.head
        lines = self.head.split(b"\r\n")[1:]
        return tuple(
            (name, value.strip(b" \t")) for name, colon, value in (ln.partition(b":") for ln in lines) if colon
        )

    def header(self, name: bytes) -> str | None:
        """Return a header field's value; the first one, where there are several. None if absent.

        :param name: in lower case.
        """
        head = self.head
        if isinstance(head, bytes):  # without making a tuple of all of them
            pattern = _FIELDS.get(name)
            if pattern is None:
                pattern = _FIELDS[name] = re.compile(rb"\r\n(?i:%b):[ \t]*([^\r\n]*)" % re.escape(name))
            found = pattern.search(head)
            return None if found is None else found[1].rstrip(b" \t").decode("utf-8", "replace")
        for key, value in head:
            if len(key) == len(name) and key.lower() == name:
                return value.decode("utf-8", "replace")
        return None

    @property
    def request_id(self) -> str | None:
        """The value of `X-Request-Id`, however that is spelled."""
        return self.header(b"x-request-id")

    def __repr__(self) -> str:  # neither head nor body: a server may echo the credential, and bodies are the customer's
        error = None if self.error is None else type(self.error).__name__
        return f"<Evidence status={self.status} written={self.written} complete={self.complete} error={error}>"


NOT_REACHED = Evidence(reached=False)
"""The evidence of an attempt that ended before it got to the wire."""
