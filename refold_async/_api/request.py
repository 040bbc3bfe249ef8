"""A request as bytes and as header fields, the same for both wires."""

from __future__ import annotations

from typing import Any, Protocol

import httpx

from .address import Address

Pairs = tuple[tuple[bytes, bytes], ...]

_JOINED_BYTES = 65_536
"""A body up to this is sent together with the head; a longer one is not worth the copy."""


class CredentialSource(Protocol):
    """The credential as a header field; `version` changes when it does."""

    version: int
    kind: Any

    def header(self) -> tuple[bytes, bytes]: ...


class RequestHead:
    """The part of a request that all requests to one slug for one account have in common, formatted once.

    The formatted bytes hold the credential, and are made again when that has changed.

    :ivar account: the header fields that name the account; they come last.
    """

    __slots__ = (
        "_address",
        "_base",
        "_credential",
        "_pairs",
        "_target",
        "_text",
        "_url",
        "_version",
        "account",
        "method",
    )

    def __init__(
        self, method: str, address: Address, target: bytes, pairs: Pairs, credential: CredentialSource
    ) -> None:
        self.method = method
        self._address = address
        self._target = target
        self._pairs = pairs
        self._credential = credential
        self._base = self
        self.account: Pairs = ()
        self._text = b""
        self._version = -1
        self._url: httpx.URL | None = None

    def for_account(self, account: Pairs) -> RequestHead:
        """Return this head, which names no account, with one. The rest is not formatted again."""
        head = RequestHead(self.method, self._address, self._target, self._pairs, self._credential)
        head._base = self
        head.account = account
        return head

    @property
    def url(self) -> httpx.URL:
        """The URL, for httpx."""
        if self._url is None:
            self._url = self._address.join(self._target)
        return self._url

    def text(self) -> bytes:
        """Return the bytes up to the header fields that vary."""
        version = self._credential.version
        if self._version != version:
            if self._base is self:
                lines = [b"%b %b HTTP/1.1\r\n" % (self.method.encode(), self._target)]
                lines += [b"%b: %b\r\n" % pair for pair in self.pairs(with_credential=True)]
                text = b"".join(lines)
                # Each value was checked when it was given; this holds whatever was forgotten there.
                assert text.count(b"\n") == text.count(b"\r") == len(lines)
            else:
                text = self._base.text() + lines_of(self.account)
            self._text = text
            self._version = version
        return self._text

    def pairs(self, *, with_credential: bool) -> list[tuple[bytes, bytes]]:
        """Return the same header fields one by one."""
        credential = [self._credential.header()] if with_credential else []
        return [(b"Host", self._address.host.encode("ascii")), *self._pairs, *credential, *self.account]

    def __repr__(self) -> str:
        return f"<RequestHead {self.method} {self._target.decode('ascii')}>"


def lines_of(fields: Pairs) -> bytes:
    """Format header fields."""
    text = b""
    for pair in fields:  # one or two: a list of them would cost more
        text += b"%b: %b\r\n" % pair
    assert text.count(b"\n") == text.count(b"\r") == len(fields)  # each value was checked when it was given
    return text


class EncodedRequest:
    """A request, ready to be sent, any number of times. Its repr shows neither credential nor body.

    :ivar body: the body's bytes.
    :ivar rest: the body, if it is too long to be part of `first`.
    :ivar key: the idempotency key that goes with it, if any.
    :ivar is_key_minted: whether that key was minted for this request, and is not the caller's.
    :ivar account: the end customer, as resolved; `config` and `instance_tag` too.
    :ivar token: the token that was minted for it, if any.
    """

    __slots__ = (
        "_extra",
        "_head",
        "account",
        "body",
        "config",
        "instance_tag",
        "is_key_minted",
        "key",
        "rest",
        "token",
    )

    def __init__(self, head: RequestHead, extra: Pairs, body: bytes) -> None:
        self._head = head
        self._extra = extra
        self.body = body
        self.rest = body if len(body) > _JOINED_BYTES else None
        self.key: str | None = None
        self.is_key_minted = False
        self.account: str | None = None
        self.config: str | None = None
        self.instance_tag: str | None = None
        self.token: str | None = None

    @property
    def method(self) -> str:
        """The method."""
        return self._head.method

    @property
    def url(self) -> httpx.URL:
        """The URL."""
        return self._head.url

    def first(self) -> bytes:
        """Return the head, with the body if that is short."""
        head, body = self._head, self.body
        length = len(body)
        if length > _JOINED_BYTES:
            body = b""
        if self._extra:
            extra = lines_of(self._extra)
        elif not length and head.method == "GET":
            return head.text() + b"\r\n"
        else:
            extra = b""
        return b"%b%bContent-Length: %d\r\n\r\n%b" % (head.text(), extra, length, body)

    def header_pairs(self, *, with_credential: bool) -> list[tuple[bytes, bytes]]:
        """Return the header fields in the order in which they are sent."""
        pairs = [*self._head.pairs(with_credential=with_credential), *self._extra]
        if self.body or self._head.method != "GET":
            pairs.append((b"Content-Length", b"%d" % len(self.body)))
        return pairs

    def __repr__(self) -> str:
        return f"<EncodedRequest {self._head!r}>"
