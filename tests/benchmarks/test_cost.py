"""What the harness must notice: a client that burns, crashes, hangs, raises or never asks the server."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.contender import events
from benchmarks.contenders import missing
from benchmarks.measurements import cost
from benchmarks.measurements.cost import Case
from benchmarks.process import TurnFailedError, Worker
from benchmarks.results import Result
from benchmarks.server import Server, answering_server


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are started as modules, from where `python -m benchmarks` is."""
    monkeypatch.chdir(Path(__file__).parents[2])


@pytest.fixture(name="server")
def _server() -> Iterator[Server]:
    with answering_server() as server:
        yield server


def known(name: str) -> Case:
    return Case(f"tests.benchmarks.contenders:{name}", level=2)


def measured(*names: str, rounds: int = 1, limit: float = 30.0) -> Result:
    rows = cost.run([known(name) for name in names], rounds=rounds, seconds=0.05, limit=limit)
    return Result(rows={"cost": rows})


def test_a_contender_that_burns_cpu_is_measured_as_dearer() -> None:
    result = measured("honest", "burns")
    burnt = result.spread("cost", "cpu_us", contender=known("burns").contender)
    dearer = result.ratio("cost", "cpu_us", known("burns").as_row(), known("honest").as_row())
    assert burnt is not None
    assert dearer is not None
    assert burnt.low > 4_900
    assert dearer.low > 2


def test_a_contender_that_raises_crashes_or_hangs_has_a_row_that_says_so_and_the_others_go_on() -> None:
    result = measured("crashes", "honest", "hangs", "raises", rounds=2, limit=10.0)
    failed = {(row["contender"].partition(":")[2], row["round"]): row["failed"] for _, row in result.failures()}
    assert failed.keys() == {("crashes", 0), ("hangs", 0), ("raises", 0), ("raises", 1)}
    assert failed["crashes", 0] == "crashed (signal 9)"
    assert failed["hangs", 0] == "hung: killed after 10 s"
    assert failed["raises", 0] == "RuntimeError: out of order"
    assert [row["round"] for row in result.of("cost", contender=known("honest").contender)] == [0, 1]


def test_a_contender_that_never_asks_the_server_has_a_row_that_says_so() -> None:
    [(_, row)] = measured("loses").failures()
    assert row["failed"] == "it counted more responses than the server sent"


def test_a_worker_that_is_gone_says_so_at_every_further_turn() -> None:
    case = {"case": known("crashes").as_row(), "target": {"url": "http://127.0.0.1:9"}, "server_pid": 1}
    with Worker("benchmarks.measurements.cost") as worker:
        for _ in range(2):
            with pytest.raises(TurnFailedError, match="signal 9"):
                worker.turn(limit=20, **case)
        assert not worker.alive


def test_what_a_contender_prints_does_not_mix_with_the_answers_of_its_worker() -> None:
    with Worker("tests.benchmarks.contenders") as worker:
        assert worker.turn(limit=20, value=3) == {"value": 3}


@pytest.mark.timeout(300)  # fifty times slower than without callgrind
def test_the_instructions_of_a_call_are_counted_without_the_start_of_the_process() -> None:
    counted = cost.instructions([Case("floor", level=10)])
    if not counted:
        pytest.skip("valgrind is not installed")
    [row] = counted
    assert 50_000 < row["instructions"] < 500_000


def test_no_two_events_have_the_same_payload_account_or_key() -> None:
    made = events(1000)
    assert len({str(event.payload) for event in made}) == 1000
    assert len({event.account for event in made}) > 990
    assert len({event.key for event in made}) == 1000
    assert all(one.slug != other.slug for one, other in pairwise(made))


def test_no_two_responses_have_the_same_head(server: Server) -> None:
    heads = set()
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=10)
    for _ in range(3):
        connection.request("POST", "/api/v2/public/event/app-1", body=b"{}")
        response = connection.getresponse()
        assert response.read() == b'{"message":"Webhook Fired Success"}'
        assert len(response.getheaders()) == 10
        heads.add(str(response.getheaders()))
    connection.close()
    assert len(heads) == 3
    assert server.seen() == 3


def test_the_server_speaks_tls_with_a_certificate_of_its_own_authority(server: Server) -> None:
    assert server.secure_url is not None
    context = ssl.create_default_context(cadata=server.ca)
    connection = http.client.HTTPSConnection(server.secure_url.removeprefix("https://"), timeout=10, context=context)
    connection.request("POST", "/", body=b"{}")
    assert connection.getresponse().status == 200
    connection.close()


def test_a_contender_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing("httpx") is None
    monkeypatch.setattr("benchmarks.contenders.find_spec", lambda name: None if name == "uvloop" else name)
    assert missing("httpx", "uvloop") == "uvloop"
    assert missing("aiohttp") is None
