"""Reading a list page by page, while it may grow."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterator, Mapping
from typing import Any, Generic, Self, TypeVar

from attrs import field, frozen

from .._types.errors import ConfigurationError
from .decode import flag, whole

T = TypeVar("T")

MAX_PUSHED_PAGES = 20
"""How many pages in a row may bring nothing new because the list has grown meanwhile."""


@frozen(kw_only=True)
class Page(Generic[T]):
    """One page of a list.

    :ivar items: those that no earlier page had.
    :ivar number: counts from 1.
    :ivar total: how many there are in all, where Refold says so.
    :ivar raw: the document as it came.
    """

    items: tuple[T, ...]
    number: int
    total: int | None = None
    raw: Mapping[str, Any] = field(factory=dict, repr=False, hash=False)


class Pager(Generic[T]):
    """A list that is read as it is iterated over: `async for item in pager`. Each iteration begins anew.

    Pages are counted up. An item that an earlier page had is left out: a list that grows at its front pushes items
    onto the next page. It ends at an empty page, where the page says it is the last, and at a page without anything
    new, unless the list has grown since the page before it. Between two pages nothing is held.

    :param fetch: returns the document of the page with a number from 1.
    :param read: turns one document of a page into an item; None leaves it out.
    :param key: what tells two items apart.
    """

    def __init__(
        self,
        fetch: Callable[[int], Awaitable[Mapping[str, Any]]],
        read: Callable[[Mapping[str, Any]], T],
        key: Callable[[T], Hashable],
    ) -> None:
        self._fetch = fetch
        self._read = read
        self._key = key

    def pages(self) -> AsyncIterator[Page[T]]:
        """Iterate over the pages."""
        return _Reading(self._fetch, self._read, self._key)

    def __aiter__(self) -> AsyncIterator[T]:
        return _Items(self.pages())

    async def first(self) -> T | None:
        """Return the first item; None where there is none."""
        async for page in self.pages():
            if page.items:
                return page.items[0]
        return None

    async def collect(self, limit: int | None = None) -> list[T]:
        """Return the items as a list.

        :param limit: at most so many; None for all, however many those are.
        :raises ConfigurationError: for a limit that is not a whole number, 0 or more.
        """
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
            raise ConfigurationError(f"limit must be a whole number, 0 or more, or None for all, not {limit!r}")
        found: list[T] = []
        if limit == 0:
            return found
        async for page in self.pages():
            found += page.items
            if limit is not None and len(found) >= limit:
                return found[:limit]
        return found


class _Reading(Generic[T]):
    """One iteration over the pages of a list.

    It is no generator: one that is left early would have to be closed, and on trio nobody could do that. A page whose
    reading was cancelled is read by the next step.

    :param fetch: as for the `Pager`; so are the others.
    """

    def __init__(
        self,
        fetch: Callable[[int], Awaitable[Mapping[str, Any]]],
        read: Callable[[Mapping[str, Any]], T],
        key: Callable[[T], Hashable],
    ) -> None:
        self._fetch = fetch
        self._read = read
        self._key = key
        self._seen: set[Hashable] = set()
        self._number = 1
        self._first_size = 0
        self._pushed = 0
        self._last_total: int | None = None
        self._is_over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Page[T]:
        while not self._is_over:
            number = self._number
            page = self._take(await self._fetch(number))
            if page.items or number == 1:
                return page
        raise StopAsyncIteration

    def _take(self, document: Mapping[str, Any]) -> Page[T]:
        """Return what is new on a page, and decide whether another one is to be read."""
        docs = document.get("docs")
        found = [self._read(each) for each in docs if isinstance(each, dict)] if isinstance(docs, list) else []
        fresh: list[T] = []
        for item in found:
            key = self._key(item)
            if key not in self._seen:
                self._seen.add(key)
                fresh.append(item)
        number, total, last = self._number, whole(document, "totalDocs"), self._last_total
        if number == 1:
            self._first_size = len(found)
        grew = total is not None and last is not None and total > last
        self._pushed = 0 if fresh else self._pushed + 1
        self._is_over = (
            not found
            or not has_next(document, number, len(found), self._first_size)
            or not (fresh or (grew and self._pushed <= MAX_PUSHED_PAGES))
        )
        self._last_total = total
        self._number += 1
        return Page(items=tuple(fresh), number=number, total=total, raw=document)


class _Items(Generic[T]):
    """One iteration over the items of pages."""

    def __init__(self, pages: AsyncIterator[Page[T]]) -> None:
        self._pages = pages
        self._left: Iterator[T] = iter(())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while True:
            for item in self._left:
                return item
            self._left = iter((await anext(self._pages)).items)


def has_next(document: Mapping[str, Any], number: int, size: int, first_size: int) -> bool:
    """Whether another page may follow.

    Where the document does not say, a page that is no shorter than the first one counts as full: the server may have
    cut the size that was asked for without a word.
    """
    said = flag(document, "hasNextPage")
    if said is not None:
        return said
    pages = whole(document, "totalPages")
    return number < pages if pages is not None else size >= first_size
