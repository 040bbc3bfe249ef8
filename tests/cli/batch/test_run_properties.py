"""Any file through any weather, on a clock that jumps: what the table says is what really happened."""

from __future__ import annotations

import json
from collections import Counter, defaultdict

import anyio
import httpx
from attrs import define, field
from hypothesis import example, given, settings
from hypothesis import strategies as st

from refold_async.cli.batch.order import KeyOrder
from refold_async.cli.batch.table import RowState
from refold_async.cli.batch.trials import Trials
from tests.cli.batch.test_outage import Service, play, row

ENDINGS = ["accepted", "accepted", "accepted", "404", "502", "502 fired", "refused", "silent", "429", "503 wait"]


@define
class Weather(Service):
    """Plays one ending to each request for a row, in the order in which they come; then all is well."""

    endings: dict[int, list[str]] = field(factory=dict)
    down: list[tuple[float, float]] = field(factory=list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        is_down = any(begins <= self.now < ends for begins, ends in self.down)
        await anyio.sleep(self.latency)
        if request.method == "GET":
            return httpx.Response(502 if is_down else 401)
        assert isinstance(request.stream, httpx.ByteStream)
        n = json.loads(b"".join(request.stream))["payload"]["n"]
        planned = self.endings.get(n, [])
        ending = self.outage if is_down else planned.pop(0) if planned else "accepted"
        if ending == "refused":
            raise httpx.ConnectError("[Errno 111] Connection refused", request=request)
        if ending in ("accepted", "502 fired", "silent"):
            self.fired.append(n)
        if ending == "silent":
            raise httpx.ReadTimeout("nothing came", request=request)
        status = {"accepted": 200, "404": 404, "429": 429, "503 wait": 503}.get(ending, 502)
        headers = {"Retry-After": "1"} if status in (429, 503) else {}
        return httpx.Response(status, headers=headers, stream=httpx.ByteStream(b'{"message":"so"}'))


ROWS = st.tuples(
    st.sampled_from([None, "a", "b"]),
    st.just([]) | st.just(["refused"] * 3) | st.lists(st.sampled_from(ENDINGS), max_size=4),  # one call tries thrice
)


@settings(max_examples=80)
@example(  # a row that was put back is handed out again while a later one of its key has its turn
    planned=[(None, [])] * 9 + [(None, ["refused"] * 3), ("a", ["refused"] * 3), ("a", ["refused"] * 3), ("a", [])],
    down=[],
    how="refused",
    stops=False,
    concurrency=3,
)
@given(
    planned=st.lists(ROWS, min_size=1, max_size=25),
    down=st.lists(st.tuples(st.integers(0, 20), st.integers(1, 400)), max_size=2),
    how=st.sampled_from(["refused", "502", "silent"]),
    stops=st.booleans(),
    concurrency=st.integers(1, 8),
)
def test_whatever_happens_the_table_says_what_fired_and_keys_stay_in_order(
    planned: list[tuple[str | None, list[str]]],
    down: list[tuple[int, int]],
    how: str,
    stops: bool,
    concurrency: int,
) -> None:
    keys = [key for key, _ in planned]
    endings = {n: list(plan) for n, (_, plan) in enumerate(planned, 1)}
    weather = Weather(how, endings=endings, down=[(begins, begins + lasts) for begins, lasts in down])
    rows = [row(n, key) for n, key in enumerate(keys, 1)]
    played = play(weather, rows, order=KeyOrder(stops=stops), trials=Trials(), max_concurrency=concurrency)
    fired = Counter(weather.fired)
    states = played.states()
    report = played.run.report
    for n, key in enumerate(keys, 1):
        state = states.get(n, RowState.UNSENT)
        if state is RowState.ACCEPTED:
            assert fired[n] == 1
        elif state is RowState.AMBIGUOUS:
            assert fired[n] <= 1
        else:
            assert fired[n] == 0
            is_held = stops and key is not None and state is RowState.NOT_SENT
            assert is_held or state in (RowState.REJECTED, RowState.DEFERRED) or report.stopped is not None
    in_order = defaultdict(list)
    for n in weather.fired:
        if keys[n - 1] is not None:
            in_order[keys[n - 1]].append(n)
    assert all(lines == sorted(lines) for lines in in_order.values())
    if stops:  # up to the first one that was not accepted, none is missing
        for key in {"a", "b"} & {*keys}:
            own = [states.get(n, RowState.UNSENT) for n, its in enumerate(keys, 1) if its == key]
            first = next((at for at, state in enumerate(own) if state is not RowState.ACCEPTED), len(own))
            assert RowState.ACCEPTED not in own[first:]
    assert played.run.table.count(RowState.SENDING, RowState.RESENDING) == 0
