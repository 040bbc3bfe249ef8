"""Making one call: from a trigger to its ending, with one set of settings."""

from __future__ import annotations

import time
from collections.abc import Callable

import httpx
from attrs import define, field

from ._config import DEFAULT_HEADERS, Settings
from ._credentials import Credential
from ._ending import receipt_of, refusal_of
from ._hooks import logger
from ._runtime import Runtime
from ._types.errors import InvalidTriggerError, RefoldError
from ._types.values import UNSET, Receipt, Trigger, Unset
from ._wire import MAX_RESPONSE_BYTES, Message, account_headers, check_slug, encode_trigger, is_genuine
from .limiters import RateLimiter
from .policies.budget import RetryBudget
from .policies.retry import RetryPolicy
from .transports._call import Call
from .transports._credentials import RotationTransport
from .transports.concurrency import ConcurrencyTransport
from .transports.rate_limit import RateLimitTransport
from .transports.retry import RetryTransport

_REMEMBERED = 1024
"""Slugs, and accounts with a length of body, whose parts of a request are kept ready."""


@define(eq=False)
class Caller:
    """Makes the calls of a client, or of a view of it: the policies over the session, and what is done once.

    :ivar before_send: is given to each call; see `Call`.
    """

    runtime: Runtime
    credential: Credential = field(repr=False)
    event_url: httpx.URL
    settings: Settings
    limiter: RateLimiter | None
    budget: RetryBudget
    max_connections: int | None
    before_send: Callable[[Call], None] | None = None
    _common_headers: tuple[tuple[bytes, bytes], ...] = field(init=False, repr=False)
    _headers: dict[tuple[str | None, str | None, int], httpx.Headers] = field(init=False, factory=dict, repr=False)
    _urls: dict[str, httpx.URL] = field(init=False, factory=dict)
    _stack: RetryTransport | None = field(init=False, default=None)
    _generation: int = field(init=False, default=-1)

    def __attrs_post_init__(self) -> None:
        extra = {name.lower() for name, _ in self.settings.extra_headers}
        defaults = [header for header in DEFAULT_HEADERS if header[0].lower() not in extra]
        self._common_headers = ((b"Host", self.event_url.netloc), *defaults, *self.settings.extra_headers)

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
            before_send=self.before_send,
            patient=patient,
        )

    async def settle(
        self, trigger: Trigger, call: Call, timeout: dict[str, float | None], deadline: float | None
    ) -> Receipt | RefoldError:
        """Make the call and give its ending; only cancellation is raised, as it came, once the hooks were told."""
        runtime = self.runtime
        started = time.monotonic()
        ending: Receipt | RefoldError
        try:
            runtime.check()
            url, headers, message = self.encode(trigger)
            call.idempotency_key = message.idempotency_key
            call.scope = runtime.new_scope()
            call.give_time(deadline, started)
            runtime.calls.add(call)
            try:
                with call.scope:
                    await self._layers().deliver(_request(url, headers, message, timeout), call)
            finally:
                runtime.ended(call)
            ending = self._ending(call, started)
        except RefoldError as error:
            ending = error
        except BaseException:  # cancelled: told to the hooks, and re-raised as it came
            self._finish(call, started, None)
            raise
        if isinstance(ending, RefoldError):
            ending.trigger = trigger
        self._finish(call, started, ending)
        return ending

    def _ending(self, call: Call, started: float) -> Receipt | RefoldError:
        call.conclude(time.time())
        accepted = call.accepted
        if accepted is None:
            return refusal_of(call, self.credential.known)
        elapsed = time.monotonic() - started
        return receipt_of(call, accepted, call.idempotency_key, elapsed, self.credential.known)

    def encode(self, trigger: Trigger) -> tuple[httpx.URL, httpx.Headers, Message]:
        """Check a trigger, and turn it into what would be sent: where to, the headers every call like it has, the rest.

        :raises InvalidTriggerError: for what could not be sent.
        """
        settings = self.settings
        message = encode_trigger(trigger, idempotency=settings.idempotency, encoder=settings.json_encoder)
        account = settings.account(trigger.linked_account_id, trigger.config_id)
        try:
            return self._urls[trigger.slug], self._headers[*account, len(message.body)], message
        except (KeyError, TypeError):  # not seen before, or no string
            return *self._prepare(trigger.slug, account, len(message.body)), message

    def _prepare(
        self, slug: str, account: tuple[str | None, str | None], length: int
    ) -> tuple[httpx.URL, httpx.Headers]:
        """Check a slug and an account, and keep ready what is the same for every call with them."""
        check_slug(slug)
        if account[0] is None and self.credential.kind == "api_key":
            raise InvalidTriggerError(
                "no linked account: with an API key, say for which customer the event is (linked_account_id=)"
            )
        url = self.event_url.copy_with(raw_path=self.event_url.raw_path + slug.encode())
        declared = (b"Content-Length", str(length).encode())
        headers = httpx.Headers([*self._common_headers, declared, *account_headers(*account)])
        for known in (self._urls, self._headers):
            if len(known) >= _REMEMBERED:
                known.clear()
        self._urls[slug] = url
        self._headers[*account, length] = headers
        return url, headers

    def _layers(self) -> RetryTransport:
        """Give the policies over the session, built anew when the session was."""
        runtime = self.runtime
        if self._stack is None or self._generation != runtime.generation:
            wire: httpx.AsyncBaseTransport = RateLimitTransport(runtime.wire, limiter=self.limiter)
            slots = runtime.slots(self.max_connections)
            wire = wire if slots is None else ConcurrencyTransport(wire, slots=slots)
            wire = RotationTransport(wire, self.credential) if self.credential.rotates else wire
            self._stack = RetryTransport(wire, policy=self.settings.retry, budget=self.budget)
            self._generation = runtime.generation
        return self._stack

    def _finish(self, call: Call, started: float, ending: Receipt | RefoldError | None) -> None:
        error = ending if isinstance(ending, RefoldError) else None
        if error is not None:
            logger.warning("gave up after %d attempts: %s (%s)", call.tried, type(error).__name__, error.delivery)
        if call.hooks:
            from . import hooks as events

            delivery = call.conclude(time.time()) if error is None else error.delivery
            assert delivery is not None  # the error of a trigger has a verdict
            elapsed = time.monotonic() - started
            receipt = None if error is not None else ending
            assert not isinstance(receipt, RefoldError)
            call.hooks.emit(events.CallFinished(call.trigger, delivery, call.tried, elapsed, receipt, error))


def _request(
    url: httpx.URL, headers: httpx.Headers, message: Message, timeout: dict[str, float | None]
) -> httpx.Request:
    request = httpx.Request("POST", url, stream=httpx.ByteStream(message.body), extensions={"timeout": timeout})
    request.headers = httpx.Headers(headers, encoding="latin-1")
    for name, value in message.headers:
        request.headers[name] = value
    return request
