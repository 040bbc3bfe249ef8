"""A credential: constant, or asked for before each attempt, and what is taken out of what a server echoes."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import pytest

from refold_async import ConfigurationError, RefoldError
from refold_async._core.credentials import Credential

Kind = Literal["api_key", "session_token"]


def made(kind: Kind, secret: Any, *, of: bool) -> Credential:
    if not of:
        return Credential(kind, secret)
    found = Credential.of(kind, secret)
    assert isinstance(found, Credential)
    return found


@pytest.mark.parametrize("of", [False, True])
@pytest.mark.parametrize("kind", ["api_key", "session_token"])
def test_a_constant_one_is_never_asked_for(kind: Kind, of: bool) -> None:
    credential = made(kind, "tk_12345678\n", of=of)
    asyncio.run(credential.refresh())
    assert (credential.rotates, credential.version) == (False, 1)
    assert credential.constant_key == ("tk_12345678" if kind == "api_key" else None)
    name, value = credential.header()
    assert (name, value) == (
        (b"x-api-key", b"tk_12345678") if kind == "api_key" else (b"Authorization", b"Bearer tk_12345678")
    )


@pytest.mark.parametrize("of", [False, True])
@pytest.mark.parametrize("is_async", [False, True])
def test_one_that_rotates_is_asked_for_each_time_and_the_old_values_are_redacted_too(of: bool, is_async: bool) -> None:
    values = iter(["first-secret", "first-secret", "other-secret", "", None, "with a space", 7])

    async def later() -> Any:
        return next(values)

    credential = made("api_key", later if is_async else lambda: next(values), of=of)
    assert (credential.rotates, credential.version, credential.constant_key) == (True, 0, None)
    for version in (1, 1, 2):
        asyncio.run(credential.refresh())
        assert credential.version == version
    assert credential.header() == (b"x-api-key", b"other-secret")
    echoed = b"you sent first-secret, then other-secret, not third-secret"
    assert credential.redact(echoed) == b"you sent [redacted], then [redacted], not third-secret"
    for _ in range(4):
        with pytest.raises((ConfigurationError, RefoldError)):
            asyncio.run(credential.refresh())
    assert credential.header() == (b"x-api-key", b"other-secret"), "the last that was good"
    assert "secret" not in repr(credential)


@pytest.mark.parametrize("value", ["", "  ", "a b", "ä", "a\nb", 7, None, b"bytes"])
def test_what_can_be_no_credential_is_refused_without_being_shown(value: Any) -> None:
    error = Credential.of("api_key", value, name="REFOLD_API_KEY")
    assert isinstance(error, ConfigurationError)
    assert str(error).startswith("REFOLD_API_KEY ")
    with pytest.raises(ConfigurationError, match="api_key "):
        Credential("api_key", value)


def test_words_too_short_for_a_secret_are_left_in_what_is_shown() -> None:
    assert Credential("api_key", "k").redact(b"a key") == b"a key"
