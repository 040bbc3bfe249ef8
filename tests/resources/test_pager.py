"""Lists that are read while they grow, and servers that page in ways of their own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refold_async import ConfigurationError, Pager

Envelope = Literal["full", "short", "docs"]


class Server:
    """A list of numbers, newest first or oldest first, that grows after each page."""

    def __init__(
        self,
        count: int,
        *,
        asked: int,
        cut: int | None = None,
        grows: int = 0,
        newest_first: bool = True,
        envelope: Envelope = "full",
        endless: bool = False,
        ignores_page: bool = False,
    ) -> None:
        self.items = list(range(count))
        self.size = asked if cut is None else min(asked, cut)
        self.asked = asked
        self.grows = grows
        self.newest_first = newest_first
        self.envelope = envelope
        self.endless = endless
        self.ignores_page = ignores_page
        self.requests: list[int] = []

    async def fetch(self, number: int) -> Mapping[str, Any]:
        self.requests.append(number)
        shown = self.items[::-1] if self.newest_first else list(self.items)
        start = 0 if self.ignores_page else (number - 1) * self.size
        page: dict[str, Any] = {"docs": [{"n": n} for n in shown[start : start + self.size]]}
        pages = max(1, math.ceil(len(shown) / self.size))
        if self.envelope != "docs":
            page |= {"totalDocs": len(shown), "totalPages": pages}
        if self.envelope == "full" or self.endless:
            page["hasNextPage"] = self.endless or number < pages
        self.items += range(len(self.items), len(self.items) + self.grows)
        return page

    def pager(self) -> Pager[Any]:
        return Pager(self.fetch, lambda document: document.get("n"), lambda n: n)


async def read(server: Server) -> list[Any]:
    return [item async for item in server.pager()]


def run(main: Any) -> Any:
    import asyncio

    return asyncio.run(main)


@given(
    count=st.integers(0, 60),
    asked=st.integers(2, 12),
    cut=st.none() | st.integers(2, 12),
    newest_first=st.booleans(),
    envelope=st.sampled_from(["full", "short", "docs"]),
    endless=st.booleans(),
    data=st.data(),
)
def test_what_was_listed_at_the_start_is_read_once_each_while_the_list_grows(
    count: int, asked: int, cut: int | None, newest_first: bool, envelope: Envelope, endless: bool, data: st.DataObject
) -> None:
    size = asked if cut is None else min(asked, cut)
    # Without a total nothing tells a page that growth has pushed there from one that repeats itself.
    most = size - 1 if newest_first else 2
    grows = data.draw(st.integers(0, most))
    server = Server(
        count, asked=asked, cut=cut, grows=grows, newest_first=newest_first, envelope=envelope, endless=endless
    )
    if not newest_first and grows >= size:
        return
    found = run(read(server))
    assert len(found) == len(set(found)), "an item was read twice"
    assert set(range(count)) <= set(found), "an item was missed"


@given(count=st.integers(1, 30), asked=st.integers(1, 10), envelope=st.sampled_from(["full", "short", "docs"]))
def test_a_list_whose_pages_repeat_themselves_ends_in_two_requests(count: int, asked: int, envelope: Envelope) -> None:
    server = Server(count, asked=asked, envelope=envelope, endless=True, ignores_page=True)
    assert run(read(server)) == list(range(count))[::-1][:asked]
    assert server.requests == [1, 2]


@pytest.mark.parametrize(("count", "requests"), [(0, 1), (3, 1), (10, 1), (11, 2), (20, 2), (21, 3)])
def test_a_list_that_says_which_page_is_the_last_is_read_without_one_more(count: int, requests: int) -> None:
    server = Server(count, asked=10)
    assert len(run(read(server))) == count
    assert len(server.requests) == requests


def test_a_size_that_the_server_cuts_without_a_word_misses_nothing() -> None:
    server = Server(25, asked=50, cut=10, envelope="docs")
    assert len(run(read(server))) == 25
    assert server.requests == [1, 2, 3]


def test_an_endless_list_ends_at_its_first_empty_page() -> None:
    server = Server(25, asked=10, endless=True)
    assert len(run(read(server))) == 25
    assert server.requests == [1, 2, 3, 4]


def test_a_list_that_grows_as_fast_as_it_is_read_comes_to_an_end() -> None:
    server = Server(40, asked=5, grows=5, endless=True)
    found = run(read(server))
    assert len(found) == len(set(found))
    assert len(server.requests) < 100


def test_nothing_is_sent_before_a_list_is_read_and_each_reading_begins_anew() -> None:
    server = Server(25, asked=10)
    pager = server.pager()
    assert server.requests == []
    assert run(pager.first()) == 24
    assert server.requests == [1]
    assert run(pager.collect(12)) == list(range(24, 12, -1))
    assert server.requests == [1, 1, 2]
    assert run(pager.collect(0)) == []
    assert server.requests == [1, 1, 2]
    assert run(Server(0, asked=10).pager().first()) is None


@pytest.mark.parametrize("limit", [-1, 1.5, True, "3"])
def test_a_limit_that_makes_no_sense_is_refused(limit: Any) -> None:
    with pytest.raises(ConfigurationError, match="limit"):
        run(Server(1, asked=1).pager().collect(limit))


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=6))
def test_a_page_without_a_list_in_it_is_empty(docs: Any) -> None:
    async def fetch(_: int) -> Mapping[str, Any]:
        return {"docs": docs, "hasNextPage": True}

    assert run(Pager(fetch, lambda document: document, str).collect()) == []


@given(
    pages=st.lists(st.lists(st.integers(0, 9) | st.none(), max_size=5), min_size=1, max_size=12),
    envelope=st.fixed_dictionaries(
        {},
        optional={
            "hasNextPage": st.booleans() | st.none() | st.text(),
            "totalPages": st.integers(-2, 30) | st.just(10**400) | st.floats() | st.none(),
            "totalDocs": st.integers(-2, 30) | st.floats() | st.text(),
        },
    ),
)
def test_whatever_pages_repeat_shrink_or_claim_no_item_comes_twice_and_reading_ends(
    pages: list[list[int | None]], envelope: dict[str, Any]
) -> None:
    requests: list[int] = []

    async def fetch(number: int) -> Mapping[str, Any]:
        requests.append(number)
        assert len(requests) <= 50, "it does not end"
        return {"docs": [{"n": n} for n in pages[(number - 1) % len(pages)]], **envelope}

    found = run(Pager(fetch, lambda document: document["n"], str).collect())
    assert len(found) == len(set(found))
    assert requests == list(range(1, len(requests) + 1))
    assert set(found) <= {n for page in pages for n in page}
