"""A short run of `make reconcile`."""

from __future__ import annotations

import pytest

from tests.campaigns.reconcile import WORLDS, World, campaign
from tests.support import abandons_sockets


@abandons_sockets
@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.asyncio
async def test_what_is_called_fired_has_fired_and_what_shows_its_tag_is_found(world: World) -> None:
    tally = await campaign(500, 7, world, patience=6.0)
    assert tally.problems == []
    assert (tally.found == 0) is (world == "hidden")
