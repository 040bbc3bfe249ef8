"""A credential stays out of sight in what goes wrong before, or besides, a call: constructors, proxies, rotations."""

from __future__ import annotations

import logging
import traceback
from typing import Any

import httpx
import pytest

from refold_async import RefoldClient, RefoldError
from refold_async.testing import Fault, MockRefold
from tests.client.test_secrets import everything, spill
from tests.fakes.server import Peer, serving
from tests.support import QUICK, ending

KEY = "tk_SECRET_0123456789"
PASSWORD = "PROXY-password-42"


def frames(error: BaseException) -> str:
    """All that an error tracker shows of the frames that are not the test's own."""
    shown: list[str] = []
    for each in (error, error.__cause__, error.__context__):
        if each is None:
            continue
        tb = each.__traceback__
        while tb is not None and tb.tb_frame.f_code.co_filename == __file__:
            tb = tb.tb_next
        shown += traceback.TracebackException(type(each), each, tb, capture_locals=True).format()
    return "".join(shown)


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_url": "ftp://x"},
        {"max_connections": 0},
        {"timeout": "soon"},
        {"retry": 3},
        {"linked_account_id": "a\nb"},
        {"extra_headers": {"x-api-key": "1"}},
        {"proxy": "gopher://x"},
        {"verify": "/no/such/file"},
        {"transport": 3},
        {"session_token": KEY},
        {"deadline": -1},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
@pytest.mark.parametrize("kind", ["api_key", "session_token"])
def test_a_constructor_that_fails_shows_no_credential_in_its_frames(kind: str, wrong: dict[str, Any]) -> None:
    given = {"linked_account_id": "a", **({"api_key": KEY} if "session_token" in wrong else {kind: KEY}), **wrong}
    with pytest.raises((RefoldError, ValueError, TypeError, AttributeError, OSError)) as caught:
        RefoldClient(**given)
    assert KEY not in frames(caught.value)


@pytest.mark.parametrize("value", [f"{KEY}\n{KEY}", f"{KEY} ", f"\x00{KEY}", f"{KEY}\u20ac", KEY.encode()])
def test_a_credential_that_no_header_can_carry_is_refused_without_being_shown(value: Any) -> None:
    with pytest.raises((RefoldError, ValueError, TypeError, AttributeError, OSError)) as caught:
        RefoldClient(api_key=value, linked_account_id="a")
    assert KEY not in frames(caught.value) + spill(caught.value)


@pytest.mark.asyncio
@pytest.mark.parametrize("wrong", ["api_key", "proxy", "verify", "base_url"])
async def test_the_repr_of_a_half_built_client_neither_raises_nor_tells(wrong: str) -> None:
    bare = object.__new__(RefoldClient)
    assert "RefoldClient" in repr(bare)
    given: dict[str, Any] = {"api_key": KEY, "linked_account_id": "a", wrong: 3}
    half_built: list[RefoldClient] = []

    class Watched(RefoldClient):
        def __init__(self, **options: Any) -> None:
            half_built.append(self)
            super().__init__(**options)

    with pytest.raises((RefoldError, ValueError, TypeError, AttributeError, OSError)):
        Watched(**given)
    assert KEY not in repr(half_built[0]) + str(half_built[0])


def rotating(*keys: str) -> Any:
    """A credential that is another one at each attempt, and stays at the last."""
    left = list(keys)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


OLD, NEW = "tk_OLD_SECRET_0123456789", "tk_NEW_SECRET_0123456789"


@pytest.mark.asyncio
async def test_a_rotated_key_that_the_server_echoes_later_is_redacted(caplog: pytest.LogCaptureFixture) -> None:
    """The first attempt goes out with the old key; the second's answer tells of it, as a proxy's log page might."""
    caplog.set_level(logging.DEBUG, logger="refold_async")
    echo = f'{{"message":"was {OLD}, is {NEW}","request_id":"{OLD}"}}'.encode()
    refusal = (
        b"HTTP/1.1 400 Bad Request\r\nx-request-id: " + OLD.encode() + b"\r\nContent-Length: %d\r\n\r\n" % len(echo)
    )

    async def answer(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 425 Too Early\r\nContent-Length: 0\r\n\r\n")
        await peer.request()
        await peer.send(refusal + echo)

    async with serving(answer) as server:
        async with RefoldClient(
            api_key=rotating(OLD, NEW), linked_account_id="a", base_url=server.url, rate_limit=None, retry=QUICK
        ) as client:
            got = await ending(client.trigger("slack", "E"))
            assert isinstance(got, RefoldError)
            assert (got.attempts, "was" in str(got)) == (2, True)
            shown = everything(got, caplog)
    assert OLD not in shown
    assert NEW not in shown


@pytest.mark.asyncio
async def test_a_key_of_an_earlier_call_that_the_server_echoes_is_redacted_in_a_receipt() -> None:
    body = f'{{"message":"was {OLD}, is {NEW}"}}'.encode()
    answer = b"HTTP/1.1 200 OK\r\nx-request-id: " + OLD.encode() + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    async with serving(answer) as server:
        async with RefoldClient(
            api_key=rotating(OLD, NEW), linked_account_id="a", base_url=server.url, rate_limit=None
        ) as client:
            await client.trigger("slack", "E")
            receipt = await client.trigger("slack", "E")
    shown = f"{receipt!r} {receipt.raw!r} {receipt.message} {receipt.request_id}"
    assert OLD not in shown
    assert NEW not in shown


@pytest.mark.asyncio
async def test_a_key_that_was_sent_and_comes_back_while_another_call_fetches_the_next_is_redacted(
    server: MockRefold, caplog: pytest.LogCaptureFixture
) -> None:
    """Two calls: the second has fetched a new key by the time the first one's echo is read."""
    echo = f'{{"message":"bad key {OLD}"}}'.encode()
    server.next(Fault.answer(400, body=echo), Fault.answer(400, body=echo))
    async with server.client(api_key=rotating(OLD, NEW), rate_limit=None) as client:
        import asyncio

        errors = await asyncio.gather(*(ending(client.trigger("slack", "E", {"n": n})) for n in range(2)))
    for error in errors:
        assert OLD not in f"{error!r} {error}"


@pytest.mark.asyncio
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("given", ["argument", "object", "environment"])
async def test_a_proxys_password_is_shown_nowhere(
    given: str, scheme: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
    async with serving(refusal) as proxy:
        url = proxy.url.replace("://", f"://user:{PASSWORD}@")
        options: dict[str, Any] = {}
        if given == "environment":
            monkeypatch.setenv(f"{scheme.upper()}_PROXY", url)
        else:
            options["proxy"] = url if given == "argument" else httpx.Proxy(url)
        async with RefoldClient(
            api_key=KEY, linked_account_id="a", base_url=f"{scheme}://refold.test", retry=None, **options
        ) as client:
            got = await ending(client.trigger("slack", "E"))
            shown = frames(got) + spill(got) + caplog.text + repr(client)  # type: ignore[arg-type]
    import base64

    basic = base64.b64encode(f"user:{PASSWORD}".encode()).decode()
    for secret in (KEY, PASSWORD, basic):
        assert secret not in shown
