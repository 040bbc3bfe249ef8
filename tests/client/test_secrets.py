"""No credential, header value or payload gets out: not by log, repr, error, pickle or chained cause."""

from __future__ import annotations

import logging
import pickle
import traceback
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from refold_async import CallbackError, ConfigurationError, RefoldClient, RefoldError
from refold_async._core.credentials import Credential
from refold_async.testing import Fault, MockRefold
from tests.fakes.server import serving
from tests.fakes.transport import FakeTransport
from tests.support import QUICK, timeout_for

pytestmark = pytest.mark.asyncio

KEY = "tk_SECRET_0123456789"
PAYLOAD = "PRIVATE-payload-value"
ACCOUNT = "acct_PRIVATE"


def chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    pending = [error]
    while pending:
        error = pending.pop()
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        yield error
        pending += [error.__cause__, error.__context__]


def spill(value: object, depth: int = 0, seen: set[int] | None = None) -> str:
    """Write out all that can be reached from a value by looking at it, as a debugger or an error tracker does."""
    seen = set() if seen is None else seen
    if depth > 6 or id(value) in seen or isinstance(value, type):
        return ""
    seen.add(id(value))
    shown = [repr(value), str(value)]
    if isinstance(value, httpx.Request | httpx.Response):
        shown += [repr(value.headers), repr(value.headers.raw), repr(value.extensions.get("trace"))]
    inside: list[object] = []
    if isinstance(value, dict):
        inside += [*value.keys(), *value.values()]
    elif isinstance(value, list | tuple | set | frozenset):
        inside += list(value)
    elif isinstance(value, BaseException | httpx.Request | httpx.Response | httpx.Headers):
        inside += list(vars(value).values())
    return "\n".join([*shown, *(spill(item, depth + 1, seen) for item in inside)])


def everything(error: RefoldError, caplog: pytest.LogCaptureFixture) -> str:
    """All that an error tracker might keep of a failed call."""
    parts = [caplog.text, "".join(traceback.format_exception(error))]
    for each in chain(error):
        parts += [spill(each), spill(each.args), spill(vars(each))]
        for name in ("request", "response"):
            try:
                parts.append(spill(getattr(each, name, None)))
            except RuntimeError:  # httpx: the request property has not been set
                continue
        if isinstance(each, RefoldError):
            parts.append(repr(pickle.dumps(each)))
    assert error.__traceback__ is not None
    inside = error.__traceback__.tb_next  # without the test's own frame, which has the key on purpose
    parts += traceback.TracebackException(type(error), error, inside, capture_locals=True).format()
    return "\n".join(parts)


@pytest.fixture(params=["owned", "http_client", "token", "callable"])
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    if request.param == "token":
        return {"session_token": KEY, "api_key": None}
    if request.param == "callable":
        return {"api_key": lambda: KEY}
    return {"api_key": KEY, "http_client": "make"} if request.param == "http_client" else {"api_key": KEY}


@pytest.mark.parametrize(
    "fault",
    [
        None,
        Fault.reset_before_reading(),
        Fault.stall_head(),
        Fault.garbage(),
        Fault.not_json(KEY.encode()),
        Fault.answer(400, body=b'{"message":"bad key ' + KEY.encode() + b'","request_id":"' + KEY.encode() + b'"}'),
        Fault.answer(302, headers={"Location": f"http://127.0.0.1:1/?{KEY}", "x-request-id": KEY}),
        Fault.answer(500, headers={"x-echo": KEY}),
    ],
    ids=lambda fault: fault.name if fault else "refused",
)
async def test_nothing_of_a_failed_call_shows_it(
    fault: Fault | None, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="refold_async")
    caplog.set_level(logging.DEBUG, logger="httpx")
    with MockRefold(rate_limit=None, api_key=KEY, session_token=KEY) as server:
        if fault is None:
            server.refuse()
        else:
            server.plan(lambda entry: fault)
        session = httpx.AsyncClient() if options.get("http_client") else None
        given = {**options, "http_client": session, "linked_account_id": ACCOUNT}
        async with server.client(rate_limit=None, retry=QUICK, timeout=timeout_for(fault), **given) as client:
            with pytest.raises(RefoldError) as caught:
                await client.trigger("pipedrive", "Deal Created", {"x": PAYLOAD})
            shown = everything(caught.value, caplog) + spill(client) + spill(client._sender.credential)
        if session is not None:
            await session.aclose()
    assert KEY not in shown
    assert PAYLOAD not in caplog.text
    assert ACCOUNT not in caplog.text


async def test_a_receipt_of_a_server_that_echoes_the_key() -> None:
    body = b'{"message":"hello ' + KEY.encode() + b'"}'
    answer = b"HTTP/1.1 200 OK\r\nx-request-id: " + KEY.encode() + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    async with serving(answer) as server:
        async with RefoldClient(api_key=KEY, linked_account_id="a", base_url=server.url) as client:
            receipt = await client.trigger("slack", "E")
    assert KEY not in f"{receipt!r} {receipt.raw!r} {receipt.message} {receipt.request_id}"
    assert receipt.message == "hello [redacted]"


async def test_a_hook_that_raises_for_status_keeps_no_key_in_its_error() -> None:
    async def raise_for_status(response: httpx.Response) -> None:
        response.raise_for_status()

    async with serving(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n") as server:
        async with httpx.AsyncClient(event_hooks={"response": [raise_for_status]}) as session:
            async with RefoldClient(
                api_key=KEY, linked_account_id="a", base_url=server.url, http_client=session
            ) as client:
                with pytest.raises(RefoldError) as caught:
                    await client.trigger("slack", "E")
    assert isinstance(caught.value.__cause__, httpx.HTTPStatusError)
    for request in (caught.value.__cause__.request, caught.value.__cause__.response.request):
        assert KEY not in spill(request)


async def test_a_credential_callable_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> str:
        raise KeyError("vault")

    transport = FakeTransport.answering(httpx.Response(200))
    seen = transport.requests
    for source, words in ((fail, "raised KeyError"), (lambda: "", "blank"), (lambda: f"{KEY}\n{KEY}", "pasted whole")):
        client = RefoldClient(api_key=source, linked_account_id="a", transport=transport, retry=QUICK)
        with pytest.raises((ConfigurationError, CallbackError), match=words) as caught:
            await client.trigger("slack", "E")
        assert KEY not in everything(caught.value, caplog).replace(__file__, "")
        await client.aclose()
    assert not seen


async def test_neither_client_nor_credential_pickles() -> None:
    client = RefoldClient(api_key=KEY, linked_account_id="a")
    for held in (client, client._sender.credential, Credential("api_key", KEY)):
        with pytest.raises(TypeError, match="does not pickle"):
            pickle.dumps(held)
        assert KEY not in repr(held)
    assert repr(client._sender.credential) == "<Credential api_key>"
    await client.aclose()
