"""Small pieces of sentences."""

from __future__ import annotations

import re
from typing import Final

_NO_CREDENTIAL: Final = "pass api_key= or session_token=, or set REFOLD_API_KEY"
_OPTIONS: Final = {
    _NO_CREDENTIAL: "set REFOLD_API_KEY or REFOLD_SESSION_TOKEN",
    "api_key": "REFOLD_API_KEY",
    "session_token": "REFOLD_SESSION_TOKEN",
    "linked_account_id": "--linked-account-id",
    "config_id": "--config-id",
    "instance_tag": "--instance-tag",
    "idempotency_key": "--idempotency-key",
    "base_url": "--base-url",
    "verify": "--cacert",
    "rate_limit": "--rate",
}
"""What the command line has for the arguments that messages of the library name."""

_ARGUMENT: Final = re.compile(
    "|".join([re.escape(_NO_CREDENTIAL), *(rf"(?<![\w.-]){name}(?:=|(?![\w=-]))" for name in list(_OPTIONS)[1:])])
)


def sentence(text: str) -> str:
    """Return a text with a full stop, unless it ends like a sentence."""
    return text if text.endswith(("?", ".")) else f"{text}."


def duration(seconds: float) -> str:
    """Return a time as people say it: 42 s, 3 min, 2 h 5 min."""
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def counted(number: int, one: str, more: str | None = None) -> str:
    """Return how many there are: 1 row, 2 rows."""
    return f"{number:,} {one if number == 1 else more or one + 's'}"


def spelled(name: str) -> str:
    """Return the name of a class as words: `ConnectTimeout` becomes `connect timeout`."""
    return "".join(f" {c.lower()}" if c.isupper() else c for c in name).strip()


def with_cause(error: BaseException) -> str:
    """Return what an error says, and what it came from where it does not say so itself."""
    said = str(error) or type(error).__name__
    root = error
    while (below := root.__cause__ or (None if root.__suppress_context__ else root.__context__)) is not None:
        root = below
    if isinstance(root, BaseExceptionGroup):
        root = root.exceptions[-1]
    cause = getattr(root, "strerror", None) or str(root) or spelled(type(root).__name__)
    return said if root is error or cause in said else f"{said} ({cause})"


def in_options(message: str) -> str:
    """Return a message of the library in terms of the command line: variables and options in place of arguments."""

    def option(found: re.Match[str]) -> str:
        is_given_a_value = found[0].endswith("=") and message[found.end() :][:1] not in ("", " ", ",", ";", ")", ".")
        return _OPTIONS[found[0].rstrip("=")] + " " * is_given_a_value

    return _ARGUMENT.sub(option, message)
