"""Settings: from arguments and environment, with a cure in every refusal."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest

from refold_async import ConfigurationError, Idempotency, RateLimit, RefoldClient, RetryPolicy
from refold_async._api.address import find_address
from refold_async.limiters import MemoryRateLimiter, RateLimiter


def refused(**options: Any) -> str:
    options = {"api_key": "tk_1", **options}
    with pytest.raises(ConfigurationError) as caught:
        RefoldClient(**options)
    return str(caught.value)


def test_no_credential() -> None:
    assert "REFOLD_API_KEY" in refused(api_key=None)


def test_two_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "both given" in refused(session_token="st")
    monkeypatch.setenv("REFOLD_API_KEY", "a")
    monkeypatch.setenv("REFOLD_SESSION_TOKEN", "b")
    assert "both set" in refused(api_key=None)


@pytest.mark.parametrize("value", ["", "  ", "a b", "a\nb", "é", "a\x00", 7, b"bytes"])
def test_credentials_that_cannot_be_one(value: Any) -> None:
    message = refused(api_key=value)
    assert "api_key" in message
    assert "session_token" in refused(api_key=None, session_token=value)


def test_a_blank_variable_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFOLD_API_KEY", " ")
    assert "blank" in refused(api_key=None)


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFOLD_API_KEY", "tk_env")
    monkeypatch.setenv("REFOLD_BASE_URL", "https://eu.example/refold/")
    monkeypatch.setenv("REFOLD_LINKED_ACCOUNT_ID", "acct")
    monkeypatch.setenv("REFOLD_CONFIG_ID", "cfg")
    client = RefoldClient()
    assert str(client.session.base_url) == "https://eu.example/refold/"
    assert (client._sender.settings.linked_account_id, client._sender.settings.config_id) == ("acct", "cfg")
    other = RefoldClient(linked_account_id="other")
    assert (other._sender.settings.linked_account_id, other._sender.settings.config_id) == ("other", None)
    mine = RefoldClient(config_id="mine")
    assert (mine._sender.settings.linked_account_id, mine._sender.settings.config_id) == ("acct", "mine")
    same = RefoldClient(linked_account_id="acct")
    assert same._sender.settings.config_id == "cfg"
    assert RefoldClient(session_token="st")._sender.credential.kind == "session_token", "explicit beats the environment"


@pytest.mark.parametrize(
    "url",
    ["app.refold.ai", "ftp://app.refold.ai", "https://", "https://u:p@host", "https://host?x=1", "https://host#x", 7, "http://[",
     "https://ho st"],
)  # fmt: skip
def test_base_urls_that_cannot_be(url: Any) -> None:
    assert "base_url" in refused(base_url=url)


def test_the_default_base_url() -> None:
    assert str(find_address(None).url) == "https://app.refold.ai/"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"timeout": 0}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"timeout": "5"}, "timeout"),
        ({"deadline": -1}, "deadline"),
        ({"deadline": float("inf")}, "deadline"),
        ({"retry": 3}, "retry must be a RetryPolicy"),
        ({"rate_limit": 20}, "rate_limit must be a RateLimit"),
        ({"idempotency": "Idempotency-Key"}, "idempotency must be an Idempotency"),
        ({"json_encoder": "orjson"}, "json_encoder"),
        ({"max_connections": 0}, "max_connections"),
        ({"max_connections": True}, "max_connections"),
        ({"max_connections": 1.5}, "max_connections"),
        ({"hooks": ["x"]}, "hooks= takes plain callables"),
        ({"extra_headers": {"x y": "1"}}, "not a valid header name"),
        ({"extra_headers": {"X-Api-Key": "1"}}, "the client sets that header itself"),
        ({"extra_headers": {"Content-Length": "1"}}, "the client sets that header itself"),
        ({"extra_headers": {"X-A": "1\r\nX-B: 2"}}, "control character"),
        ({"linked_account_id": ""}, "linked_account_id"),
        ({"config_id": "a\nb"}, "config_id"),
        ({"transport": object()}, "transport must be an httpx.AsyncBaseTransport"),
        ({"http_client": object()}, "http_client must be an httpx.AsyncClient"),
        ({"verify": "/no/such/file.pem"}, "verify"),
    ],
)
def test_settings_that_make_no_sense(options: dict[str, Any], words: str) -> None:
    assert words in refused(**options)


def test_an_async_hook_is_refused() -> None:
    async def hook(event: object) -> None: ...

    assert "hooks= takes plain callables" in refused(hooks=[hook])


@pytest.mark.asyncio
async def test_http_client_brings_its_own_wire() -> None:
    async with httpx.AsyncClient() as session:
        for more in ({"transport": httpx.AsyncHTTPTransport()}, {"proxy": "http://127.0.0.1:1"}, {"verify": False}):
            assert "http_client brings its own" in refused(http_client=session, **more)


def test_verify_takes_a_file(tmp_path: Path) -> None:
    import trustme

    path = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    RefoldClient(api_key="k", verify=str(path))
    RefoldClient(api_key="k", verify=ssl.create_default_context())
    RefoldClient(api_key="k", verify=False)


def test_with_options_checks_and_shares() -> None:
    client = RefoldClient(api_key="tk_1", linked_account_id="a", config_id="c")
    with pytest.raises(ConfigurationError, match="cannot change api_key"):
        client.with_options(api_key="tk_2")  # type: ignore[call-arg]
    with pytest.raises(ConfigurationError, match="deadline"):
        client.with_options(deadline=-1)
    with pytest.raises(ConfigurationError, match="linked account"):
        client.for_account(None)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="linked_account_id"):
        client.for_account("a\nb")
    view = client.with_options(retry=None, rate_limit=RateLimit(5, 1), hooks=[print], extra_headers={"X-A": "1"})
    assert view.session is client.session
    assert view._sender.limiter is not client._sender.limiter
    assert client.with_options(deadline=None)._sender.limiter is client._sender.limiter
    assert (view._sender.settings.linked_account_id, view._sender.settings.config_id) == ("a", "c")
    assert client.with_options(config_id="d")._sender.settings.config_id == "d"


def test_a_limiter_can_be_shared() -> None:
    limiter = MemoryRateLimiter(RateLimit(5, 1))
    assert isinstance(limiter, RateLimiter)
    first, second = (RefoldClient(api_key="k", rate_limit=limiter) for _ in range(2))
    assert first._sender.limiter is second._sender.limiter is limiter


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: RateLimit(0), "rate"),
        (lambda: RateLimit(float("inf")), "rate"),
        (lambda: RateLimit(20, 0), "burst"),
        (lambda: Idempotency(), "either header= or payload_field="),
        (lambda: Idempotency(header="a", payload_field="b"), "either header= or payload_field="),
        (lambda: Idempotency(header="x y"), "name of an HTTP header"),
        (lambda: Idempotency(header="x-api-key"), "another meaning"),
        (lambda: Idempotency(payload_field=""), "payload_field"),
        (lambda: Idempotency(header="a", window=0), "window"),
        (lambda: RetryPolicy(max_attempts=0), "max_attempts"),
        (lambda: RetryPolicy(base_delay=-1), "base_delay"),
        (lambda: RetryPolicy(max_retry_after=-1), "max_retry_after"),
    ],
)
def test_values_that_make_no_sense(make: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()
    with pytest.raises(TypeError, match="burst"):
        RateLimit(20, 2.5)  # type: ignore[arg-type]
