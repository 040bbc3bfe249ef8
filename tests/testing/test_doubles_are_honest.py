"""What the mock says of itself is true, whatever the environment, the clock and asyncio's debug mode are."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import subprocess
import sys
import time

import httpx
import pytest
from typer.testing import CliRunner

from refold_async import Delivery
from refold_async.cli.app import app
from refold_async.cli.demo import Summary
from refold_async.testing import Dedupe, Fault, Latency, Ledger, MockRefold, SeededFaults

from .api import Api

PROXIES = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"]


@pytest.fixture(params=["http://127.0.0.1:9", "junk://nowhere", "not a url at all"])
def proxied(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that names proxies which lead nowhere."""
    for name in PROXIES:
        monkeypatch.setenv(name, request.param)


# The ledger.


def test_events_without_a_payload_are_counted(server: MockRefold) -> None:
    api = Api(server)
    api.fire()
    api.fire({"n": 1})
    api.fire({"n": None})
    assert server.ledger.fired_count() == 3
    assert server.ledger.fired_count(n=1) == 1
    assert server.ledger.fired_count(n=None) == 1, "a field that is missing is not a field that is null"
    assert server.ledger.count_fired_by("n") == {None: 2, 1: 1}


def test_an_answer_that_nobody_was_there_to_read_is_not_in_the_ledger() -> None:
    with MockRefold(rate_limit=None, latency=0.05) as server:
        with pytest.raises(httpx.ReadTimeout):
            Api(server).call("POST", "event/slack", json={"event": "E"}, timeout=0.01)
        assert server.ledger.wait_for(lambda ledger: server.open_connections == 0)
        assert Api(server).fire() == 200
        assert [entry.status for entry in server.ledger.entries] == [None, 200]


def test_waiting_for_the_ledger_ends_where_time_is_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: frozen)
    assert Ledger().wait_for(lambda ledger: False, timeout=0.02) is False


def test_the_mock_goes_on_where_time_is_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: 5.0)
    with MockRefold(latency=0.01) as server:
        server.next(Fault.stall_head(seconds=0.01), None)
        with pytest.raises(httpx.RemoteProtocolError):
            Api(server).fire()
        assert Api(server).fire() == 200
        assert all(entry.received_at >= real for entry in server.ledger.entries)


def test_every_time_is_on_the_clock_that_was_given() -> None:
    now = 5.0
    with MockRefold(clock=lambda: now) as server:
        Api(server).fire()
        now = 7.5
        Api(server).fire()
        assert [entry.received_at for entry in server.ledger.entries] == [5.0, 7.5]
        assert server.ledger.max_per_second() == 1
        assert [run.created_at for run in server.runs.all()] == [5.0, 7.5]


def test_the_date_of_answers_follows_the_skew() -> None:
    with MockRefold(skew=3600.0) as ahead, MockRefold() as server:
        dates = [Api(it).call("GET", "execution").headers["date"] for it in (ahead, server)]
        assert dates[0] != dates[1]


# Addresses.


@pytest.mark.parametrize(
    ("host", "start"),
    [
        ("127.0.0.1", "http://127.0.0.1:"),
        ("::1", "http://[::1]:"),
        ("", "http://127.0.0.1:"),
        ("0.0.0.0", "http://127.0.0.1:"),
        ("::", "http://[::1]:"),
        ("localhost", "http://localhost:"),
    ],
)
def test_the_url_leads_to_the_mock(host: str, start: str) -> None:
    if ":" in host and not _has_ipv6():
        pytest.skip("this machine has no IPv6")
    with MockRefold(host=host, prefix="/eu") as server:
        assert server.url.startswith(start)
        assert server.url.endswith("/eu")
        assert Api(server).fire() == 200
        assert server.url in repr(server)


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


def test_a_mock_without_a_port_has_no_url() -> None:
    server = MockRefold()
    assert "stopped" in repr(server)
    with pytest.raises(RuntimeError, match="before it is started"):
        _ = server.url
    assert MockRefold(port=8321).url == "http://127.0.0.1:8321"


@pytest.mark.parametrize("options", [{"host": "no.such.host.invalid"}, {"host": "a" * 300}])
def test_a_mock_that_cannot_start_raises_at_once(options: dict[str, object]) -> None:
    server = MockRefold(**options)  # type: ignore[arg-type]
    with pytest.raises((OSError, UnicodeError)):
        server.start()
    server.stop()


@pytest.mark.parametrize(
    "options", [{"port": 99_999}, {"port": -1}, {"prefix": "eu"}, {"latency": -1.0}, {"latency": float("nan")}]
)
def test_settings_that_make_no_sense_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        MockRefold(**options)  # type: ignore[arg-type]


def test_a_mock_can_be_started_again_on_its_port() -> None:
    server = MockRefold()
    server.start()
    url = server.url
    server.stop()
    server.stop()
    with server:
        assert server.url == url
        assert Api(server).fire() == 200


# The environment.


@pytest.mark.usefixtures("proxied")
@pytest.mark.anyio
async def test_the_mocks_client_uses_no_proxy_of_the_environment(server: MockRefold) -> None:
    async with server.client() as client:
        await client.trigger("pipedrive", "Deal Created")
    assert server.ledger.fired_count() == 1


@pytest.mark.usefixtures("proxied")
@pytest.mark.anyio
async def test_the_fixtures_client_uses_no_proxy_of_the_environment(refold_server: MockRefold) -> None:
    async with refold_server.client() as client:
        await client.trigger("pipedrive", "Deal Created")
    assert refold_server.ledger.fired_count() == 1


@pytest.mark.anyio
async def test_the_mocks_client_looks_for_no_authorities_and_takes_no_settings_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, server: MockRefold
) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.setenv(name, "/nowhere")
    for name in ("API_KEY", "SESSION_TOKEN", "BASE_URL", "LINKED_ACCOUNT_ID", "CONFIG_ID"):
        monkeypatch.setenv(f"REFOLD_{name}", "http://from.the.environment")
    async with server.client() as client:
        await client.trigger("pipedrive", "Deal Created")
    [entry] = server.ledger.fired
    assert "environment" not in str(entry.headers)


@pytest.mark.usefixtures("proxied")
def test_the_demo_uses_no_proxy_of_the_environment() -> None:
    result = CliRunner().invoke(app, ["demo", "--events", "10", "--rate", "500", "--json"])
    summary = json.loads(result.stdout)
    assert (result.exit_code, summary["truthful"]) == (0, True)
    assert summary["requests"] >= 10


def test_the_demo_claims_nothing_where_nothing_was_requested() -> None:
    assert not Summary(events=0).truthful
    silent = Summary(events=2)
    silent.verdicts[Delivery.NOT_SENT] = 2
    assert not silent.truthful
    short = Summary(events=2, requests=1)
    short.verdicts[Delivery.REJECTED] = 1
    assert not short.truthful, "an event without a verdict"
    short.verdicts[Delivery.REJECTED] = 2
    assert short.truthful


def test_the_demo_fails_where_nothing_reaches_the_mock(monkeypatch: pytest.MonkeyPatch) -> None:
    def elsewhere(self: MockRefold, **options: object) -> object:
        return original(self, **{**options, "base_url": "http://127.0.0.1:9", "retry": None})

    original = MockRefold.client
    monkeypatch.setattr(MockRefold, "client", elsewhere)
    result = CliRunner().invoke(app, ["demo", "--events", "3", "--rate", "500"])
    assert result.exit_code == 1
    assert "Every verdict is true" not in result.output
    assert "Nothing reached the mock" in result.output


# Debug mode.

IN_DEBUG_MODE = """
import socket
import httpx
from refold_async.testing import Fault, MockRefold
with MockRefold(tls=True, rate_limit=None) as server:
    try:
        httpx.get(server.url, trust_env=False)  # which does not trust the certificate
    except httpx.ConnectError:
        pass
    with socket.create_connection((server.host, server.port)) as sock:
        sock.sendall(b"GET / HTTP/1.1\\r\\n\\r\\n")
        sock.recv(100)
    waiting = socket.create_connection((server.host, server.port))
waiting.close()
with MockRefold(rate_limit=None) as server:
    for fault in (Fault.reset_before_reading(), Fault.truncate_body(), Fault.stall_head(), Fault.refuse_next(0.01)):
        server.next(fault)
        try:
            httpx.post(server.url + "/api/v2/public/event/x", json={"event": "E"}, timeout=0.05, trust_env=False,
                       headers={"x-api-key": server.api_key, "linked_account_id": "a"})
        except httpx.HTTPError:
            pass
"""


def test_the_mock_prints_nothing_in_asyncios_debug_mode() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", IN_DEBUG_MODE],
        env={"PYTHONASYNCIODEBUG": "1"},
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    assert done.stderr == done.stdout == ""


# What users pass in.


def test_what_a_plan_raises_is_raised_where_the_mock_is_left(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(KeyError, match="mine"):
        with MockRefold(rate_limit=None, faults=lambda entry: entry.payload["mine"]) as server:
            assert Api(server).fire({}) == 500
    assert [record.levelno for record in caplog.records if "MockRefold" in record.message] == [logging.ERROR]
    with pytest.raises(LookupError, match="of the block"):
        with MockRefold(rate_limit=None, faults=lambda entry: entry.payload["mine"]) as server:
            Api(server).fire({})
            raise LookupError("of the block")


@pytest.mark.asyncio
async def test_what_a_plan_raises_is_raised_where_an_async_block_is_left() -> None:
    with pytest.raises(KeyError, match="mine"):
        async with MockRefold(rate_limit=None, faults=lambda entry: entry.payload["mine"]) as server:
            await asyncio.to_thread(Api(server).fire, {})


# Repeats.


def test_repeats_are_answered_with_409_when_told_to() -> None:
    dedupe = Dedupe(header="X-Key", repeat_status=409)
    with MockRefold(rate_limit=None, dedupe=dedupe) as server:
        api = Api(server)
        assert [api.fire(**{"X-Key": "k"}) for _ in range(3)] == [200, 409, 409]
        assert api.fire(**{"X-Key": "other"}) == api.fire() == 200
        assert [entry.duplicate for entry in server.ledger.entries] == [False, True, True, False, False]
        assert server.ledger.fired_count() == 3


@pytest.mark.parametrize("options", [{}, {"header": "a", "payload_field": "b"}, {"header": "a", "repeat_status": 500}])
def test_dedupe_needs_one_place_and_a_known_status(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"Dedupe|repeat_status"):
        Dedupe(**options)  # type: ignore[arg-type]


# Chance.


def test_latencies_are_lognormal_and_the_same_for_the_same_seed() -> None:
    def drawn(seed: int) -> list[float]:
        latency = Latency(0.05, 0.4, seed)
        return [latency() for _ in range(20_000)]

    first = drawn(3)
    assert first == drawn(3) != drawn(4)
    ordered = sorted(first)
    assert ordered[10_000] == pytest.approx(0.05, rel=0.05)
    assert ordered[19_800] == pytest.approx(0.4, rel=0.15)
    assert Latency(0.05, 0.05)() == pytest.approx(0.05)
    for median, p99 in ((0.0, 1.0), (2.0, 1.0), (1.0, float("inf")), (float("nan"), 1.0)):
        with pytest.raises(ValueError, match="latency"):
            Latency(median, p99)


def test_a_mix_of_faults_is_played_as_often_as_it_should() -> None:
    plan = SeededFaults.mixed(1, 0.2)
    with MockRefold(rate_limit=None, faults=plan) as server:
        api = Api(server)
        for number in range(100):
            with contextlib.suppress(httpx.TransportError):
                api.fire({"n": number})
        assert 10 <= sum(server.ledger.faults().values()) <= 32
    with pytest.raises(ValueError, match="chances"):
        SeededFaults.mixed(1, 1.5)
    with pytest.raises(ValueError, match="chances"):
        SeededFaults.mixed(1, -0.1)
