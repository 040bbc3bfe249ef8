"""The client of a worker: one for each event loop, open for as long as the loop runs."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from attrs import define

from ._delivery import DeliveryClient

Making = Callable[[], Any]
"""Makes a client, or returns an awaitable of one."""


@define(eq=False)
class _Open:
    loop: asyncio.AbstractEventLoop
    client: asyncio.Future[DeliveryClient]
    keeper: asyncio.Task[None]


class ClientOfLoop:
    """Makes a client with the first use in an event loop.

    A task of its own holds it open. As the loop ends its tasks are cancelled, and that closes the client: so a worker
    needs to do nothing at its end.

    :param is_ours: whether the client is opened and closed here.
    """

    def __init__(self, make: Making, *, is_ours: bool) -> None:
        self._make = make
        self._is_ours = is_ours
        self._open: _Open | None = None

    async def get(self) -> DeliveryClient:
        """Return the client of the running loop.

        :raises Exception: what making or opening it raised; the next use tries again.
        """
        if not self._is_ours:
            client: DeliveryClient = self._make()
            return client
        loop = asyncio.get_running_loop()
        entry = self._open
        if entry is None or entry.loop is not loop or entry.keeper.done():
            ready: asyncio.Future[DeliveryClient] = loop.create_future()
            entry = self._open = _Open(loop, ready, loop.create_task(self._keep(ready)))
        return await asyncio.shield(entry.client)

    async def aclose(self) -> None:
        """Close the client of the running loop. Idempotent."""
        entry, self._open = self._open, None
        if entry is not None and entry.loop is asyncio.get_running_loop():
            entry.keeper.cancel()
            await asyncio.wait([entry.keeper])

    async def _keep(self, ready: asyncio.Future[DeliveryClient]) -> None:
        try:
            made = self._make()
            client = await made if inspect.isawaitable(made) else made
            async with client:
                ready.set_result(client)
                await asyncio.Event().wait()
        except Exception as error:  # raised where somebody waits for the client
            if not ready.done():
                ready.set_exception(error)
                return
            raise
        finally:
            ready.cancel()
