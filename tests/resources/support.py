"""Clients of the mock whose reads are not paced, so that no test waits."""

from __future__ import annotations

import copy
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from refold_async import RateLimit, RefoldClient, RetryPolicy
from refold_async.limiters import MemoryRateLimiter
from refold_async.testing import MockRefold

QUICK = RetryPolicy(base_delay=0, throttled_base_delay=0)
EXAMPLES: dict[str, list[Any]] = json.loads((Path(__file__).parent / "documented.json").read_text())
"""Refold's documented answers, by page: the success, then the errors. Its tokens are made up anew."""

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([10**400, -(10**25), "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Return the path to each value in a document."""
    items: Any = document.items() if isinstance(document, dict) else ()
    for key, value in enumerate(document) if isinstance(document, list) else items:
        yield (*path, key)
        yield from places(value, (*path, key))


@st.composite
def altered(draw: st.DrawFn, originals: Sequence[Any]) -> Any:
    """Return one of these documents with some fields dropped, null, of another type, or new."""
    document = copy.deepcopy(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(0, 4))):
        found = list(places(document))
        if not found:
            break
        *above, last = draw(st.sampled_from(found))
        holder: Any = document
        for key in above:
            holder = holder[key]
        change = draw(st.sampled_from(["drop", "null", "other", "new"]))
        if change == "drop":
            del holder[last]
        elif change == "new" and isinstance(holder, dict):
            holder[draw(st.text(max_size=8))] = draw(JSON)
        else:
            holder[last] = None if change == "null" else draw(JSON)
    return document


def unpace(client: RefoldClient) -> RefoldClient:
    """Let the reads of a client go as fast as they can, on the running loop."""
    client._sender.life.check()
    client._sender.life.lane.limiter = MemoryRateLimiter(RateLimit(1_000_000, 100_000))
    return client


@asynccontextmanager
async def mock(
    client_options: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[tuple[MockRefold, RefoldClient]]:
    """Run a mock and a client of it, neither of them paced."""
    async with MockRefold(**{"rate_limit": None, **options}) as server:
        async with server.client(**{"rate_limit": None, "retry": QUICK, **(client_options or {})}) as client:
            yield server, unpace(client)
