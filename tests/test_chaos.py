"""A short run of `make chaos`."""

from __future__ import annotations

import pytest

from .chaos import chaos
from .support import abandons_sockets


@abandons_sockets
@pytest.mark.asyncio
@pytest.mark.parametrize("seed", [11, 12])
async def test_every_verdict_is_held_against_the_ledger(seed: int) -> None:
    assert await chaos(600, seed) == []
