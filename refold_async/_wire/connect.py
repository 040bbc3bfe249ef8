"""Opening a connection: names, addresses and TLS, on asyncio and uvloop alike."""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import httpx
from attrs import frozen

from .scope import TaskScope
from .timer import LoopTimer, no_context

ATTEMPT_DELAY = 0.25
"""Seconds after which the next address is tried beside the one before it (RFC 8305 §5)."""

_HANDSHAKE_SLACK = 0.25
"""Seconds by which the event loop's own limit on a handshake comes after ours, which names what has happened."""

_NO_LIMIT = 86_400.0

SocketOption = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]
_Address = tuple[socket.AddressFamily, int, Any]


class Target(NamedTuple):
    """Where a connection leads.

    :ivar sni: the name to present and to check in the TLS handshake; None for the host's.
    """

    host: str
    port: int
    tls: bool
    sni: str | None = None

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class ConnectionLike(asyncio.BaseProtocol):
    """What is opened: the protocol of an event loop's transport."""

    __slots__ = ()

    def adopt_socket(self, sock: socket.socket) -> None:
        """Take over the socket under the transport, which has no TLS."""
        raise NotImplementedError


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
        self, connection: ConnectionLike, target: Target, timeout: float | None, timer: LoopTimer
    ) -> None:
        """Open a connection.

        It outlives the request that it is opened for, so its callbacks run in an empty context and not in a copy of
        that request's context variables.

        :param timeout: seconds for all of it: name, connection and handshake.
        :param timer: watches the timeout.
        :raises httpx.ConnectTimeout: when that was too short.
        :raises httpx.ConnectError: for an unknown name, a refused connection, and a failed handshake.
        """
        scope = TaskScope(timer)
        if timeout is not None:
            scope.end_at(timer.loop.time() + timeout)
        try:
            with scope:
                opening = self._connect(connection, target, timeout)
                await timer.loop.create_task(opening, context=no_context())
        except TimeoutError as error:  # uvloop's own limit on the handshake
            raise httpx.ConnectTimeout(f"no connection to {target} within the connect timeout") from error
        except (OSError, ssl.CertificateError) as error:  # names, addresses and TLS all fail with these
            raise httpx.ConnectError(f"{target}: {str(error) or type(error).__name__}") from error
        except UnicodeError as error:
            raise httpx.ConnectError(f"{target.host!r} is not a valid host name") from error
        if scope.was_cut:
            raise httpx.ConnectTimeout(f"no connection to {target} within the connect timeout")

    async def _connect(self, connection: ConnectionLike, target: Target, timeout: float | None) -> None:
        loop = asyncio.get_running_loop()
        tls: dict[str, Any] = {}
        if target.tls:
            # The root's dot is no part of a certificate's name.
            tls = {"ssl": self.tls_context(), "server_hostname": target.sni or target.host.rstrip(".")}
            if timeout is not None:
                # uvloop keeps a handshake that was cancelled until its own timer goes off. asyncio's own loops do not,
                # and their timer would go off in a process that was stopped for longer, before ours looks once more.
                is_plain = isinstance(loop, asyncio.BaseEventLoop)
                tls["ssl_handshake_timeout"] = timeout + (_NO_LIMIT if is_plain else _HANDSHAKE_SLACK)
        if self.uds is not None:
            await loop.create_unix_connection(lambda: connection, self.uds, **tls)
            return
        sock = await self._open_socket(loop, target)
        try:
            await loop.create_connection(lambda: connection, sock=sock, **tls)
        except BaseException:
            sock.close()  # closed already, unless it was never taken over
            raise
        if not tls and os.name == "posix":
            connection.adopt_socket(sock)

    async def _open_socket(self, loop: asyncio.AbstractEventLoop, target: Target) -> socket.socket:
        infos = await _resolve(loop, target)
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


async def _resolve(loop: asyncio.AbstractEventLoop, target: Target) -> list[Any]:
    """Look the host up: in a thread, but for an address, which needs no look-up and no thread.

    :raises OSError: naming the host, when it is unknown.
    """
    try:
        return socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        pass
    try:
        return list(await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM))
    except socket.gaierror as error:
        raise socket.gaierror(error.errno, f"the name could not be resolved ({error.strerror})") from error


def interleave(addresses: Iterable[_Address]) -> list[_Address]:
    """Order addresses so that the families take turns, the first one's family first (RFC 8305 §4)."""
    families: dict[int, list[_Address]] = {}
    for address in addresses:
        families.setdefault(address[0], []).append(address)
    turns = itertools.chain.from_iterable(itertools.zip_longest(*families.values()))
    return [address for address in turns if address is not None]


async def _race(connect: Callable[[_Address], Any], addresses: Sequence[_Address]) -> socket.socket:
    """Try the addresses in order, each a little after the one before or when that has failed; the first one wins.

    :raises OSError: with the errors of all addresses, when all have failed.
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
                errors = [error for task in tasks if (error := task.exception()) is not None]
                raise OSError("; ".join(dict.fromkeys(str(error) for error in errors))) from errors[0]
    finally:
        for task in tasks:  # close what the losers have opened, or will have opened by the time they hear of it
            task.add_done_callback(_close_result)
            task.cancel()


def _close_result(task: asyncio.Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()
