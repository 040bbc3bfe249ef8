"""Looking for tokens in the executions of a stretch of time."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Self, Unpack

from .._api.trigger import TOKEN_PREFIX
from .._core.settings import RequestOptions
from .._types.errors import InvalidRequestError, NotFoundError
from .channel import Channel
from .execution import Execution, ExecutionDetail
from .pager import Page, Pager

if TYPE_CHECKING:
    from .._core.sender import Sender
    from .._types.response import Response
    from .executions import Executions

PAGE_SIZE = 100

MINTED = re.compile(re.escape(TOKEN_PREFIX) + r"[0-9a-f]{32}(?![0-9a-f])")
"""A token as the client mints it."""


def texts_in(document: Any) -> list[str]:
    """Return every text in a document, however deep; the names of fields are not among them."""
    found: list[str] = []
    rest = [document]
    while rest:
        value = rest.pop()
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, Mapping):
            rest.extend(value.values())
        elif isinstance(value, list | tuple):
            rest.extend(value)
    return found


def minted_in(document: Any) -> set[str]:
    """Return the tokens in a document that a client has minted."""
    return {token for text in texts_in(document) for token in MINTED.findall(text)}


class OutOfRequestsError(Exception):
    """As many requests were made as may be."""


class CountedChannel(Channel):
    """A channel that makes so many requests and no more.

    :ivar requests: how many were made.
    :ivar is_cut: whether another one was wanted.
    :ivar server_is_ahead: seconds by which the server's clock is ahead of ours, as the first response told; None
        where it told nothing.
    """

    def __init__(self, sender: Sender, max_requests: int) -> None:
        super().__init__(sender)
        self.requests = 0
        self.is_cut = False
        self.server_is_ahead: float | None = None
        self._max_requests = max_requests

    async def read(
        self, path: str, params: Mapping[str, Any] | None = None, **options: Unpack[RequestOptions]
    ) -> tuple[dict[str, Any], Response]:
        """Get a JSON object.

        :raises OutOfRequestsError: when so many were got already.
        """
        if self.requests >= self._max_requests:
            self.is_cut = True
            raise OutOfRequestsError
        self.requests += 1
        document, response = await super().read(path, params, **options)
        if self.server_is_ahead is None:
            self.server_is_ahead = _ahead(response.headers.get("date"), time.time())
        return document, response


def _ahead(date: str | None, now: float) -> float | None:
    try:
        return None if date is None else parsedate_to_datetime(date).timestamp() - now
    except (ValueError, OverflowError):
        return None


class Window:
    """The executions of an account that were created in a stretch of time, read page by page, the newest first.

    :param executions: what to read through; it shares `channel`.
    :param since: created then or later.
    :param until: created then or earlier; None for no end.
    :param options: of each request.
    """

    def __init__(
        self,
        executions: Executions,
        channel: CountedChannel,
        since: datetime,
        until: datetime | None,
        options: Mapping[str, Any],
    ) -> None:
        self._executions = executions
        self._options = dict(options)
        self.channel = channel
        self.since = since
        self.until = until

    def pages(self) -> AsyncIterator[Page[Execution]]:
        """Iterate over the pages; each holds those of the window alone."""
        # Whether an end is a day or a moment, and whether it is itself included, is not documented.
        end = None if self.until is None else self.until + timedelta(days=1)
        listed = self._executions.list(since=self.since, until=end, page_size=PAGE_SIZE, **self._options)
        return _WindowPages(self, listed.pages())

    def holds(self, execution: Execution) -> bool:
        """Whether an execution was created in the window, as far as it says when."""
        created = execution.created_at
        return created is None or (self.since <= created and (self.until is None or created <= self.until))

    def is_before(self, execution: Execution) -> bool:
        """Whether an execution was created before the window begins."""
        return execution.created_at is not None and execution.created_at < self.since

    async def detail(self, execution: Execution) -> ExecutionDetail | None:
        """Return the execution with its steps; None where that cannot be had."""
        if not execution.id:
            return None
        try:
            return await self._executions.get(execution.id, **self._options)
        except (NotFoundError, InvalidRequestError, OutOfRequestsError):  # its id may be one that no path can hold
            return None


class _WindowPages:
    """One iteration over the pages of a window.

    :param listed: the pages of the list that the server was asked for.
    """

    def __init__(self, window: Window, listed: AsyncIterator[Page[Execution]]) -> None:
        self._window = window
        self._listed = listed
        self._is_over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Page[Execution]:
        window = self._window
        if self._is_over:
            raise StopAsyncIteration
        try:
            page = await anext(self._listed)
        except OutOfRequestsError:
            self._is_over = True
            raise StopAsyncIteration from None
        # Where the start is ignored, what follows is older still.
        self._is_over = bool(page.items) and all(window.is_before(each) for each in page.items)
        held = tuple(each for each in page.items if window.holds(each))
        return Page(items=held, number=page.number, total=page.total, raw=page.raw)


class MatchingPager(Pager[Execution]):
    """The executions of a window whose document holds a token.

    :param window: returns the window, unread.
    """

    def __init__(self, window: Callable[[], Window], token: str, *, details: bool) -> None:
        self._window = window
        self._details = details
        # A whole word: `order-1` is not in `order-17`. A minted token is found wherever it stands.
        word = re.escape(token)
        self._pattern = re.compile(word if MINTED.fullmatch(token) else rf"(?<!\w){word}(?!\w)")

    def pages(self) -> AsyncIterator[Page[Execution]]:
        """Iterate over the pages that hold one."""
        return _MatchingPages(self, self._window())

    async def matches_of(self, window: Window, page: Page[Execution]) -> tuple[Execution, ...]:
        """Return those of a page that hold the token."""
        found: list[Execution] = []
        for execution in page.items:
            seen: Execution | None = execution
            if not self._is_in(execution) and self._details:
                seen = await window.detail(execution)
            if seen is not None and self._is_in(seen):
                found.append(seen)
        return tuple(found)

    def _is_in(self, execution: Execution) -> bool:
        return any(self._pattern.search(text) for text in texts_in(execution.raw))


class _MatchingPages:
    """One iteration over the pages that hold a token."""

    def __init__(self, pager: MatchingPager, window: Window) -> None:
        self._pager = pager
        self._window = window
        self._pages = window.pages()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Page[Execution]:
        async for page in self._pages:
            found = await self._pager.matches_of(self._window, page)
            if found:
                return Page(items=found, number=page.number, total=page.total, raw=page.raw)
        raise StopAsyncIteration
