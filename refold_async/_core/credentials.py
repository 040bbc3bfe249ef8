"""The API key or session token: validated, rotated if it is a callable, and kept out of sight."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Literal, NoReturn

from .._types.errors import ConfigurationError
from .usercode import call_async

Secret = str | Callable[[], str] | Callable[[], Awaitable[str]]

_SHORTEST_SECRET = 8

REMEMBERED = 8
"""Earlier values of a rotating credential that are still redacted, should a server echo them."""


def _no_secret() -> str:
    raise NotImplementedError


class Credential:
    """Proves to Refold who is calling. It shows in no repr and does not pickle.

    :param kind: `api_key` or `session_token`.
    :param secret: the value, or a callable, sync or async, that returns it before each attempt.
    :raises ConfigurationError: for a value that cannot be a credential.
    :ivar version: counts up with each new value.
    """

    __slots__ = ("_last_value", "_recent", "_source", "kind", "version")

    def __init__(self, kind: Literal["api_key", "session_token"], secret: Secret) -> None:
        self.kind = kind
        self.version = 0
        self._source: Callable[[], str | Awaitable[str]] | None = None
        self._last_value: str | None = None
        self._recent: deque[bytes] = deque(maxlen=REMEMBERED)
        if callable(secret):
            self._source = secret
            return
        problem = self._keep(secret)
        del secret
        if problem is not None:
            raise ConfigurationError(f"{kind} {problem}")

    @classmethod
    def of(
        cls, kind: Literal["api_key", "session_token"], secret: Secret, *, name: str | None = None
    ) -> Credential | ConfigurationError:
        """Make a credential, or return why it cannot be one: no frame that holds the value is in the traceback.

        :param name: what the error calls it; `kind` if left out.
        """
        made = cls(kind, _no_secret)
        made._source = secret if callable(secret) else None
        problem = None if callable(secret) else made._keep(secret)
        return made if problem is None else ConfigurationError(f"{name or kind} {problem}")

    @property
    def constant_key(self) -> str | None:
        """The API key, if it never changes; a shared limit is named after it."""
        return self._last_value if self.kind == "api_key" and self._source is None else None

    @property
    def rotates(self) -> bool:
        """Whether it has to be asked for before each attempt."""
        return self._source is not None

    def header(self) -> tuple[bytes, bytes]:
        """Return the header field that carries the credential, with the value that was used last."""
        assert self._last_value is not None
        if self.kind == "api_key":
            return b"x-api-key", self._last_value.encode("ascii")
        return b"Authorization", b"Bearer " + self._last_value.encode("ascii")

    async def refresh(self) -> None:
        """Ask for the current value, if it rotates.

        :raises CallbackError: when the callable fails or returns what cannot be a credential.
        """
        if self._source is None:
            return
        # Not a local variable: a traceback that prints those would show the value.
        problem = self._keep(await call_async(f"the callable given as {self.kind}=", self._source))
        if problem is not None:
            raise ConfigurationError(f"{self.kind} {problem}")

    def redact(self, text: bytes) -> bytes:
        """Replace the credential, and recent values of it, where a server echoed them."""
        for secret in self._recent:
            if text.find(secret) >= 0:  # `in` raises and catches a TypeError first, in case it were a number
                text = text.replace(secret, b"[redacted]")
        return text

    def _keep(self, value: object) -> str | None:
        """Keep the value if it can be a credential; if not, return why. What raises must not have it as a local."""
        if not isinstance(value, str):
            return f"must be a str, or a callable that returns one, not {type(value).__name__}"
        if not value.strip():
            return "is blank: pass the one from the Refold console"
        value = value.strip("\r\n")  # of a file that holds it
        if not value.isascii() or not value.isprintable() or " " in value:
            return "holds characters that no Refold credential has: was it pasted whole?"
        if value != self._last_value:
            self._last_value = value
            self.version += 1
            # Made-up ones, as in tests, may be parts of plain words.
            if len(value) >= _SHORTEST_SECRET and value.encode() not in self._recent:
                self._recent.append(value.encode())
        return None

    def __repr__(self) -> str:
        return f"<Credential {self.kind}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a Credential does not pickle, so that it cannot leak: make the client again where it is needed"
        )
