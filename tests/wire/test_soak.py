"""A short run of `make soak`, and a look at whether it would notice."""

from __future__ import annotations

import random

import pytest

from tests.campaigns.soak import Sample, Soak, soak
from tests.wire.conftest import needs_ours
from tests.wire.storm import Storm
from tests.wire.wire import make_wire

pytestmark = needs_ours


@pytest.mark.anyio
async def test_neither_memory_nor_sockets_grow_in_a_storm(anyio_backend: tuple[str, dict[str, bool]]) -> None:
    running, problems = await soak(1.0, 0.1, tls="use_uvloop" in anyio_backend[1], requests=400)
    assert problems == []
    assert len(running.samples) >= 3
    assert running.samples[-1].requests >= 300


@pytest.mark.parametrize(("memory", "sockets", "found"), [(0.0, 0, 0), (1.0, 0, 1), (0.0, 10, 1), (1.0, 10, 2)])
def test_growth_is_noticed(memory: float, sockets: int, found: int) -> None:
    running = Soak(20.0, 1.0, Storm(make_wire(), "http://nowhere.test", random.Random(1)))
    for second in range(21):
        held = 50.0 + memory * second
        running.samples.append(Sample(float(second), 10 + sockets * second, held, second, ""))
    assert len(running.problems()) == found
