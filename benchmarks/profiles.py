"""How much of everything a run measures."""

from __future__ import annotations

from typing import Final

from attrs import frozen

LEVELS: Final = (1, 10, 100, 500)

COST: Final[dict[str, tuple[int, ...]]] = {
    "refold_async": LEVELS,
    "refold_stock": LEVELS,
    "httpx": LEVELS,
    "httpx2": LEVELS,
    "httpx_aiohttp": LEVELS,
    "aiohttp": LEVELS,
    "httpx_retries": LEVELS,
    "openai": LEVELS,
    "stripe": LEVELS,
    "floor": LEVELS,
    "refold_async@uvloop": LEVELS,
    "aiohttp@uvloop": LEVELS,
    "httpx@uvloop": (100,),
    "floor@uvloop": LEVELS,
    "refold_default": (10, 100, 500),
    "refold_default@uvloop": (10, 100, 500),
}
"""The contenders and their levels of concurrency. Those who are here for a claim have only its levels."""

WIRE: Final[dict[str, tuple[int, ...]]] = {
    "refold_default": (10, 100, 500),
    "refold_async": (100,),
    "aiohttp": (100,),
    "httpx": (100,),
    "floor": (100,),
}
"""What the claims about the wire need, on each loop."""

DELIVERY: Final = (
    "refold_async", "refold_stock", "httpx", "httpx2", "httpx_aiohttp", "aiohttp", "httpx_retries", "openai", "stripe",
)  # fmt: skip
PACING: Final = ("refold_async", "aiolimiter_httpx", "httpx_retries")
LOOPS: Final = {"asyncio": "", "uvloop": "@uvloop"}


@frozen(kw_only=True)
class Profile:
    """How many rounds, and how long.

    :ivar cost_seconds: of one sample.
    :ivar events: fired through each setup, in the measurement of delivery.
    :ivar backlog_seconds: at the documented rate, in that of pacing.
    :ivar batches: the sizes, and the rounds of each.
    """

    name: str
    cost_rounds: int
    cost_seconds: float
    events: int
    backlog_seconds: float
    batches: dict[int, int]
    import_rounds: int
    layer_rounds: int
    mock_rounds: int
    mock_requests: int


QUICK: Final = Profile(
    name="quick",
    cost_rounds=2,
    cost_seconds=0.15,
    events=300,
    backlog_seconds=3.0,
    batches={1_000: 3, 10_000: 2},
    import_rounds=2,
    layer_rounds=3,
    mock_rounds=2,
    mock_requests=5_000,
)
"""About two minutes on two cores."""

FULL: Final = Profile(
    name="full",
    cost_rounds=4,
    cost_seconds=0.5,
    events=5_000,
    backlog_seconds=30.0,
    batches={1_000: 5, 10_000: 3, 100_000: 2},
    import_rounds=11,
    layer_rounds=7,
    mock_rounds=5,
    mock_requests=10_000,
)
"""About ten."""
