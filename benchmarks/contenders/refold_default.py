"""refold_async exactly as it comes, but for the limiter, which is off: it keeps to its own 50 connections."""

# Not in the tables, where everybody has the same number of connections; the claims about the wire are about this one.

from __future__ import annotations

from ..contender import Contender
from ._refold import firing

CONTENDER = Contender(
    name="refold_async, as it comes",
    imports="refold_async",
    distributions=("refold-async", "httpx", "httptools"),
    open=firing,
)
