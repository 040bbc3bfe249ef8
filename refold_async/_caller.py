"""Making one call: from a trigger to its ending, with one set of settings."""

from __future__ import annotations

import time
from typing import Any

import httpx
from attrs import define, field

from ._config import DEFAULT_HEADERS, Settings
from ._credentials import Credential
from ._ending import receipt_of, refusal_of
from ._errors import InvalidTriggerError, RefoldError
from ._hooks import logger
from ._models import UNSET, Receipt, Trigger, Unset
from ._runtime import Runtime
from ._wire import MAX_RESPONSE_BYTES, Message, account_headers, encode_trigger, is_genuine
from .limiters import MemoryRateLimiter, RateLimiter
from .policies.budget import RetryBudget
from .policies.retry import RetryPolicy
from .transports._call import Call
from .transports._credentials import CredentialTransport
from .transports._scope import new_scope
from .transports.concurrency import ConcurrencyTransport
from .transports.rate_limit import RateLimitTransport
from .transports.retry import RetryTransport

_REMEMBERED = 1024
"""Slugs and accounts whose parts of a request are kept ready."""


@define(eq=False)
class Caller:
    """Makes the calls of a client, or of a view of it: the policies over the session, and what is done once."""

    runtime: Runtime
    credential: Credential = field(repr=False)
    event_url: httpx.URL
    settings: Settings
    limiter: RateLimiter | None
    budget: RetryBudget
    max_connections: int | None
    _common_headers: tuple[tuple[bytes, bytes], ...] = field(init=False, repr=False)
    _headers: dict[tuple[str | None, str | None], httpx.Headers] = field(init=False, factory=dict, repr=False)
    _urls: dict[str, httpx.URL] = field(init=False, factory=dict)
    _stack: RetryTransport | None = field(init=False, default=None)
    _generation: int = field(init=False, default=-1)

    def __attrs_post_init__(self) -> None:
        extra = {name.lower() for name, _ in self.settings.extra_headers}
        defaults = [header for header in DEFAULT_HEADERS if header[0].lower() not in extra]
        length = (b"Content-Length", b"0")  # has its place here, and its value from each call
        self._common_headers = ((b"Host", self.event_url.netloc), *defaults, *self.settings.extra_headers, length)

    def new_call(self, trigger: Trigger, retry: RetryPolicy | None | Unset = UNSET, *, patient: bool = False) -> Call:
        """Begin a call.

        :param patient: its deadline does not run while it waits for the rate limit, as in batches.
        """
        settings = self.settings
        return Call(
            policy=settings.retry if retry is UNSET else retry,
            trigger=trigger,
            hooks=settings.hooks,
            retry_within=None if settings.idempotency is None else settings.idempotency.retry_within,
            read_limit=MAX_RESPONSE_BYTES,
            is_genuine=is_genuine,
            wire_reports=True,
            patient=patient,
        )

    async def settle(
        self, trigger: Trigger, call: Call, timeout: dict[str, float | None], deadline: float | None
    ) -> Receipt | RefoldError:
        """Make the call and give its ending; only cancellation is raised, as it came, once the hooks were told."""
        started = time.monotonic()
        ending: Receipt | RefoldError
        try:
            ending = await self._fire(trigger, call, timeout, deadline, started)
        except RefoldError as error:
            ending = error
        except BaseException:  # cancelled: told to the hooks, and re-raised as it came
            self._finish(call, started, None)
            raise
        if isinstance(ending, RefoldError):
            ending.trigger = trigger
        self._finish(call, started, ending)
        return ending

    async def _fire(
        self,
        trigger: Trigger,
        call: Call,
        timeout: dict[str, float | None],
        deadline: float | None,
        started: float,
    ) -> Receipt | RefoldError:
        self.runtime.check()
        message, headers = self.encode(trigger)
        call.idempotency_key = message.idempotency_key
        call.scope = new_scope()
        call.give_time(deadline, started)
        await self.runtime.carry(self._layers(), self._request(message, headers, timeout), call)
        call.conclude(time.time())
        accepted = call.accepted
        if accepted is None:
            return refusal_of(call, self.credential.known)
        return receipt_of(call, accepted, message.idempotency_key, time.monotonic() - started, self.credential.known)

    def encode(self, trigger: Trigger) -> tuple[Message, httpx.Headers]:
        """Check a trigger, and turn it into what would be sent: the message, and the headers of its account.

        :raises InvalidTriggerError: for what could not be sent.
        """
        settings = self.settings
        account = settings.account(trigger.linked_account_id, trigger.config_id)
        if account[0] is None and self.credential.kind == "api_key":
            raise InvalidTriggerError(
                "no linked account: with an API key, say for which customer the event is (linked_account_id=)"
            )
        try:
            headers = self._headers.get(account)
        except TypeError:  # an id that is a list, say: it is refused below
            headers = None
        if headers is None:
            headers = httpx.Headers([*self._common_headers, *account_headers(*account)])
            _remember(self._headers, account, headers)
        return encode_trigger(trigger, idempotency=settings.idempotency, encoder=settings.json_encoder), headers

    def _layers(self) -> RetryTransport:
        """Give the policies over the session, built anew when the session was."""
        runtime = self.runtime
        if self._stack is None or self._generation != runtime.generation:
            if self._generation not in (-1, runtime.generation) and isinstance(self.limiter, MemoryRateLimiter):
                self.limiter.reset_waiters()
            wire: httpx.AsyncBaseTransport = RateLimitTransport(runtime.wire, limiter=self.limiter)
            slots = runtime.slots(self.max_connections)
            wire = wire if slots is None else ConcurrencyTransport(wire, slots=slots)
            wire = CredentialTransport(wire, self.credential)
            self._stack = RetryTransport(wire, policy=self.settings.retry, budget=self.budget)
            self._generation = runtime.generation
        return self._stack

    def _request(
        self, message: Message, account_headers: httpx.Headers, timeout: dict[str, float | None]
    ) -> httpx.Request:
        url = self._urls.get(message.slug)
        if url is None:
            url = self.event_url.copy_with(raw_path=self.event_url.raw_path + message.slug.encode())
            _remember(self._urls, message.slug, url)
        headers = httpx.Headers(account_headers, encoding="latin-1")
        headers["Content-Length"] = str(len(message.body))
        for name, value in message.headers:
            headers[name] = value
        return httpx.Request(
            "POST", url, headers=headers, stream=httpx.ByteStream(message.body), extensions={"timeout": timeout}
        )

    def _finish(self, call: Call, started: float, ending: Receipt | RefoldError | None) -> None:
        error = ending if isinstance(ending, RefoldError) else None
        delivery = error.delivery if error is not None else call.conclude(time.time())
        if error is not None:
            logger.warning("gave up after %d attempts: %s (%s)", call.tried, type(error).__name__, delivery.value)
        if call.hooks:
            from . import hooks as events

            elapsed = time.monotonic() - started
            receipt = None if error is not None else ending
            assert not isinstance(receipt, RefoldError)
            call.hooks.emit(events.CallFinished(call.trigger, delivery, call.tried, elapsed, receipt, error))


def _remember(known: dict[Any, Any], key: object, value: object) -> None:
    if len(known) >= _REMEMBERED:
        known.clear()
    known[key] = value
