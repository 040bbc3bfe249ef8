"""Opening a connection: names, addresses and TLS, on asyncio and uvloop alike."""

from __future__ import annotations

import asyncio
import itertools
import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import httpx
from attrs import frozen

ATTEMPT_DELAY = 0.25
"""Seconds after which the next address is tried beside the one before it (RFC 8305 §5)."""

_HANDSHAKE_SLACK = 0.25
"""Seconds by which the event loop's own limit on a handshake comes after ours, which names what has happened."""

SocketOption = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]
_Address = tuple[socket.AddressFamily, int, Any]


@frozen(cache_hash=True)
class Target:
    """Where a connection leads.

    :param sni: the name to present and to check in the TLS handshake; None for the host's.
    """

    host: str
    port: int
    tls: bool
    sni: str | None = None


@frozen(kw_only=True)
class Connector:
    """Opens connections as the transport was told to.

    :param uds: the path of a unix socket that takes the place of every address.
    """

    tls_context: Callable[[], ssl.SSLContext]
    uds: str | None = None
    local_address: str | None = None
    socket_options: Sequence[SocketOption] = ()

    async def connect(
        self, protocol: Callable[[], asyncio.BaseProtocol], target: Target, timeout: float | None
    ) -> None:
        """Open a connection and give it to the protocol.

        :param timeout: seconds for all of it: name, connection and handshake.
        :raises httpx.ConnectTimeout: when that was too short.
        :raises httpx.ConnectError: for an unknown name, a refusal, and a handshake that failed.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._connect(protocol, target, timeout)
        except TimeoutError as error:
            raise httpx.ConnectTimeout("no connection within the connect timeout") from error
        except (OSError, ssl.CertificateError) as error:  # names, addresses and TLS all fail with these
            raise httpx.ConnectError(str(error) or type(error).__name__) from error
        except UnicodeError as error:
            raise httpx.ConnectError("the host's name is no name") from error

    async def _connect(
        self, protocol: Callable[[], asyncio.BaseProtocol], target: Target, timeout: float | None
    ) -> None:
        loop = asyncio.get_running_loop()
        tls: dict[str, Any] = {}
        if target.tls:
            tls = {"ssl": self.tls_context(), "server_hostname": target.sni or target.host}
            if timeout is not None:
                # For uvloop, which keeps a handshake that was cancelled until its own timer goes off, after a minute.
                tls["ssl_handshake_timeout"] = timeout + _HANDSHAKE_SLACK
        if self.uds is not None:
            await loop.create_unix_connection(protocol, self.uds, **tls)
            return
        sock = await self._open_socket(loop, target)
        try:
            await loop.create_connection(protocol, sock=sock, **tls)
        except BaseException:
            sock.close()  # closed already, unless it was never taken over
            raise

    async def _open_socket(self, loop: asyncio.AbstractEventLoop, target: Target) -> socket.socket:
        infos = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        addresses = interleave((family, proto, address) for family, _, proto, _, address in infos)
        if not addresses:
            raise OSError("the host has no address")
        if len(addresses) == 1:
            return await self._try(loop, addresses[0])
        return await _race(lambda address: self._try(loop, address), addresses)

    async def _try(self, loop: asyncio.AbstractEventLoop, address: _Address) -> socket.socket:
        family, proto, where = address
        sock = socket.socket(family, socket.SOCK_STREAM, proto)
        try:
            sock.setblocking(False)
            for option in self.socket_options:
                sock.setsockopt(*option)
            if self.local_address is not None:
                sock.bind((self.local_address, 0))
            await loop.sock_connect(sock, where)
        except BaseException:
            sock.close()
            raise
        return sock


def interleave(addresses: Iterable[_Address]) -> list[_Address]:
    """Order addresses so that the families take turns, the first one's family first (RFC 8305 §4)."""
    families: dict[int, list[_Address]] = {}
    for address in addresses:
        families.setdefault(address[0], []).append(address)
    turns = itertools.chain.from_iterable(itertools.zip_longest(*families.values()))
    return [address for address in turns if address is not None]


async def _race(connect: Callable[[_Address], Any], addresses: Sequence[_Address]) -> socket.socket:
    """Try the addresses in order, each a little after the one before or when that has failed; the first one wins.

    :raises OSError: of the first address, when all have failed.
    """
    tasks: list[asyncio.Task[socket.socket]] = []
    waiting = list(addresses)
    try:
        while True:
            if waiting:
                tasks.append(asyncio.ensure_future(connect(waiting.pop(0))))
            pending = [task for task in tasks if not task.done()]
            if pending:
                await asyncio.wait(
                    pending, timeout=ATTEMPT_DELAY if waiting else None, return_when=asyncio.FIRST_COMPLETED
                )
            for task in tasks:
                if task.done() and task.exception() is None:
                    tasks.remove(task)
                    return task.result()
            if not waiting and all(task.done() for task in tasks):
                raise next(error for task in tasks if (error := task.exception()) is not None)
    finally:
        for task in tasks:  # close what the losers have opened, or will have opened by the time they hear of it
            task.add_done_callback(_close_result)
            task.cancel()


def _close_result(task: asyncio.Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()
