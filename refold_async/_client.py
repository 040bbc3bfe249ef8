"""The client: what a user holds, and how one call is put together and told truthfully."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Literal, NoReturn, Self, Unpack

import httpx
from attrs import evolve

from ._batch import BatchOptions, OutcomeStream, Source, send_all
from ._caller import Caller
from ._config import (
    Options,
    Settings,
    TimeoutTypes,
    base_of,
    check_deadline,
    check_retry,
    check_timeout,
    event_url,
    find_credential,
    first_settings,
)
from ._credentials import Secret
from ._hooks import Hook
from ._runtime import Runtime
from ._session import Wire, session_maker
from ._types.errors import AuthenticationError, ConfigurationError, RefoldError
from ._types.results import BatchResult, Outcome
from ._types.values import UNSET, Idempotency, JSONEncoder, RateLimit, Receipt, Trigger, Unset
from .limiters import MemoryRateLimiter, RateLimiter
from .policies.budget import RetryBudget
from .policies.pacing import LONGEST_PAUSE
from .policies.retry import RetryPolicy


class RefoldClient:
    """Fires events into Refold over one pooled session, and says of every call whether the event may have fired.

    Use it as an async context manager, or call `aclose`. It belongs to the event loop it is first used on. Settings
    not given come from `REFOLD_API_KEY`, `REFOLD_SESSION_TOKEN`, `REFOLD_BASE_URL`, `REFOLD_LINKED_ACCOUNT_ID` and
    `REFOLD_CONFIG_ID`. Everywhere, None means "off" or "no limit".

    :param api_key: the organisation's key, or a callable, sync or async, that gives it before each attempt.
    :param session_token: a linked account's token, likewise; give one of the two.
    :param base_url: where Refold is; a path prefix is kept. `https://app.refold.ai` unless told otherwise.
    :param linked_account_id: the end customer that calls are for, unless they name another.
    :param config_id: that customer's configuration; Refold falls back to the account.
    :param timeout: per attempt: seconds, or an `httpx.Timeout`. Connect 5, write 5, read 10, pool 5.
    :param deadline: seconds for a whole call: queueing, attempts and the waits between them. 30.
    :param retry: when to try again. See `RetryPolicy`.
    :param rate_limit: how fast to go: 20 a second and a burst of 5, as Refold documents. A `RateLimiter` may be
        shared with other clients.
    :param idempotency: a declaration that the customer's workflows drop repeats. See `Idempotency`.
    :param max_connections: how many requests may be in flight; the others wait in order.
    :param verify: how to check the server's certificate: True, an `ssl.SSLContext`, or the path of a CA file.
    :param proxy: a proxy to go through; those of the environment are used without it, but never for a `base_url` on
        this machine's loopback.
    :param extra_headers: further headers for each request.
    :param json_encoder: turns the body, a dict, into JSON bytes, in place of the standard library.
    :param hooks: callables that are given each event of `refold_async.hooks`.
    :param http_client: an `httpx.AsyncClient` to send through; it is never closed here, and its proxies, hooks and
        auth hold. One that re-sends requests by itself voids the verdicts.
    :param transport: an `httpx.AsyncBaseTransport` to use as the wire, below the policies; or "httpx" for the stock
        one in place of `PoolTransport`, as `REFOLD_TRANSPORT=httpx` does too.
    :raises ConfigurationError: for settings that make no sense together; the message names the cure.
    """

    def __init__(
        self,
        *,
        api_key: Secret | None = None,
        session_token: Secret | None = None,
        base_url: str | httpx.URL | None = None,
        linked_account_id: str | None = None,
        config_id: str | None = None,
        timeout: TimeoutTypes | Unset = UNSET,
        deadline: float | None | Unset = UNSET,
        retry: RetryPolicy | None | Unset = UNSET,
        rate_limit: RateLimit | RateLimiter | None | Unset = UNSET,
        idempotency: Idempotency | None | Unset = UNSET,
        max_connections: int | None = 50,
        verify: bool | str | ssl.SSLContext = True,
        proxy: str | httpx.URL | httpx.Proxy | None = None,
        extra_headers: Mapping[str, str] | None = None,
        json_encoder: JSONEncoder | None = None,
        hooks: Iterable[Hook] = (),
        http_client: httpx.AsyncClient | None = None,
        transport: Wire | None = None,
    ) -> None:
        self._credential = find_credential(api_key, session_token)
        self._event_url = event_url(base_url)
        self._settings = first_settings(
            {
                "linked_account_id": linked_account_id,
                "config_id": config_id,
                "timeout": timeout,
                "deadline": deadline,
                "retry": retry,
                "rate_limit": rate_limit,
                "idempotency": idempotency,
                "extra_headers": extra_headers,
                "json_encoder": json_encoder,
                "hooks": hooks,
            }
        )
        if max_connections is not None and (
            isinstance(max_connections, bool) or not isinstance(max_connections, int) or max_connections < 1
        ):
            raise ConfigurationError(
                f"max_connections must be 1 or more, or None for no limit, not {max_connections!r}"
            )
        make_session = session_maker(
            http_client=http_client,
            transport=transport,
            verify=verify,
            proxy=proxy,
            base_url=base_of(self._event_url),
            max_connections=max_connections,
        )
        self._runtime = Runtime(make_session, self._credential, owned=http_client is None)
        self._is_view = False
        self._caller = Caller(
            self._runtime,
            self._credential,
            self._event_url,
            self._settings,
            _limiter_of(self._settings),
            RetryBudget(),
            max_connections,
        )

    async def trigger(
        self,
        slug: str,
        event: str,
        payload: Mapping[str, Any] | None = None,
        *,
        linked_account_id: str | None = None,
        config_id: str | None = None,
        instance_tag: str | None = None,
        idempotency_key: str | None = None,
        timeout: TimeoutTypes | Unset = UNSET,
        deadline: float | None | Unset = UNSET,
        retry: RetryPolicy | None | Unset = UNSET,
    ) -> Receipt:
        """Fire one event and wait until Refold has taken it; its workflows run afterwards.

        :param slug: the application's slug, such as `pipedrive`.
        :param event: the event's name, spelled as in the Refold console.
        :param payload: a JSON object; None leaves it out.
        :param linked_account_id: another end customer than the client's; the client's `config_id` does not come along.
        :param config_id: that customer's configuration.
        :param instance_tag: a label for the execution in Refold.
        :param idempotency_key: the key by which Refold may drop repeats; minted where a window is declared.
        :param timeout: seconds per attempt, or an `httpx.Timeout`; None for no limit; the client's if left out.
        :param deadline: seconds for the whole call; None for no limit; the client's if left out.
        :param retry: None to try once; the client's if left out.
        :raises InvalidTriggerError: before anything is sent, for what could not be sent.
        :raises APIError: when Refold answered no; its subclasses name the status.
        :raises RefoldConnectionError: when the connection failed, `RefoldTimeoutError` when an attempt timed out.
        :raises DeadlineExceededError: when the deadline passed, `PacingTimeoutError` when the rate limit would pass it.
        :raises UnexpectedResponseError: for a success that is not Refold's.
        :raises ClientClosedError: when the client is closed. Every error's `.delivery` tells what is known.
        """
        given = Trigger(
            slug,
            event,
            payload,
            linked_account_id=linked_account_id,
            config_id=config_id,
            instance_tag=instance_tag,
            idempotency_key=idempotency_key,
        )
        call = self._caller.new_call(given, retry if retry is UNSET else check_retry(retry))
        ending = await self._caller.settle(
            given,
            call,
            self._settings.timeout if timeout is UNSET else check_timeout(timeout),
            self._settings.deadline if deadline is UNSET else check_deadline(deadline),
        )
        if isinstance(ending, RefoldError):
            raise ending
        return ending

    async def trigger_many(
        self,
        triggers: Source,
        *,
        max_concurrency: int = 20,
        on_outcome: Callable[[Outcome], object] | None = None,
        stop_on: tuple[type[BaseException], ...] | None = (AuthenticationError,),
        on_key_failure: Literal["continue", "stop"] = "continue",
        look_ahead: int | None = None,
    ) -> BatchResult:
        """Fire many events, and give their outcomes in input order, one for each input.

        An item that fails raises nothing and cancels no other; see `BatchResult.raise_for_failures`. Each has the
        client's deadline for itself, which stands still while it waits for the rate limit. Every outcome is kept: for
        more than memory holds there is `trigger_stream`.

        Cancelled, it stops pulling, gives what is on the wire a second to finish, tells `on_outcome` how each ended,
        and re-raises the cancellation.

        :param triggers: any iterable or async iterable of `Trigger`. A generator is closed at the end.
        :param max_concurrency: how many are in flight at most. Rate × latency of them use the rate limit to the full.
        :param on_outcome: is called with each outcome as it completes, and however the batch ends.
        :param stop_on: errors after which nothing more is sent: what is in flight finishes, and the rest of the input
            is drained into outcomes that were not sent (`NotAttemptedError`). None for none. A closed client stops
            it likewise.
        :param on_key_failure: "stop" gives up a key's later items after one was not accepted.
        :param look_ahead: how many items may be pulled ahead of those in flight, to find ones whose `ordering_key` is
            free. It counts once there are keys; None for 4 × `max_concurrency`.
        :raises BatchInterruptedError: when `triggers` raised; every outcome so far is in its `.result`.
        :raises ConfigurationError: for an option that makes no sense.
        :raises ClientClosedError: when the client is closed already.
        """
        options = BatchOptions(
            max_concurrency=max_concurrency,
            on_outcome=on_outcome,
            stop_on=stop_on,
            on_key_failure=on_key_failure,
            look_ahead=look_ahead,
        )
        return await send_all(self._caller, triggers, options)

    def trigger_stream(
        self,
        source: Source,
        *,
        max_concurrency: int = 20,
        on_outcome: Callable[[Outcome], object] | None = None,
        stop_on: tuple[type[BaseException], ...] | None = (AuthenticationError,),
        on_key_failure: Literal["continue", "stop"] = "continue",
        look_ahead: int | None = None,
        ordered: bool = False,
    ) -> AbstractAsyncContextManager[AsyncIterator[Outcome]]:
        """Fire events from a source of any length, and give their outcomes as they complete.

        Use it as `async with client.trigger_stream(rows) as outcomes:` and `async for outcome in outcomes:`. An item is
        pulled only when there is room, and there is room only when an outcome was taken: at most `max_concurrency`
        (plus `look_ahead`, once there are ordering keys) are held, however slow the consumer.

        Leaving the block early, or an error in `stop_on`, stops the pulling. What is on the wire gets 5 s to finish,
        or 1 s when the caller is cancelled, and `on_outcome` is told of each. What is raised in the block comes out
        as it was.

        :param source: any iterable or async iterable of `Trigger`. A generator is closed at the end.
        :param ordered: give the outcomes in input order; one that takes long then holds up those behind it.
        :raises BatchInterruptedError: from the iteration, after the last outcome, when `source` raised; its `.result`
            holds those that nobody had taken when it did.
        :raises ConfigurationError: for an option that makes no sense, and for taking outcomes outside the block. The
            other options are those of `trigger_many`.
        :raises ClientClosedError: on entering, when the client is closed already.
        """
        options = BatchOptions(
            max_concurrency=max_concurrency,
            on_outcome=on_outcome,
            stop_on=stop_on,
            on_key_failure=on_key_failure,
            look_ahead=look_ahead,
        )
        return OutcomeStream(self._caller, source, options, ordered=ordered)

    def for_account(self, linked_account_id: str, *, config_id: str | None = None) -> RefoldClient:
        """Give a view of this client for another end customer; session, pool and limiter are shared.

        Closing a view closes nothing. This client's `config_id` does not come along.

        :raises ConfigurationError: for an account that no header can carry.
        """
        if linked_account_id is None:
            raise ConfigurationError("for_account() needs the linked account's id")
        return self.with_options(linked_account_id=linked_account_id, config_id=config_id)

    def with_options(self, **options: Unpack[Options]) -> RefoldClient:
        """Give a view of this client with some settings changed; session, pool and limiter are shared.

        Closing a view closes nothing. A new `rate_limit` gets the view a limiter of its own.

        :raises ConfigurationError: for a value that makes no sense, or a setting that views share.
        """
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__)
        view._settings = self._settings.changed(options)
        own_limiter = options.get("rate_limit", UNSET) is not UNSET
        limiter = _limiter_of(view._settings) if own_limiter else self._caller.limiter
        view._caller = evolve(self._caller, settings=view._settings, limiter=limiter)
        view._is_view = True
        return view

    @property
    def session(self) -> httpx.AsyncClient:
        """The `httpx.AsyncClient` that requests go through. It carries no credential of its own."""
        return self._runtime.session

    @property
    def is_closed(self) -> bool:
        """Whether the client was closed; for a view, whether the client it came from was."""
        return self._runtime.closed

    async def aclose(self, grace: float = 5.0) -> None:
        """Close the client: once is enough, more does no harm.

        Calls that wait for a slot or between attempts end at once, with `ClientClosedError`. What is on the wire
        may finish within `grace` seconds, and is cut off after it, with the verdict that its evidence allows. On a
        view this does nothing.
        """
        if not self._is_view:
            await self._runtime.aclose(grace)

    async def __aenter__(self) -> Self:
        self._runtime.check()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else "open"
        view = " view" if self._is_view else ""
        return f"<RefoldClient{view} {self.session.base_url} by {self._credential.kind}, {state}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a RefoldClient does not pickle: it holds a credential and open connections. Make one anew")


def _limiter_of(settings: Settings) -> RateLimiter | None:
    limit = settings.rate_limit
    if isinstance(limit, RateLimit):
        longest = None if settings.retry is None else settings.retry.max_retry_after
        return MemoryRateLimiter(
            limit, max_retry_after=LONGEST_PAUSE if longest is None else min(longest, LONGEST_PAUSE)
        )
    return limit
