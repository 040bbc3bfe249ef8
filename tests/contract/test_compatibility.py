"""What hooks into httpx, for tests or for tracing, sees every request of a default client; and of a bare transport."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx
import vcr  # type: ignore[import-untyped]
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pytest_httpx import HTTPXMock

from refold_async import RefoldClient
from refold_async.testing import MockRefold
from tests.wire.conftest import needs_ours, on_asyncio
from tests.wire.wire import ONE_IDLE, State, make_wire, state_of

pytestmark = [pytest.mark.anyio, needs_ours, on_asyncio]

NOWHERE = "http://nowhere.test"
FIRED = {"message": "Webhook Fired Success"}
NO_CONNECTIONS = State(0, 0, 0, 0, 0)


class User:
    """Whoever sends: through our client, or through httpx with our transport."""

    def __init__(self, send: Callable[[int], Any], transport: Callable[[], Any], session: httpx.AsyncClient) -> None:
        self.fire = send
        self._transport = transport
        self.session = session

    @property
    def state(self) -> State:
        return state_of(self._transport())


Make = Callable[..., AbstractAsyncContextManager[User]]


@asynccontextmanager
async def refold_client(url: str, **options: Any) -> AsyncIterator[User]:
    credentials = {"api_key": "tk_mock_0000", "linked_account_id": "a", "rate_limit": None, "retry": None}
    async with RefoldClient(base_url=url, **{**credentials, **options}) as client:

        async def fire(number: int) -> None:
            await client.trigger("slack", "E", {"n": number})

        yield User(fire, lambda: client.session._transport, client.session)


@asynccontextmanager
async def bare_transport(url: str, **options: Any) -> AsyncIterator[User]:
    headers = {"x-api-key": "tk_mock_0000", "linked_account_id": "a"}
    transport = options.pop("transport", None) or make_wire()
    async with httpx.AsyncClient(transport=transport, base_url=url, headers=headers, **options) as session:

        async def fire(number: int) -> None:
            event = {"event": "E", "payload": {"n": number}}
            (await session.post("/api/v2/public/event/slack", json=event)).raise_for_status()

        yield User(fire, lambda: session._transport, session)


@pytest.fixture(params=[refold_client, bare_transport], ids=["client", "transport"])
def make_user(request: pytest.FixtureRequest) -> Any:
    return request.param


# Mocks: nothing reaches the network.


async def test_respx(make_user: Make) -> None:
    with respx.mock(base_url=NOWHERE) as router:
        route = router.post("/api/v2/public/event/slack").respond(json=FIRED)
        async with make_user(NOWHERE) as user:
            for number in range(3):
                await user.fire(number)
            assert user.state == NO_CONNECTIONS
        assert route.call_count == 3


async def test_respx_in_its_httpx_mode(make_user: Make) -> None:
    with respx.mock(base_url=NOWHERE, using="httpx") as router:
        route = router.post("/api/v2/public/event/slack").respond(json=FIRED)
        async with make_user(NOWHERE) as user:
            for number in range(3):
                await user.fire(number)
            assert user.state == NO_CONNECTIONS
        assert route.call_count == 3


async def test_respx_lets_pass_what_it_is_told_to(make_user: Make, server: MockRefold) -> None:
    with respx.mock() as router:
        route = router.post(url__startswith=server.url).pass_through()
        async with make_user(server.url) as user:
            await user.fire(1)
        assert route.called
    assert server.ledger.fired_count(n=1) == 1


async def test_pytest_httpx(make_user: Make, httpx_mock: HTTPXMock) -> None:
    for _ in range(3):
        httpx_mock.add_response(json=FIRED)
    async with make_user(NOWHERE) as user:
        for number in range(3):
            await user.fire(number)
        assert user.state == NO_CONNECTIONS
    assert len(httpx_mock.get_requests()) == 3


async def test_vcrpy_records_and_replays(make_user: Make, server: MockRefold, tmp_path: Path) -> None:
    recorder = vcr.VCR(cassette_library_dir=str(tmp_path), match_on=["method", "uri", "raw_body"])
    for _ in range(2):
        with recorder.use_cassette("tape.yaml") as cassette:
            async with make_user(server.url) as user:
                for number in range(3):
                    await user.fire(number)
    assert cassette.play_count == 3
    assert server.ledger.requests == 3, "the second time they came from the tape"
    assert (tmp_path / "tape.yaml").read_text().count("uri:") == 3


async def test_a_mock_transport(make_user: Make) -> None:
    seen: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.path)
        return httpx.Response(200, json=FIRED)

    async with make_user(NOWHERE, transport=httpx.MockTransport(handle)) as user:
        await user.fire(1)
    assert seen == ["/api/v2/public/event/slack"]


# Tracing: everything is seen, and runs on our wire.


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(spans: InMemorySpanExporter) -> TracerProvider:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return provider


@pytest.fixture
def instrumented(tracing: TracerProvider) -> Iterator[None]:
    HTTPXClientInstrumentor().instrument(tracer_provider=tracing)
    yield
    HTTPXClientInstrumentor().uninstrument()


@pytest.mark.usefixtures("instrumented")
async def test_opentelemetry_everywhere(make_user: Make, server: MockRefold, spans: InMemorySpanExporter) -> None:
    async with make_user(server.url) as user:
        for number in range(3):
            await user.fire(number)
        assert user.state == ONE_IDLE, "on our own wire, though traced"
    assert [span.name for span in spans.get_finished_spans()] == ["POST"] * 3
    assert all(entry.header("traceparent") for entry in server.ledger.entries)
    assert server.ledger.connections == 1


async def test_opentelemetry_for_one_client(
    make_user: Make, server: MockRefold, spans: InMemorySpanExporter, tracing: TracerProvider
) -> None:
    async with make_user(server.url) as user:
        await user.fire(0)
        HTTPXClientInstrumentor.instrument_client(user.session, tracer_provider=tracing)
        for number in range(1, 4):
            await user.fire(number)
        HTTPXClientInstrumentor.uninstrument_client(user.session)
        await user.fire(4)
        assert user.state == ONE_IDLE
    assert len(spans.get_finished_spans()) == 3
    assert [bool(entry.header("traceparent")) for entry in server.ledger.entries] == [False, True, True, True, False]
    assert server.ledger.connections == 1


async def test_opentelemetry_comes_and_goes(
    make_user: Make, server: MockRefold, spans: InMemorySpanExporter, tracing: TracerProvider
) -> None:
    async with make_user(server.url) as user:
        for number in range(3):
            await user.fire(number)
            HTTPXClientInstrumentor().instrument(tracer_provider=tracing)
            try:
                await user.fire(number + 100)
            finally:
                HTTPXClientInstrumentor().uninstrument()
        assert user.state == ONE_IDLE
    assert len(spans.get_finished_spans()) == 3
    assert server.ledger.connections == 1


@contextmanager
def wrapped(owner: Any, name: str, seen: list[str]) -> Iterator[None]:
    """Replace a method as tracers do: without a `functools.wraps`."""
    original = getattr(owner, name)

    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        seen.append(name)
        return await original(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, wrapper)
        yield


@pytest.mark.parametrize("name", ["send", "_send_single_request", "_send_handling_redirects", "_send_handling_auth"])
async def test_a_wrapper_around_the_client(make_user: Make, server: MockRefold, name: str) -> None:
    """As Sentry and ddtrace install it, and older versions of vcrpy."""
    seen: list[str] = []
    async with make_user(server.url) as user:
        await user.fire(0)
        with wrapped(httpx.AsyncClient, name, seen):
            for number in range(1, 4):
                await user.fire(number)
        await user.fire(4)
        assert user.state == ONE_IDLE, "on our own wire, though watched"
    assert len(seen) == 3
    assert server.ledger.connections == 1


@pytest.mark.parametrize("name", ["send", "_send_single_request"])
async def test_a_wrapper_around_one_client(make_user: Make, server: MockRefold, name: str) -> None:
    seen: list[str] = []
    async with make_user(server.url) as user:
        with wrapped(user.session, name, seen):
            for number in range(3):
                await user.fire(number)
        assert user.state == ONE_IDLE
    assert len(seen) == 3


async def test_a_wrapper_around_the_transport(make_user: Make, server: MockRefold) -> None:
    seen: list[str] = []
    async with make_user(server.url) as user:
        with wrapped(httpx.AsyncHTTPTransport, "handle_async_request", seen):
            for number in range(3):
                await user.fire(number)
        assert user.state == ONE_IDLE
    assert len(seen) == 3


async def test_hooks_of_the_session(make_user: Make, server: MockRefold) -> None:
    seen: list[str] = []

    async def on_request(request: httpx.Request) -> None:
        seen.append("request")

    async def on_response(response: httpx.Response) -> None:
        seen.append("response")

    async with make_user(server.url) as user:
        user.session.event_hooks = {"request": [on_request], "response": [on_response]}
        for number in range(2):
            await user.fire(number)
        assert user.state == ONE_IDLE
    assert seen == ["request", "response"] * 2


async def test_a_trace_of_the_users_own(server: MockRefold) -> None:
    """httpcore's events go to whoever asks for them, from stock httpx."""
    told: list[str] = []

    async def trace(name: str, info: dict[str, Any]) -> None:
        told.append(name)

    async def on_request(request: httpx.Request) -> None:
        request.extensions = {**request.extensions, "trace": trace}

    async with bare_transport(server.url) as user:
        user.session.event_hooks = {"request": [on_request]}
        await user.fire(1)
        assert user.state == NO_CONNECTIONS
    assert "http11.receive_response_headers.complete" in told
