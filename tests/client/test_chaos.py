"""Short runs of the scenes of `make chaos`."""

from __future__ import annotations

import pytest

from refold_async import Delivery
from tests.campaigns.chaos.faults import Wire, chaos, compare
from tests.campaigns.chaos.foreign import foreign
from tests.campaigns.chaos.handshakes import slow_handshakes
from tests.campaigns.chaos.hostile import user_code
from tests.campaigns.chaos.loops import changing_loops
from tests.campaigns.chaos.stopped import stopped_process
from tests.campaigns.chaos.tally import Tally
from tests.support import abandons_sockets


@abandons_sockets
@pytest.mark.asyncio
@pytest.mark.parametrize("seed", [11, 12])
@pytest.mark.parametrize("wire", ["pool", "httpx"])
async def test_every_verdict_is_held_against_the_ledger(seed: int, wire: Wire) -> None:
    assert (await chaos(600, seed, wire, patience=6.0)).problems == []


@abandons_sockets
@pytest.mark.asyncio
async def test_hooks_and_auth_flows_of_a_foreign_client_make_no_verdict_lie() -> None:
    assert (await foreign(300, 13, patience=4.0)).problems == []


@abandons_sockets
@pytest.mark.asyncio
@pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning")
async def test_code_of_the_user_that_raises_by_chance_makes_no_verdict_lie() -> None:
    assert (await user_code(600, 14, patience=6.0)).problems == []


@abandons_sockets
@pytest.mark.parametrize("seed", [15, 16])
def test_loops_that_change_and_threads_make_no_verdict_lie_and_no_call_hang(seed: int) -> None:
    assert changing_loops(500, seed, patience=6.0).problems == []


@abandons_sockets
@pytest.mark.asyncio
async def test_the_pace_holds_at_the_write_although_handshakes_are_slow_and_end_together() -> None:
    assert (await slow_handshakes(100, 17, patience=4.0)).problems == []


@pytest.mark.asyncio
async def test_answers_that_came_while_the_process_was_stopped_are_read() -> None:
    assert (await stopped_process(120, 18, patience=2.0)).problems == []


def tally(ambiguous: range) -> Tally:
    verdicts = {n: Delivery.AMBIGUOUS if n in ambiguous else Delivery.ACCEPTED for n in range(100)}
    return Tally(verdicts, cut={99})


def test_more_that_is_ambiguous_than_on_the_stock_wire_is_a_failure() -> None:
    assert compare(tally(range(10)), tally(range(10))) == []
    assert compare(tally(range(12)), tally(range(10))) == [], "which may be chance"
    assert compare(tally(range(10)), tally(range(60))) == []
    assert len(compare(tally(range(40)), tally(range(10)))) == 1
