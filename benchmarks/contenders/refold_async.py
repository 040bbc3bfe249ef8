"""refold_async on its own wire."""

# As it comes, but for the limiter, which is off because the others have none, and for `max_connections`, which is
# raised from 50 to what the others have. The timeout is per attempt, as everywhere; the deadline stays at its default.

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from ..contender import Contender, Fire, Target
from ._refold import firing


def _open(target: Target) -> AbstractAsyncContextManager[Fire]:
    return firing(target, max_connections=target.connections, timeout=target.timeout)


CONTENDER = Contender(
    name="refold_async", imports=("refold_async",), distributions=("refold-async", "httpx", "httptools"), open=_open
)
