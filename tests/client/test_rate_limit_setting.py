"""The rate limit that a client shares because the environment says so."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from refold_async import ClientClosedError, ConfigurationError, RefoldClient, SQLiteRateLimiter
from refold_async.testing import MockRefold

pytestmark = pytest.mark.asyncio


def names(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    try:
        return [name for (name,) in connection.execute("SELECT name FROM refold_rate_limit")]
    finally:
        connection.close()


async def test_the_variable_shares_the_limit_of_a_key_and_ends_with_the_client(
    server: MockRefold, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "limit.db"
    monkeypatch.setenv("REFOLD_RATE_LIMIT", f"sqlite:///{path}")
    settings = {"api_key": server.api_key, "base_url": server.url, "linked_account_id": "a"}
    for _ in range(2):
        async with RefoldClient(**settings) as client:  # type: ignore[arg-type]
            await client.trigger("slack", "E")
            await client.for_account("b").trigger("slack", "E")
            limiter = client._sender.limiter
        assert isinstance(limiter, SQLiteRateLimiter)
        with pytest.raises(ClientClosedError):
            await limiter.reserve()
    assert len(names(path)) == 1
    assert server.ledger.requests == 4
    async with RefoldClient(**settings, rate_limit=None) as client:  # type: ignore[arg-type]
        assert client._sender.limiter is None


async def test_a_limiter_that_was_given_is_named_by_the_client_and_left_open(
    server: MockRefold, tmp_path: Path
) -> None:
    limiter = SQLiteRateLimiter(tmp_path / "limit.db")
    async with server.client(rate_limit=limiter) as client:
        await client.trigger("slack", "E")
    (await limiter.reserve()).dropped()
    await limiter.aclose()
    assert server.api_key not in repr(limiter)


@pytest.mark.parametrize("how", ["token", "callable"])
async def test_without_a_constant_key_the_limit_needs_a_name(
    server: MockRefold, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setenv("REFOLD_RATE_LIMIT", f"sqlite:///{tmp_path}/limit.db")
    credential = {"session_token": "t"} if how == "token" else {"api_key": lambda: server.api_key}
    with pytest.raises(ConfigurationError, match="name="):
        RefoldClient(**credential, base_url=server.url)
    monkeypatch.setenv("REFOLD_RATE_LIMIT_NAME", "crm")
    async with RefoldClient(**credential, base_url=server.url, linked_account_id="a"):
        pass


async def test_a_bad_variable_names_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFOLD_RATE_LIMIT", "mysql://u:s3cret@h")
    with pytest.raises(ConfigurationError, match="REFOLD_RATE_LIMIT: ") as caught:
        RefoldClient(api_key="k", linked_account_id="a")
    assert "s3cret" not in str(caught.value)
