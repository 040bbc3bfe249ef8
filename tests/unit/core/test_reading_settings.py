"""How settings are read: what is taken, what is refused, and which of two sources counts."""

from __future__ import annotations

import itertools
import math
from typing import Any

import httpx
import pytest

from refold_async import ConfigurationError
from refold_async._core.credentials import Credential
from refold_async._core.settings import Settings, Timeouts, find_credential, first_settings, to_deadline, to_timeouts


def parts(timeouts: Timeouts) -> tuple[float | None, ...]:
    return timeouts.connect, timeouts.write, timeouts.read, timeouts.pool


def test_without_a_setting_there_are_those_of_the_docs() -> None:
    settings = Settings()
    assert parts(settings.timeout) == (5, 5, 10, 5)
    assert (settings.deadline, settings.tag, settings.tag_field, settings.before_send) == (30, False, None, None)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (7, (7, 7, 7, 7)),
        (0.5, (0.5, 0.5, 0.5, 0.5)),
        (None, (None, None, None, None)),
        (httpx.Timeout(3, connect=1), (1, 3, 3, 3)),
        (httpx.Timeout(3, read=None), (3, 3, None, 3)),
        (httpx.Timeout(3, write=2, pool=4), (3, 2, 3, 4)),
    ],
)
def test_a_timeout_is_read_as_httpx_has_it(value: Any, read: tuple[float | None, ...]) -> None:
    timeouts = to_timeouts(value)
    assert parts(timeouts) == read
    assert to_timeouts(timeouts) is timeouts
    assert parts(Timeouts(*read)) == read
    assert Timeouts(*read).as_dict() == dict(zip(("connect", "write", "read", "pool"), read, strict=True))


BAD_SECONDS = [0, -1, math.inf, -math.inf, math.nan, True, False, "5", b"5", [], object()]


@pytest.mark.parametrize("value", [*BAD_SECONDS, httpx.Timeout(3, read=0), httpx.Timeout(3, pool=-1)])
def test_any_other_timeout_is_refused(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="timeout must be seconds above 0"):
        to_timeouts(value)


@pytest.mark.parametrize("value", BAD_SECONDS)
def test_a_deadline_is_seconds_above_zero_or_none(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="deadline must be seconds above 0"):
        to_deadline(value)
    assert [to_deadline(good) for good in (None, 1, 0.001)] == [None, 1.0, 0.001]


@pytest.mark.parametrize("value", ["token", "a b", None])
def test_a_field_for_the_tag_is_a_name(value: Any) -> None:
    assert Settings().changed({"tag_field": value}).tag_field == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tag_field", ""), ("tag_field", 7), ("tag_field", b"x"), ("tag", 1), ("tag", None), ("tag", "yes"),
        ("circuit_breaker", True), ("circuit_breaker", 5), ("before_send", "no"), ("retry", 3), ("retry", True),
        ("rate_limit", 20), ("rate_limit", object()),
    ],
)  # fmt: skip
def test_a_setting_of_another_kind_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=name):
        Settings().changed({name: value})


NAMES = ("api_key", "session_token", "REFOLD_API_KEY", "REFOLD_SESSION_TOKEN")


@pytest.mark.parametrize("given", list(itertools.product([False, True], repeat=4)))
def test_of_all_sources_of_a_credential_an_argument_counts_and_two_of_a_kind_are_an_error(
    given: tuple[bool, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = dict(zip(NAMES, given, strict=True))
    for name in NAMES[2:]:
        if values[name]:
            monkeypatch.setenv(name, "stored")
    found = find_credential("k" if given[0] else None, "t" if given[1] else None)
    if given[0] and given[1]:
        assert isinstance(found, ConfigurationError)
        assert "were both given" in str(found)
    elif given[0] or given[1]:
        assert isinstance(found, Credential)
        assert found.kind == ("api_key" if given[0] else "session_token")
    elif given[2] and given[3]:
        assert isinstance(found, ConfigurationError)
        assert "are both set" in str(found)
    elif given[2] or given[3]:
        assert isinstance(found, Credential)
        assert found.kind == ("api_key" if given[2] else "session_token")
    else:
        assert isinstance(found, ConfigurationError)
        assert "no credential" in str(found)


@pytest.mark.parametrize("account", [None, "stored", "other"])
@pytest.mark.parametrize("config", [None, "given"])
@pytest.mark.parametrize("is_stored", [False, True])
def test_the_stored_configuration_goes_with_the_stored_account_only(
    account: str | None, config: str | None, is_stored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFOLD_CONFIG_ID", "stored config")
    if is_stored:
        monkeypatch.setenv("REFOLD_LINKED_ACCOUNT_ID", "stored")
    settings = first_settings({"linked_account_id": account, "config_id": config})
    assert settings.linked_account_id == (account or ("stored" if is_stored else None))
    expected = config or (None if is_stored and account == "other" else "stored config")
    assert settings.config_id == expected
