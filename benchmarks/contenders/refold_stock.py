"""refold_async on httpx's own wire: `transport="httpx"`, for those who opt out of ours."""

# Otherwise the same settings as refold_async.

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from ..contender import Contender, Fire, Setup, Target
from ._refold import firing
from .refold_async import says_uncertain


def _open(target: Target) -> AbstractAsyncContextManager[Fire]:
    return firing(target, max_connections=target.connections, timeout=target.timeout, transport="httpx")


CONTENDER = Contender(
    name="refold_async, stock wire",
    imports="refold_async",
    distributions=("refold-async", "httpx"),
    open=_open,
    setups=(Setup(name="defaults", open=_open, uncertain=says_uncertain),),
)
