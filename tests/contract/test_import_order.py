"""The same in fresh interpreters, where a tool is installed before or after our import."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from refold_async.testing import MockRefold
from tests.wire.conftest import needs_ours

pytestmark = needs_ours

INSTALL = {
    "opentelemetry": """
        from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        exporter, provider = InMemorySpanExporter(), TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        HTTPXClientInstrumentor().instrument(tracer_provider=provider)
        count = lambda: len(exporter.get_finished_spans())
    """,
    "send": """
        import httpx
        seen = []
        send = httpx.AsyncClient.send
        async def watched(self, *args, **kwargs):
            seen.append(self)
            return await send(self, *args, **kwargs)
        httpx.AsyncClient.send = watched
        count = lambda: len(seen)
    """,
    "transport": """
        import httpx
        seen = []
        handle = httpx.AsyncHTTPTransport.handle_async_request
        async def watched(self, request):
            seen.append(self)
            return await handle(self, request)
        httpx.AsyncHTTPTransport.handle_async_request = watched
        count = lambda: len(seen)
    """,
    "httpcore": """
        import httpcore
        seen = []
        handle = httpcore.AsyncConnectionPool.handle_async_request
        async def watched(self, request):
            seen.append(self)
            return await handle(self, request)
        httpcore.AsyncConnectionPool.handle_async_request = watched
        count = lambda: len(seen)
    """,
    "nothing": """
        count = lambda: 0
    """,
}
IMPORT = """
from refold_async import RefoldClient
from refold_async.transports import PoolTransport
"""
USE = """
import asyncio, sys
async def main():
    async with RefoldClient(base_url=sys.argv[1], api_key="tk_mock_0000", linked_account_id="a") as client:
        for number in range(3):
            await client.trigger("slack", "E", {"n": number})
        print(count(), client.session._transport.state.connections)
asyncio.run(main())
"""


@pytest.fixture(autouse=True)
def _nothing_is_left() -> None:
    """The work is done in other processes."""


@pytest.mark.parametrize("first", ["tool", "import"])
@pytest.mark.parametrize("tool", INSTALL)
def test_seen_whichever_comes_first(server: MockRefold, tool: str, first: str) -> None:
    parts = [textwrap.dedent(INSTALL[tool]), IMPORT]
    program = "".join([*(parts if first == "tool" else reversed(parts)), USE])
    done = subprocess.run(
        [sys.executable, "-c", program, server.url], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    seen, connections = map(int, done.stdout.split())
    assert seen == (0 if tool == "nothing" else 3)
    assert connections == (0 if tool == "httpcore" else 1), (
        "what replaces httpcore's pool gets the request; others watch"
    )
    assert server.ledger.fired_count() == 3
