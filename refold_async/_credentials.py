"""The API key or session token: validated, rotated if it is a callable, and kept out of sight."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable
from typing import Literal, NoReturn

from ._types.errors import ConfigurationError

Secret = str | Callable[[], str] | Callable[[], Awaitable[str]]

_VISIBLE = re.compile(r"[\x21-\x7e]+")


class Credential:
    """What proves to Refold who is calling. It shows in no repr and does not pickle.

    :param kind: `api_key` or `session_token`.
    :param secret: the value, or a callable, sync or async, that is asked for it before each attempt.
    :raises ConfigurationError: for a value that cannot be a credential.
    """

    __slots__ = ("_known", "_source", "kind")

    def __init__(self, kind: Literal["api_key", "session_token"], secret: Secret) -> None:
        self.kind = kind
        self._source: Callable[[], str | Awaitable[str]] | None = None
        self._known: str | None = None
        if callable(secret):
            self._source = secret
            return
        problem = self._keep(secret)
        if problem is not None:
            del secret
            raise ConfigurationError(f"{kind} {problem}")

    @property
    def known(self) -> str | None:
        """The secret as it was last used, to blot it out of what a server says."""
        return self._known

    @property
    def rotates(self) -> bool:
        """Whether it has to be asked for before each attempt."""
        return self._source is not None

    def header(self) -> tuple[str, str]:
        """Give the header that carries the credential, as it was given or last asked for."""
        assert self._known is not None
        if self.kind == "api_key":
            return "x-api-key", self._known
        return "Authorization", f"Bearer {self._known}"

    async def ask(self) -> None:
        """Ask for it anew, if it rotates.

        :raises ConfigurationError: when the callable fails or gives what cannot be a credential.
        """
        if self._source is None:
            return
        try:
            value = self._source()
            if inspect.isawaitable(value):
                value = await value
        except Exception as error:
            raise ConfigurationError(
                f"the callable given as {self.kind}= raised {type(error).__name__}; nothing was sent"
            ) from error
        problem = self._keep(value)
        del value
        if problem is not None:
            raise ConfigurationError(f"{self.kind} {problem}")

    def _keep(self, value: object) -> str | None:
        """Keep the value if it can be a credential; if not, say why. What raises must not have it as a local."""
        if not isinstance(value, str):
            return f"must be a str, or a callable that gives one, not {type(value).__name__}"
        value = value.strip()
        if not value:
            return "is blank: pass the one from the Refold console"
        if not _VISIBLE.fullmatch(value):
            return "holds characters that no Refold credential has: was it pasted whole?"
        self._known = value
        return None

    def __repr__(self) -> str:
        return f"<Credential {self.kind}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Credential does not pickle, so that it cannot leak: make the client anew where it is needed")
