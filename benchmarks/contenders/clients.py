"""The other clients, each as its documentation says: one session for all calls, JSON out, JSON in, failures raised.

All keep as many connections alive as everybody. Timeouts are each client's own defaults, unless a measurement sets one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from ..contender import PATH, Event, Fire, Target, contender


def _timeout(target: Target) -> dict[str, Any]:
    return {} if target.timeout is None else {"timeout": target.timeout}


@contender("aiohttp", "aiohttp")
async def aiohttp(target: Target) -> AsyncIterator[Fire]:
    """`raise_for_status` is its own switch. It never retries a POST."""
    import aiohttp as module

    options: dict[str, Any] = {}
    if target.timeout is not None:
        options["timeout"] = module.ClientTimeout(sock_connect=target.timeout, sock_read=target.timeout)
    connector = module.TCPConnector(limit=target.connections, ssl=target.verify)
    async with module.ClientSession(
        connector=connector, headers=target.headers, raise_for_status=True, **options
    ) as session:

        async def fire(event: Event) -> object:
            async with session.post(target.address(event), json=event.body) as response:
                return await response.json()

        yield fire


@contender("pyreqwest", "pyreqwest")
async def pyreqwest(target: Target) -> AsyncIterator[Fire]:
    """The fastest Rust-backed client on the package index. Its work happens in a thread, whose CPU counts too."""
    from pyreqwest.client import ClientBuilder

    builder = ClientBuilder().max_connections(target.connections).pool_max_idle_per_host(target.connections)
    builder = builder.default_headers(target.headers).error_for_status(enable=True)
    if target.ca is not None:
        builder = builder.add_root_certificate_pem(target.ca.encode())
    if target.timeout is not None:
        builder = builder.timeout(timedelta(seconds=target.timeout))
    async with builder.build() as client:

        async def fire(event: Event) -> object:
            response = await client.post(target.address(event)).body_json(event.body).build().send()
            return await response.json()

        yield fire


def _httpx_options(target: Target) -> dict[str, Any]:
    import httpx as module

    limits = module.Limits(max_connections=target.connections, max_keepalive_connections=target.connections)
    return {"headers": target.headers, "limits": limits, "verify": target.verify, **_timeout(target)}


def _posting(client: Any, target: Target) -> Fire:
    async def fire(event: Event) -> object:
        response = await client.post(target.address(event), json=event.body)
        response.raise_for_status()
        return response.json()

    return fire


@contender("httpx", "httpx", "httpcore")
async def httpx(target: Target) -> AsyncIterator[Fire]:
    """The retries that it offers are of failures to connect only, which the faults have none of."""
    import httpx as module

    async with module.AsyncClient(**_httpx_options(target)) as client:
        yield _posting(client, target)


@contender("httpx2", "httpx2", "httpcore2")
async def httpx2(target: Target) -> AsyncIterator[Fire]:
    """The maintained fork of httpx."""
    import httpx2 as module

    limits = module.Limits(max_connections=target.connections, max_keepalive_connections=target.connections)
    options = {"headers": target.headers, "limits": limits, "verify": target.verify, **_timeout(target)}
    async with module.AsyncClient(**options) as client:
        yield _posting(client, target)


@contender("httpx-retries", "httpx-retries", "httpx")
async def httpx_retries(target: Target) -> AsyncIterator[Fire]:
    """The settings of the first example in its documentation, with POST added to the methods that it retries."""
    import httpx as module
    from httpx_retries import Retry, RetryTransport

    options = _httpx_options(target)
    wire = module.AsyncHTTPTransport(limits=options["limits"], verify=options["verify"])
    retry = Retry(total=5, backoff_factor=0.5, allowed_methods=[*Retry.RETRYABLE_METHODS, "POST"])
    async with module.AsyncClient(**options, transport=RetryTransport(transport=wire, retry=retry)) as client:
        yield _posting(client, target)


@contender("openai", "openai", "httpx2")
async def openai(target: Target) -> AsyncIterator[Fire]:
    """A modern SDK's generic `post`. Two retries, POST included, are its default.

    It makes a key for each call, but sends it only where a header is configured for it, and none is.
    """
    import httpx2 as wire
    import openai as module

    limits = wire.Limits(max_connections=target.connections, max_keepalive_connections=target.connections)
    async with module.AsyncOpenAI(
        api_key=target.api_key,
        base_url=target.url,
        default_headers=target.headers,
        http_client=module.DefaultAsyncHttpxClient(limits=limits, verify=target.verify),
        **_timeout(target),
    ) as client:

        async def fire(event: Event) -> object:
            return await client.post(PATH + event.slug, body=event.body, cast_to=object)

        yield fire


@contender("stripe", "stripe", "httpx")
async def stripe(target: Target) -> AsyncIterator[Fire]:
    """With the two retries of its older, global way of calling, and the same `Idempotency-Key` on every attempt."""
    import httpx as wire
    import stripe as module

    http: Any = module.HTTPXClient(**_timeout(target))
    await http.close_async()
    options = _httpx_options(target)
    http._client_async = wire.AsyncClient(limits=options["limits"], verify=options["verify"])  # noqa: SLF001 - only way
    # Its JSON API is told by a path that begins with /v2, so Refold's /api belongs to the base address.
    addresses: Any = {"api": f"{target.url}/api"}
    client = module.StripeClient(target.api_key, base_addresses=addresses, http_client=http, max_network_retries=2)

    async def fire(event: Event) -> object:
        path = f"{PATH.removeprefix('/api')}{event.slug}"
        return (await client.raw_request_async("post", path, **event.body, headers=target.headers)).data

    try:
        yield fire
    finally:
        await http.close_async()


@asynccontextmanager
async def _paced(target: Target, *rate: float) -> AsyncIterator[Fire]:
    import httpx as module
    from aiolimiter import AsyncLimiter

    limiter = AsyncLimiter(*rate)
    async with module.AsyncClient(**_httpx_options(target)) as client:
        post = _posting(client, target)

        async def fire(event: Event) -> object:
            async with limiter:
                return await post(event)

        yield fire


@contender("httpx + AsyncLimiter(20, 1)", "aiolimiter", "httpx")
async def paced(target: Target) -> AsyncIterator[Fire]:
    """The documented 20 a second as most would write it. It then allows a burst of 20."""
    async with _paced(target, 20, 1) as fire:
        yield fire


@contender("httpx + AsyncLimiter(5, 0.25)", "aiolimiter", "httpx")
async def paced_with_burst(target: Target) -> AsyncIterator[Fire]:
    """The documented burst of 5 too, for those who have read how it works."""
    async with _paced(target, 5, 0.25) as fire:
        yield fire
