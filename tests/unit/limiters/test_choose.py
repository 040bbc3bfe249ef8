"""Which limiter a client has, by its setting and the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from refold_async import ConfigurationError, RateLimit
from refold_async.limiters import (
    MemoryRateLimiter,
    PriorityRateLimiter,
    SQLiteRateLimiter,
    default_name,
    limiter_for_client,
    limiter_from_environment,
)


def chosen(*setting: object, name: str | None = "digest") -> tuple[PriorityRateLimiter | None, bool]:
    return limiter_for_client(*setting, longest_pause=None, default_name=name)  # type: ignore[arg-type]


def test_without_a_setting_it_is_the_documented_limit_and_none_is_off() -> None:
    limiter, is_owned = chosen()
    assert isinstance(limiter, MemoryRateLimiter)
    assert (limiter.limit, is_owned) == (RateLimit(20, 5), False)
    assert chosen(None) == (None, False)


def test_a_limiter_that_was_given_stays_its_givers() -> None:
    given = MemoryRateLimiter(RateLimit(3))
    assert chosen(given) == (given, False)


def test_the_variable_makes_a_limiter_that_is_closed_with_the_client(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REFOLD_RATE_LIMIT", f"sqlite:///{tmp_path}/limit.db")
    limiter, is_owned = chosen()
    assert isinstance(limiter, SQLiteRateLimiter)
    assert is_owned
    assert limiter.name == "digest"
    assert chosen(RateLimit(5))[1] is False, "what is given goes before the environment"
    with pytest.raises(ConfigurationError, match="name="):
        chosen(name=None)
    monkeypatch.setenv("REFOLD_RATE_LIMIT_NAME", "crm")
    named, _ = chosen(name=None)
    assert isinstance(named, SQLiteRateLimiter)
    assert named.name == "crm"


@pytest.mark.parametrize("url", ["mysql://u:s3cret@h", "redis://u:s3cret@h:x", "s3cret"])
def test_a_bad_variable_is_named_and_its_value_not_shown(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFOLD_RATE_LIMIT", url)
    with pytest.raises(ConfigurationError, match="REFOLD_RATE_LIMIT: ") as caught:
        limiter_from_environment()
    assert "s3cret" not in str(caught.value)
    monkeypatch.setenv("REFOLD_RATE_LIMIT", "")
    assert limiter_from_environment() is None


@pytest.mark.parametrize(("longest", "pause"), [(None, 60.0), (5.0, 5.0), (3600.0, 60.0)])
def test_no_setting_of_retries_lengthens_the_longest_pause(longest: float | None, pause: float) -> None:
    limiter, _ = limiter_for_client(RateLimit(), longest_pause=longest, default_name="k")
    assert isinstance(limiter, MemoryRateLimiter)
    assert limiter._pacer._max_pause == pause


def test_the_default_name_tells_keys_and_hosts_apart_and_nothing_about_the_key() -> None:
    names = {default_name(url, key) for url in ("https://a", "https://b") for key in ("tk_1", "tk_2")}
    assert len(names) == 4
    assert all(len(name) == 16 and "tk_" not in name for name in names)
