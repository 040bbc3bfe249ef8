"""`client.executions`: what became of the events of one linked account."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Unpack

from .._api.plain import Repeat, segment
from .._core.settings import RequestOptions, WaitOptions
from .._types.errors import ConfigurationError
from .._types.values import Receipt
from .channel import Channel
from .decode import text, to_iso
from .execution import Execution, ExecutionDetail, Rerun, key_of
from .pager import Pager
from .search import CountedChannel, MatchingPager, Window
from .wait import Poll, Waiting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._core.sender import Sender

MAX_PAGE_SIZE = 1000
"""Refold does not document its largest page; what is asked beyond this is a slip."""


class Executions:
    """The executions of workflows, for one linked account at a time. It holds no state of its own.

    Its calls are paced apart from triggers, but for `rerun`, which is one. Their errors have no verdict (`delivery` is
    None) where they only read.

    :param channel: sends the requests. It is the client's: use `client.executions`.
    """

    def __init__(self, channel: Any) -> None:
        self._channel: Channel = channel

    def list(
        self,
        *,
        source: str | None = None,
        status: str | None = None,
        slug: str | Sequence[str] | None = None,
        workflow_id: str | None = None,
        workflow_name: str | None = None,
        execution_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        type: Literal["SYNC", "ASYNC"] | None = None,  # noqa: A002 - Refold's word for it
        oldest_first: bool = False,
        page_size: int = 50,
        **options: Unpack[RequestOptions],
    ) -> Pager[Execution]:
        """List executions, the newest first; nothing is sent until the list is iterated over.

        Refold applies the filters. One that it does not know it ignores, and lists everything.

        :param source: what started it, as Refold spells it: `Event` for events.
        :param status: such as `ERRORED`; see `ExecutionStatus`.
        :param slug: of one application or more.
        :param workflow_name: a part of the name.
        :param since: created then or later, with a time zone; and `until`, then or earlier.
        :param type: `SYNC` or `ASYNC`.
        :param oldest_first: the other way round.
        :param page_size: how many to ask for at once.
        :raises ConfigurationError: for a filter that makes no sense.
        """
        slugs = None if slug is None else slug if isinstance(slug, str) else ",".join(slug)
        if isinstance(page_size, bool) or not isinstance(page_size, int) or not 1 <= page_size <= MAX_PAGE_SIZE:
            raise ConfigurationError(f"page_size must be a whole number from 1 to {MAX_PAGE_SIZE}, not {page_size!r}")
        params = {
            "limit": page_size,
            "slug": slugs,
            "status": status,
            "workflow_id": workflow_id,
            "workflow_name": workflow_name,
            "execution_id": execution_id,
            "start_date": to_iso("since", since),
            "end_date": to_iso("until", until),
            "execution_type": type,
            "execution_source": source,
            "sortAsc": "true" if oldest_first else "false",
        }

        async def fetch(number: int) -> Mapping[str, Any]:
            document, _ = await self._channel.read("execution", {"page": number, **params}, **options)
            return document

        return Pager(fetch, Execution.of, key_of)

    async def get(self, execution_id: str, **options: Unpack[RequestOptions]) -> ExecutionDetail:
        """Return one execution with its steps.

        :raises NotFoundError: where there is none of this id. Some installations do not answer at all then, and it
            ends in `RefoldTimeoutError` or `DeadlineExceededError`; `list(execution_id=...)` tells at once.
        :raises InvalidRequestError: for an id that no path can hold.
        """
        name = segment(execution_id, "execution_id")
        document, _ = await self._channel.read(f"execution/{name}", **options)
        return ExecutionDetail.of(document, execution_id)

    async def wait(
        self,
        execution_id: str,
        *,
        timeout: float | None = 300.0,
        poll: Poll | None = None,
        **options: Unpack[WaitOptions],
    ) -> ExecutionDetail:
        """Wait until an execution has ended, and return it with its steps.

        It looks at a list of one, and asks for the steps once, at the end. Failures that may pass are waited out.

        :param timeout: seconds for all of it; None for no limit.
        :param poll: how often to look: after 1 s at first, then more and more seldom, at least every 10 s.
        :raises WaitTimeoutError: when it has not ended in time; its `.last` is what was seen last. It is also raised
            after a minute in which the execution was not listed.
        :raises ConfigurationError: for a timeout that makes no sense.
        """
        segment(execution_id, "execution_id")
        return await Waiting(self, self._channel, execution_id, timeout, poll or Poll(), dict(options)).run()

    async def stop(self, execution_id: str, **options: Unpack[RequestOptions]) -> str:
        """Ask for an execution to be stopped, and return Refold's words. It is STOPPING first, and STOPPED later.

        Asking twice is the same as once, so this is tried again freely.

        :raises NotFoundError: where there is none of this id.
        """
        name = segment(execution_id, "execution_id")
        document, _ = await self._channel.write(f"execution/{name}/stop", repeat=Repeat.FREELY, **options)
        return text(document, "message") or ""

    async def rerun(self, execution_id: str, **options: Unpack[RequestOptions]) -> Rerun:
        """Start an execution anew, from its payload.

        This fires: it is paced as triggers are, and an error's `delivery` tells whether it may have started.

        :raises NotFoundError: where there is none of this id. And what `RefoldClient.trigger` raises.
        """
        name = segment(execution_id, "execution_id")
        path = f"execution/{name}/rerun"
        document, response = await self._channel.write(path, repeat=Repeat.AS_TRIGGER, may_fire=True, **options)
        receipt = Receipt(
            message=text(document, "message", "status") or "",
            status_code=response.status_code,
            request_id=response.request_id,
            attempts=response.attempts,
            elapsed=response.elapsed,
            raw=response.raw,
        )
        return Rerun(execution_id=text(document, "instanceId", "id", "execution_id"), receipt=receipt)

    def matching(
        self,
        token: str,
        *,
        since: datetime,
        until: datetime | None = None,
        details: bool = False,
        max_requests: int = 50,
        **options: Unpack[RequestOptions],
    ) -> Pager[Execution]:
        """List the executions whose document holds a token in any of its texts. They are candidates, not a proof.

        Where Refold shows a tag is not documented, so the whole document is searched. Only a token that the client
        minted proves anything: see `RefoldClient.reconcile`.

        :param token: a tag, an idempotency key, or another text that nothing else holds; as a whole word.
        :param since: created then or later, with a time zone; and `until`, then or earlier.
        :param details: also search the steps of those that the list does not settle: a request for each.
        :param max_requests: so many at most; the search then ends early.
        :raises ConfigurationError: for a blank token, or a limit that makes no sense.
        """
        if not isinstance(token, str) or not token.strip():
            raise ConfigurationError("matching() needs a token that is not blank")
        if to_iso("since", since) is None:
            raise ConfigurationError("matching() needs since=: without it, all there ever was would be read")
        to_iso("until", until)
        if isinstance(max_requests, bool) or not isinstance(max_requests, int) or max_requests < 1:
            raise ConfigurationError(f"max_requests must be a whole number of at least 1, not {max_requests!r}")
        return MatchingPager(
            lambda: window_of(self._channel.sender, since, until, max_requests, options), token, details=details
        )


def window_of(
    sender: Sender, since: datetime, until: datetime | None, max_requests: int, options: Mapping[str, Any]
) -> Window:
    """Return the executions of a stretch of time, to be read with so many requests at most."""
    channel = CountedChannel(sender, max_requests)
    return Window(Executions(channel), channel, since, until, options)
