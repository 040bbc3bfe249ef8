"""Reading a list page by page, while it may grow."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping
from typing import Any, Generic, TypeVar

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

    async def pages(self) -> AsyncIterator[Page[T]]:
        """Iterate over the pages."""
        seen: set[Hashable] = set()
        number, first_size, pushed = 1, 0, 0
        last_total: int | None = None
        while True:
            document = await self._fetch(number)
            docs = document.get("docs")
            found = [self._read(each) for each in docs if isinstance(each, dict)] if isinstance(docs, list) else []
            fresh: list[T] = []
            for item in found:
                key = self._key(item)
                if key not in seen:
                    seen.add(key)
                    fresh.append(item)
            total = whole(document, "totalDocs")
            if number == 1:
                first_size = len(found)
            if fresh or number == 1:
                yield Page(items=tuple(fresh), number=number, total=total, raw=document)
            grew = total is not None and last_total is not None and total > last_total
            pushed = 0 if fresh else pushed + 1
            if not found or not has_next(document, number, len(found), first_size):
                return
            if not fresh and not (grew and pushed <= MAX_PUSHED_PAGES):
                return
            last_total = total
            number += 1

    async def __aiter__(self) -> AsyncIterator[T]:
        async for page in self.pages():
            for item in page.items:
                yield item

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
