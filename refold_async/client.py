"""The client: what a user holds."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, Self, Unpack, overload

import httpx

from ._api.address import find_address
from ._core.credentials import Secret
from ._core.settings import (
    BeforeSend,
    CallOptions,
    Options,
    TimeoutTypes,
    find_credential,
    first_settings,
    to_before_send,
    to_deadline,
    to_retry,
    to_timeouts,
)
from ._types.errors import AuthenticationError, ConfigurationError, RefoldError
from ._types.values import UNSET, FileTypes, Idempotency, Receipt, Sent, Trigger, Unset
from .policies.retry import RetryPolicy

if TYPE_CHECKING:
    from ._api.request import EncodedRequest
    from ._batch.options import Source
    from ._core.sender import Sender
    from ._resources.events import Events
    from ._resources.executions import Executions
    from ._resources.reconcile import Reconciliation
    from ._resources.tokens import SessionTokens
    from ._types.response import Response
    from ._types.results import BatchResult, Outcome
    from .policies.circuit import CircuitBreaker


_STOP_ON: Final[tuple[type[BaseException], ...]] = (AuthenticationError,)


class RefoldClient:
    """Fires events into Refold over one pooled session, and tells of every call whether the event may have fired.

    Use it as an async context manager, or call `aclose`. It belongs to the event loop it is first used on. Settings
    not given come from `REFOLD_API_KEY`, `REFOLD_SESSION_TOKEN`, `REFOLD_BASE_URL`, `REFOLD_LINKED_ACCOUNT_ID` and
    `REFOLD_CONFIG_ID`. Everywhere, None means "off" or "no limit".

    :param api_key: the organisation's key, or a callable, sync or async, that returns it before each attempt.
    :param session_token: a linked account's token, or such a callable; give one of the two.
    :param base_url: where Refold is; a path prefix is kept. `https://app.refold.ai` by default.
    :param max_connections: how many requests may be in flight; the others wait in order. 50.
    :param verify: how to check the server's certificate: True, an `ssl.SSLContext`, or the path of a CA file.
    :param proxy: a proxy to go through; None for none. Left out, those of the environment are used.
    :param http_client: an `httpx.AsyncClient` to send through; it is never closed here, and its proxies, hooks and
        auth hold. One that re-sends requests by itself voids the verdicts.
    :param transport: an `httpx.AsyncBaseTransport` to use as the wire, below the policies; or "httpx" for the stock
        one in place of `PoolTransport`, as `REFOLD_TRANSPORT=httpx` does too.
    :param linked_account_id: the end customer that calls are for, unless they name another.
    :param config_id: that customer's configuration; Refold falls back to the account.
    :param timeout: per attempt: seconds, or an `httpx.Timeout`. Connect 5, write 5, read 10, pool 5.
    :param deadline: seconds for a whole call: queueing, attempts and the waits between them. 30.
    :param retry: when to try again. See `RetryPolicy`.
    :param rate_limit: how fast to go: 20 a second and a burst of 5, as Refold documents. A `RateLimiter` may be
        shared with other clients. Left out, `REFOLD_RATE_LIMIT` may name a shared limit.
    :param idempotency: a declaration that the customer's workflows drop repeats. See `Idempotency`.
    :param extra_headers: further header fields for each request.
    :param json_encoder: turns the body, a dict, into JSON bytes, in place of the standard library.
    :param hooks: callables that are passed each event of `refold_async.hooks`.
    :param before_send: is passed a `Sending` before each attempt, once its slot is granted and before its first byte.
        What it raises ends the call, and nothing was sent.
    :param circuit_breaker: stops sending while Refold cannot be reached. See `CircuitBreaker`.
    :param tag: mint an unguessable token for each trigger, and send it as its `instance_tag`, unless it has one.
    :param tag_field: also put the token into this field of the payload.
    :raises ConfigurationError: for settings that make no sense together; the message names the cure.
    """

    def __init__(
        self,
        *,
        api_key: Secret | None = None,
        session_token: Secret | None = None,
        base_url: str | httpx.URL | None = None,
        max_connections: int | None = 50,
        verify: bool | str | ssl.SSLContext = True,
        proxy: str | httpx.URL | httpx.Proxy | None | Unset = UNSET,
        http_client: httpx.AsyncClient | None = None,
        transport: httpx.AsyncBaseTransport | str | None = None,
        **options: Unpack[Options],
    ) -> None:
        credential = find_credential(api_key, session_token)
        del api_key, session_token  # a traceback that prints local variables would show them
        if isinstance(credential, ConfigurationError):
            raise credential
        address = find_address(base_url)
        settings = first_settings(options)
        from ._core.assemble import make_sender  # the engine is loaded with the first client

        self._sender = make_sender(
            credential,
            address,
            settings,
            rate_limit=options.get("rate_limit", UNSET),
            max_connections=max_connections,
            verify=verify,
            proxy=proxy,
            http_client=http_client,
            transport=transport,
        )
        self._is_view = False

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
        first_sent_at: datetime | None = None,
        timeout: TimeoutTypes | Unset = UNSET,
        deadline: float | None | Unset = UNSET,
        retry: RetryPolicy | None | Unset = UNSET,
        before_send: BeforeSend | None = None,
        files: Mapping[str, FileTypes] | None = None,
    ) -> Receipt:
        """Fire one event and wait until Refold has taken it; its workflows run afterwards.

        :param slug: the application's slug, such as `pipedrive`.
        :param event: the event's name, spelled as in the Refold console.
        :param payload: a JSON object; None leaves it out.
        :param linked_account_id: another end customer than the client's; the client's `config_id` does not come along.
        :param config_id: that customer's configuration.
        :param instance_tag: a label for the execution in Refold.
        :param idempotency_key: the key by which Refold may drop repeats; minted where a window is declared.
        :param first_sent_at: when the first attempt with this key was made, by whatever process: the declared window
            runs from then.
        :param timeout: seconds per attempt, or an `httpx.Timeout`; None for no limit; the client's if left out.
        :param deadline: seconds for the whole call; None for no limit; the client's if left out.
        :param retry: None to try once; the client's if left out.
        :param before_send: is passed a `Sending` before each attempt, after the client's own.
        :param files: files to send along, by the names they get in the payload: bytes, `(name, bytes)`,
            `(name, bytes, content type)`, or a path. They are read once, in a thread, before the first attempt.
        :raises InvalidTriggerError: before anything is sent, for what could not be sent.
        :raises APIError: when Refold answered no; its subclasses name the status.
        :raises RefoldConnectionError: when the connection failed, `RefoldTimeoutError` when an attempt timed out.
        :raises DeadlineExceededError: when the deadline passed, `PacingTimeoutError` when the rate limit would pass it.
        :raises CallbackError: for a callable of your own that failed before anything was sent.
        :raises UnexpectedResponseError: for a success that is not Refold's.
        :raises ClientClosedError: when the client is closed. Every error's `.delivery` tells what is known.
        """
        sender = self._sender
        settings = sender.settings
        call = sender.make_call(
            slug,
            event,
            payload,
            linked_account_id,
            config_id,
            instance_tag,
            idempotency_key,
            settings.timeout if timeout is UNSET else to_timeouts(timeout),
            settings.retry if retry is UNSET else to_retry(retry),
        )
        if before_send is not None:
            call.before_send = to_before_send(before_send)
        call.first_sent_at = first_sent_at
        if files is not None:
            call.files = files
        limit = settings.deadline if deadline is UNSET else to_deadline(deadline)
        try:  # what `Sender.send` does, in this frame: a call that waits is one coroutine
            evidence = await sender.begin(call, limit)
            receipt: Receipt | None = sender.conclude(call, evidence)
        except BaseException:
            sender.break_off(call)
            raise
        return receipt or await sender.go_on(call, evidence)

    async def trigger_all(
        self,
        event: str,
        payload: Mapping[str, Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> Receipt:
        """Fire one event for every application of the account, and wait until Refold has taken it.

        It takes the options of `trigger`, raises what that raises, and its verdict means the same. In messages, hook
        events and `.sent`, its slug is `*`, which is no slug: such a trigger cannot be sent by another method.

        :param event: the event's name, spelled as in the Refold console.
        :param payload: a JSON object; None leaves it out.
        """
        unknown = options.keys() - CallOptions.__annotations__.keys()
        if unknown:
            raise TypeError(f"trigger_all() has no argument {min(unknown)!r}")
        settings = self._sender.settings
        timeout, retry = options.get("timeout", UNSET), options.get("retry", UNSET)
        deadline = options.get("deadline", UNSET)
        call = self._sender.make_call(
            "*",
            event,
            payload,
            options.get("linked_account_id"),
            options.get("config_id"),
            options.get("instance_tag"),
            options.get("idempotency_key"),
            settings.timeout if timeout is UNSET else to_timeouts(timeout),
            settings.retry if retry is UNSET else to_retry(retry),
        )
        call.is_for_all = True
        call.files = options.get("files")
        call.before_send = to_before_send(options.get("before_send"))
        call.first_sent_at = options.get("first_sent_at")
        limit = settings.deadline if deadline is UNSET else to_deadline(deadline)
        receipt: Receipt = await self._sender.send(call, limit)
        return receipt

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        linked_account_id: str | None = None,
        config_id: str | None = None,
        timeout: TimeoutTypes | Unset = UNSET,
        deadline: float | None | Unset = UNSET,
        retry: RetryPolicy | None | Unset = UNSET,
    ) -> Response:
        """Call anything else of Refold's API, and return its response.

        GET is tried again after whatever may pass, within the deadline; its errors have no verdict (`delivery` is
        None). Any other method is tried again only while nothing of it was written, and its errors tell whether Refold
        may have done it. These calls are paced apart from triggers, at 10 a second for the client and its views, and
        hold up none; a 429 pauses both. Hooks and `before_send` are not told of them.

        :param method: GET, POST, PUT, PATCH or DELETE.
        :param path: from `/api/` on; ids in it quoted with `urllib.parse.quote(id, safe="")`. Paths that start
            workflows are refused.
        :param params: the query; None leaves a name out, a list repeats it.
        :param json: the body; None for none.
        :param headers: further header fields. None may be one that the client sets.
        :param linked_account_id: another end customer than the client's; the client's `config_id` does not come along.
        :param config_id: that customer's configuration.
        :param timeout: seconds per attempt; the client's if left out.
        :param deadline: seconds for the whole call; the client's if left out.
        :param retry: None to try once; the client's if left out.
        :raises InvalidRequestError: before anything is sent, for what could not be sent or would reach another place.
        :raises APIError: when Refold answered no; its subclasses name the status. And what `trigger` raises.
        """
        from ._api.plain import PlainRequest
        from ._core.plain import send_plain

        document = ... if json is None else json
        plain = PlainRequest(method, path, params=params, document=document, headers=headers)
        return await send_plain(
            self._sender,
            plain,
            linked_account_id=linked_account_id,
            config_id=config_id,
            timeout=timeout,
            deadline=deadline,
            retry=retry,
        )

    def check(self, trigger: Trigger) -> None:
        """Raise what sending this trigger would raise before anything is sent; do nothing if it can be sent.

        Files that are paths are read, once, in this very thread; so they are by `preview`.

        :raises InvalidTriggerError: for what could not be sent.
        """
        if not isinstance(trigger, Trigger):
            raise ConfigurationError(f"check() takes a Trigger, not {type(trigger).__name__}")
        self._encode(trigger)

    def preview(self, trigger: Trigger) -> dict[str, Any]:
        """Return the request that a trigger would be, as values for `json.dumps`, without the credential.

        :raises InvalidTriggerError: for what could not be sent.
        """
        request = self._encode(trigger)
        pairs = request.header_pairs(with_credential=False)
        headers = {name.decode(): value.decode("latin-1") for name, value in pairs}
        body = request.body.decode("utf-8", "replace")
        return {"method": request.method, "url": str(request.url), "headers": headers, "body": body}

    def _encode(self, trigger: Trigger) -> EncodedRequest:
        call = self._sender.new_call(trigger)
        if call.files is not None:
            from ._core.prepare import read_parts

            read_parts(call)
        return self._sender.encode(call)

    async def trigger_many(
        self,
        triggers: Source,
        *,
        max_concurrency: int = 20,
        on_outcome: Callable[[Outcome], object] | None = None,
        stop_on: tuple[type[BaseException], ...] | None = _STOP_ON,
        on_key_failure: Literal["continue", "stop"] = "continue",
        look_ahead: int | None = None,
        circuit_breaker: CircuitBreaker | None | Unset = UNSET,
    ) -> BatchResult:
        """Fire many events, and return their outcomes in input order, one for each input.

        An item that fails raises nothing and cancels no other; see `BatchResult.raise_for_failures`. Each has the
        client's deadline for itself, which stands still while it waits for the rate limit. Every outcome is kept: for
        more than memory holds there is `trigger_stream`.

        Cancelled, it stops pulling, waits a second for what is on the wire, tells `on_outcome` how each ended,
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
        :param circuit_breaker: while it is open, items wait; the client's if left out.
        :raises BatchInterruptedError: when `triggers` raised; every outcome so far is in its `.result`.
        :raises ConfigurationError: for an option that makes no sense.
        :raises ClientClosedError: when the client is closed already.
        """
        from ._batch.options import BatchOptions
        from ._batch.stream import send_all

        options = BatchOptions(
            max_concurrency=max_concurrency,
            on_outcome=on_outcome,
            stop_on=stop_on,
            on_key_failure=on_key_failure,
            look_ahead=look_ahead,
        )
        return await send_all(self._sender_with(circuit_breaker), triggers, options)

    def trigger_stream(
        self,
        triggers: Source,
        *,
        max_concurrency: int = 20,
        on_outcome: Callable[[Outcome], object] | None = None,
        stop_on: tuple[type[BaseException], ...] | None = _STOP_ON,
        on_key_failure: Literal["continue", "stop"] = "continue",
        look_ahead: int | None = None,
        ordered: bool = False,
        circuit_breaker: CircuitBreaker | None | Unset = UNSET,
    ) -> AbstractAsyncContextManager[AsyncIterator[Outcome]]:
        """Fire events from a source of any length, and yield their outcomes as they complete.

        Use it as `async with client.trigger_stream(rows) as outcomes:` and `async for outcome in outcomes:`. An item is
        pulled only when there is room, and there is room only when an outcome was taken: at most `max_concurrency`
        (plus `look_ahead`, once there are ordering keys) are held, however slow the consumer.

        Leaving the block early, or an error in `stop_on`, stops the pulling. What is on the wire gets 5 s to finish,
        or 1 s when the caller is cancelled, and `on_outcome` is told of each. What is raised in the block comes out
        as it was.

        :param triggers: any iterable or async iterable of `Trigger`. A generator is closed at the end.
        :param max_concurrency: how many are in flight at most. Rate × latency of them use the rate limit to the full.
        :param on_outcome: is called with each outcome as it completes, and however the stream ends.
        :param stop_on: errors after which nothing more is pulled or sent; what is in flight finishes. None for none.
        :param on_key_failure: "stop" gives up a key's later items after one was not accepted.
        :param look_ahead: how many items may be pulled ahead of those in flight, once there are ordering keys.
        :param ordered: yield the outcomes in input order; one that takes long then holds up those behind it.
        :param circuit_breaker: while it is open, items wait; the client's if left out.
        :raises BatchInterruptedError: from the iteration, after the last outcome, when `triggers` raised; its `.result`
            holds those that nobody had taken when it did.
        :raises ConfigurationError: for an option that makes no sense, and for taking outcomes outside the block.
        :raises ClientClosedError: on entering, when the client is closed already.
        """
        from ._batch.options import BatchOptions
        from ._batch.stream import OutcomeStream

        options = BatchOptions(
            max_concurrency=max_concurrency,
            on_outcome=on_outcome,
            stop_on=stop_on,
            on_key_failure=on_key_failure,
            look_ahead=look_ahead,
        )
        return OutcomeStream(self._sender_with(circuit_breaker), triggers, options, ordered=ordered)

    @property
    def executions(self) -> Executions:
        """The executions of workflows: what became of events. For the client's linked account, or another."""
        from ._resources.channel import Channel
        from ._resources.executions import Executions

        return Executions(Channel(self._sender))

    @property
    def events(self) -> Events:
        """The definitions of events: which there are. They need an API key."""
        from ._resources.events import Events

        return Events(self._sender)

    @property
    def session_tokens(self) -> SessionTokens:
        """Session tokens: making them for linked accounts, with an API key, and revoking the one in use."""
        from ._resources.tokens import SessionTokens

        return SessionTokens(self._sender)

    @overload
    async def reconcile(
        self,
        subject: RefoldError | Outcome | Receipt | Sent,
        *,
        within: float = ...,
        details: bool = ...,
        max_requests: int = ...,
    ) -> Reconciliation: ...

    @overload
    async def reconcile(
        self,
        subject: Sequence[RefoldError | Outcome | Receipt | Sent],
        *,
        within: float = ...,
        details: bool = ...,
        max_requests: int = ...,
    ) -> list[Reconciliation]: ...

    async def reconcile(
        self,
        subject: RefoldError | Outcome | Receipt | Sent | Sequence[RefoldError | Outcome | Receipt | Sent],
        *,
        within: float = 60.0,
        details: bool = False,
        max_requests: int = 500,
    ) -> Reconciliation | list[Reconciliation]:
        """Look in Refold for what became of a send: FIRED if an execution shows its token, else UNRESOLVED.

        Only the token that a client with `tag=True` or `tag_field=` has minted proves anything. Not seeing it proves
        nothing: the list may lag, hide tags, or the event may have started no workflow. So nothing is ever said not to
        have fired, and UNRESOLVED changes no verdict. It looks once, and does not wait.

        :param subject: an error, an outcome, a receipt, a `Sent`, or many of these, such as a whole batch. Executions
            are read once for each linked account. Of many, the answers are in their order.
        :param within: seconds after its first attempt in which an execution of it was created. Time for its retries is
            to be counted in.
        :param details: also look at the steps of executions that show no token, a request for each.
        :param max_requests: so many at most, for each linked account.
        :raises ConfigurationError: for what was sent to another host.
        :raises RefoldError: when executions could not be read; its `delivery` is None.
        """
        from ._resources.reconcile import Reconciler, sent_of

        reconciler = Reconciler(self._sender, within, details=details, max_requests=max_requests)
        if isinstance(subject, Sequence):
            return await reconciler.reconcile([sent_of(each) for each in subject])
        [found] = await reconciler.reconcile([sent_of(subject)])
        return found

    async def resend(self, error: RefoldError, *, deadline: float | None | Unset = UNSET) -> Receipt:
        """Send once more what may have fired, with the same key and the same body, so that Refold drops a repeat.

        It takes an error of this very client whose `delivery` is ambiguous, where `idempotency=` is declared, within
        0.8 of the window since the first attempt. The receipt's `after_ambiguous` is true. While nothing settles it,
        what is raised stays ambiguous.

        :param deadline: seconds for the whole call; the client's if left out. The window may end it sooner.
        :raises InvalidTriggerError: where account, host, key or body are not those that were sent, or it is too late.
        :raises RefoldError: as `trigger` does.
        """
        from ._resources.resend import resend

        limit = self._sender.settings.deadline if isinstance(deadline, Unset) else to_deadline(deadline)
        return await resend(self._sender, error, limit)

    def for_account(self, linked_account_id: str, *, config_id: str | None = None) -> RefoldClient:
        """Return a view of this client for another end customer; session, pool and limiter are shared.

        Closing a view closes nothing. This client's `config_id` does not come along.

        :raises ConfigurationError: for an account that no header can carry.
        """
        if linked_account_id is None:
            raise ConfigurationError("for_account() needs the linked account's id")
        return self.with_options(linked_account_id=linked_account_id, config_id=config_id)

    def with_options(self, **options: Unpack[Options]) -> RefoldClient:
        """Return a view of this client with some settings changed; session, pool and limiter are shared.

        Closing a view closes nothing. A new `rate_limit` gives the view a limiter of its own.

        :raises ConfigurationError: for a value that makes no sense, or a setting that views share.
        """
        sender = self._sender
        settings = sender.settings.changed(options)
        from ._core.assemble import make_view

        view = object.__new__(type(self))
        view._sender = make_view(
            sender, settings, has_own_limiter=not isinstance(options.get("rate_limit", UNSET), Unset)
        )
        view._is_view = True
        return view

    def _sender_with(self, circuit_breaker: CircuitBreaker | None | Unset) -> Sender:
        if isinstance(circuit_breaker, Unset):
            return self._sender
        sender = self._sender
        return sender.with_settings(sender.settings.changed({"circuit_breaker": circuit_breaker}), sender.limiter)

    @property
    def session(self) -> httpx.AsyncClient:
        """The `httpx.AsyncClient` that requests go through. It carries no credential of its own."""
        return self._sender.life.session

    @property
    def linked_account_id(self) -> str | None:
        """The end customer that calls are for, unless they name another."""
        return self._sender.settings.linked_account_id

    @property
    def config_id(self) -> str | None:
        """That customer's configuration."""
        return self._sender.settings.config_id

    @property
    def idempotency(self) -> Idempotency | None:
        """The declaration that the customer's workflows drop repeats, if there is one."""
        return self._sender.settings.idempotency

    @property
    def is_closed(self) -> bool:
        """Whether the client was closed; for a view, whether the client it came from was."""
        return self._sender.life.is_closed

    async def aclose(self, grace: float = 5.0) -> None:
        """Close the client. Idempotent.

        Calls that wait for a slot or between attempts end at once, with `ClientClosedError`. What is on the wire
        may finish within `grace` seconds, and is cut off after it, with the verdict that its evidence allows. On a
        view this does nothing.

        :raises ConfigurationError: on another event loop than the client's, while that is open.
        """
        if not self._is_view:
            await self._sender.life.aclose(grace)

    async def __aenter__(self) -> Self:
        self._sender.life.check()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        sender = self.__dict__.get("_sender")
        if sender is None:
            return f"<{type(self).__name__} that could not be made>"
        state = "closed" if self.is_closed else "open"
        view = " view" if self._is_view else ""
        return f"<{type(self).__name__}{view} {sender.address.url} by {sender.credential.kind}, {state}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a RefoldClient does not pickle: it holds a credential and open connections. Make one where it is needed"
        )
