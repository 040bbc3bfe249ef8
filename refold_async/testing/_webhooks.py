"""Webhooks that the mock delivers, signed as Refold signs them."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import hmac
import http.client
import json
import threading
import time
from collections.abc import Generator, Mapping
from concurrent.futures import Future
from typing import Any
from urllib.parse import urlsplit

from attrs import frozen

SIGNATURE_HEADER = "x-cobalt-signature"

ATTEMPT_TIMEOUT = 5.0
"""Seconds that the receiver has for an answer."""


def sign(body: bytes, key: str) -> str:
    """Return the signature: HMAC-SHA256 of the body under the API key, in lower-case hex."""
    return hmac.new(key.encode(), body, hashlib.sha256).hexdigest()


@frozen
class WebhookResult:
    """What became of a delivery.

    :ivar statuses: what each attempt was answered with; None where it was not answered.
    """

    body: bytes
    statuses: tuple[int | None, ...]

    @property
    def delivered(self) -> bool:
        """Whether the receiver took it: only a 200 counts."""
        return bool(self.statuses) and self.statuses[-1] == 200


class WebhookDelivery:
    """A delivery under way. Await it where the receiver runs in this event loop; elsewhere call `result`."""

    def __init__(self, future: Future[WebhookResult]) -> None:
        self._future = future

    def result(self, timeout: float | None = 30.0) -> WebhookResult:
        """Block until it has ended, at most `timeout` seconds.

        :raises TimeoutError: where that was not enough.
        """
        return self._future.result(timeout)

    def __await__(self) -> Generator[Any, None, WebhookResult]:
        return self._wait().__await__()

    async def _wait(self) -> WebhookResult:
        import anyio.to_thread

        return await anyio.to_thread.run_sync(self._future.result, abandon_on_cancel=True)


def start_delivery(
    url: str,
    event: Mapping[str, Any] | bytes,
    *,
    key: str,
    headers: Mapping[str, str],
    attempts: int,
    backoff: float,
    method: str,
) -> WebhookDelivery:
    """Deliver an event in a thread of its own until it is answered with 200, waiting twice as long each time."""
    body = event if isinstance(event, bytes) else json.dumps(event, separators=(",", ":")).encode()
    given = {"Content-Type": "application/json", SIGNATURE_HEADER: sign(body, key), **headers}
    send = functools.partial(_attempt, method, url, body, given)
    future: Future[WebhookResult] = Future()

    def run() -> None:
        statuses: list[int | None] = []
        try:
            for attempt in range(attempts):
                if attempt:
                    time.sleep(backoff * 2 ** (attempt - 1))
                statuses.append(send())
                if statuses[-1] == 200:
                    break
        except Exception as error:  # noqa: BLE001 - whoever waits for the future gets it
            future.set_exception(error)
        else:
            future.set_result(WebhookResult(body, tuple(statuses)))

    threading.Thread(target=run, name="MockRefold webhook", daemon=True).start()
    return WebhookDelivery(future)


def _attempt(method: str, url: str, body: bytes, headers: Mapping[str, str]) -> int | None:
    """Send it once, through no proxy. Returns the status, None without an answer."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection = kind(parts.hostname or "", parts.port, timeout=ATTEMPT_TIMEOUT)
    with contextlib.closing(connection):
        try:
            connection.request(method, target, body, dict(headers))
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None
