"""Passing evidence, and the moment of the write, through a stack of transports."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from .._wire import httpx_internals
from .._wire.loop_pool import was_written
from .._wire.observed import Observation


def reports_written(transport: httpx.AsyncBaseTransport) -> bool:
    """Whether the errors that a transport raises tell if any of the request was handed over."""
    return bool(getattr(transport, "reports_written", False))


async def send_observed(
    transport: httpx.AsyncBaseTransport, request: httpx.Request, before_write: Callable[[], None] | None = None
) -> tuple[httpx.Response | Exception, Observation]:
    """Send a request, and return its response or error with what was seen of the exchange.

    :param before_write: called once, just before the request is written, as far as can be told.
    """
    traced = request.extensions.get("trace")
    seen = Observation(before_write, traced)
    if not httpx_internals.reports_writes(transport):
        seen.writing()
    request.extensions = {**request.extensions, "trace": seen.trace}
    try:
        response = await transport.handle_async_request(request)
    except Exception as error:  # noqa: BLE001 - returned, to be judged or raised by the caller
        told = was_written(error)
        if told is not None:
            seen.written = told
        await httpx_internals.release_leaked_connection(transport, seen.trace)
        return error, seen
    except BaseException:
        await httpx_internals.release_leaked_connection(transport, seen.trace)
        raise
    finally:
        _restore(request, traced)
    seen.responded(response)
    return response, seen


def _restore(request: httpx.Request, traced: Callable[[str, dict[str, Any]], Awaitable[None]] | None) -> None:
    request.extensions = {name: value for name, value in request.extensions.items() if name != "trace"}
    if traced is not None:
        request.extensions["trace"] = traced
