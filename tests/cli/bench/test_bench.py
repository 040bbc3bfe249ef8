"""`refold-async bench` and the options of `mock-server`, as a user sees them."""

from __future__ import annotations

import io
import json
import os
import random
import re
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from refold_async import RateLimit
from refold_async.cli.app import app
from refold_async.cli.bench.command import _table
from refold_async.cli.bench.load import Latencies, Load, Measured
from refold_async.cli.mock import latency_from
from refold_async.testing import Latency, MockRefold

runner = CliRunner()
PROGRAM = [sys.executable, "-c", "from refold_async.cli import main; main()"]


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def bench(*arguments: str, env: dict[str, str] | None = None) -> Any:
    result = runner.invoke(app, ["bench", "--json", *arguments], env=env)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_load_is_fired_at_a_mock_in_a_process_of_its_own() -> None:
    result = bench("--events", "200", "--concurrency", "10")
    assert result["events"] == result["verdicts"]["accepted"] == result["attempts"] == 200
    assert result["mock"]["requests"] == result["mock"]["fired"] == 200
    assert result["mock"]["cpu_us_per_request"] > 0
    assert result["client"]["cpu_us_per_event"] > 0
    latency = result["latency_ms"]
    assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["p99_9"] <= latency["max"]
    assert result["events_per_second"] == pytest.approx(200 / result["seconds"], rel=0.2), (
        "of seconds rounded to milliseconds"
    )
    assert result["waits"] == {"count": 0, "seconds": 0.0, "pauses": 0}


def test_several_mocks_share_the_load() -> None:
    result = bench("--events", "200", "--concurrency", "20", "--workers", "2")
    assert result["mock"]["fired"] == result["verdicts"]["accepted"] == 200


def test_faults_and_latency_are_those_of_the_mock() -> None:
    result = bench("--events", "300", "--concurrency", "30", "--faults", "0.2", "--seed", "3", "--latency", "1:5")
    verdicts = result["verdicts"]
    assert sum(verdicts.values()) == 300
    assert verdicts["ambiguous"] > 0
    assert verdicts["accepted"] <= result["mock"]["fired"] <= verdicts["accepted"] + verdicts["ambiguous"]
    assert sum(result["errors"].values()) == 300 - verdicts["accepted"]
    assert result["latency_ms"]["p50"] >= 1.0


def test_a_load_for_some_seconds_ends_by_itself() -> None:
    result = bench("--seconds", "0.2", "--concurrency", "5")
    assert result["events"] > 0
    assert result["verdicts"]["accepted"] == result["mock"]["fired"] == result["events"]


def test_waits_for_the_rate_limit_are_shown() -> None:
    result = bench("--events", "12", "--rate", "100", "--burst", "2")
    assert result["waits"]["count"] > 0
    assert result["waits"]["seconds"] > 0


def test_a_load_can_be_fired_at_a_base_url() -> None:
    with MockRefold(rate_limit=RateLimit(10_000, 10_000)) as server:
        env = {"REFOLD_API_KEY": server.api_key}
        options = ["--base-url", server.url, "--slug", "slack", "--event", "Won", "--linked-account-id", "a"]
        result = bench(*options, "--events", "4", "--payload-bytes", "1000", env=env)
        assert (result["mock"], result["load"]["rate"]) == (None, 20.0)
        assert {(entry.slug, entry.event, entry.account) for entry in server.ledger.fired} == {("slack", "Won", "a")}
        assert sorted(entry.payload["n"] for entry in server.ledger.fired) == [0, 1, 2, 3]
        assert len(server.ledger.fired[0].payload["text"]) == 1000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--base-url", "http://127.0.0.1:1"], "--slug and --event"),
        (["--base-url", "http://x", "--slug", "a", "--event", "b", "--faults", "0.1"], "are the mock's"),
        (["--latency", "fast"], "--latency takes milliseconds"),
        (["--latency", "400:50"], "--latency takes milliseconds"),
        (["--latency", "1:2:3"], "--latency takes milliseconds"),
        (["--latency", "-1"], "--latency takes milliseconds"),
        (["--faults", "2"], "--faults"),
        (["--events", "0"], "--events"),
        (["--base-url", "http://127.0.0.1:1", "--slug", "a", "--event", "b"], "api_key"),
    ],
)
def test_wrong_usage_of_bench(arguments: list[str], words: str) -> None:
    result = runner.invoke(app, ["bench", *arguments])
    assert result.exit_code == 2, result.output
    assert words in re.sub(r"\x1b\[[0-9;]*m", "", result.stderr)
    assert "Traceback" not in result.output


def test_nothing_accepted_is_a_failure() -> None:
    with MockRefold() as server:
        env = {"REFOLD_API_KEY": "tk_wrong", "REFOLD_LINKED_ACCOUNT_ID": "a"}
        arguments = ["bench", "--base-url", server.url, "--slug", "a", "--event", "b", "--events", "3"]
        result = runner.invoke(app, arguments, env=env)
    assert result.exit_code == 1
    assert "AuthenticationError 3" in result.stdout


def test_the_result_for_people_names_everything() -> None:
    result = runner.invoke(app, ["bench", "--events", "50", "--concurrency", "5"])
    assert result.exit_code == 0
    for words in (
        "50 of 50",
        "a second",
        "p50",
        "p99.9",
        "client's CPU",
        "MB at most",
        "accepted 50",
        "waits",
        "fired",
    ):
        assert words in result.stdout, words


def test_the_live_table_shows_what_is_there_so_far() -> None:
    measured = Measured()
    console = Console(width=200, record=True, file=io.StringIO())
    load = Load(events=None, seconds=1.0, concurrency=1, slug="a", event="b")
    console.print(_table(measured, load))
    assert "0 in 0.0 s" in console.export_text()


def test_ctrl_c_ends_the_load_and_shows_what_was_measured() -> None:
    command = [*PROGRAM, "bench", "--seconds", "60", "--concurrency", "2", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        killer = threading.Timer(50, running.kill)
        killer.start()
        assert running.stderr is not None
        assert "firing" in running.stderr.readline()
        running.send_signal(signal.SIGINT)
        out, _ = running.communicate()
        killer.cancel()
    result = json.loads(out)
    assert result["seconds"] < 50
    assert result["events"] == sum(result["verdicts"].values())


# What it computes.


@given(
    st.lists(st.floats(1e-6, 100.0), min_size=1, max_size=200), st.sampled_from([1.0, 50.0, 90.0, 99.0, 99.9, 100.0])
)
def test_percentiles_are_at_most_one_percent_too_high(values: list[float], percent: float) -> None:
    latencies = Latencies()
    for value in values:
        latencies.add(value)
    rank = max(1, -(-len(values) * percent // 100))
    true = sorted(values)[int(rank) - 1]
    assert true * 0.999999 <= latencies.percentile(percent) <= true * 1.0101
    assert latencies.percentile(100) == max(values)


def test_latencies_of_nothing_are_zero() -> None:
    assert set(Latencies().as_dict().values()) == {0.0}


def test_latencies_take_no_more_memory_for_more_of_them() -> None:
    latencies, chance = Latencies(), random.Random(1)
    for _ in range(20_000):
        latencies.add(chance.uniform(0.001, 10.0))
    assert len(latencies._buckets) < 1000


def test_latencies_are_given_in_milliseconds() -> None:
    assert latency_from("50", 0) == 0.05
    drawn = latency_from("50:400", 3)
    assert isinstance(drawn, Latency)
    assert (drawn.median, drawn.p99) == (0.05, 0.4)
    assert drawn() == Latency(0.05, 0.4, 3)()


# mock-server


def mock_server(*arguments: str, lines: int = 1) -> tuple[subprocess.Popen[str], str]:
    command = [*PROGRAM, "mock-server", "--port", "0", *arguments]
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    assert running.stdout is not None
    return running, running.stdout.readline().split()[3]


def fire(url: str, count: int, **options: Any) -> list[int]:
    headers = {"x-api-key": "tk_mock_0000", "linked_account_id": "a", "X-Key": "same"}
    path = f"{url}/api/v2/public/event/slack"
    statuses = []
    for _ in range(count):
        try:
            response = httpx.post(path, json={"event": "E"}, headers=headers, trust_env=False, **options)
        except httpx.TransportError:
            statuses.append(0)
        else:
            statuses.append(response.status_code)
    return statuses


def ended(running: subprocess.Popen[str], how: signal.Signals = signal.SIGINT) -> str:
    running.send_signal(how)
    out, err = running.communicate(timeout=150)
    assert (running.returncode, err) == (0, "")
    return out


def test_several_workers_serve_one_port_and_sum_up() -> None:
    running, url = mock_server("--workers", "2")
    assert fire(url, 12) == [200] * 12
    assert "12 requests (200: 12), 12 events fired" in ended(running, signal.SIGTERM)


@pytest.mark.parametrize("arguments", [[], ["--show-tags"]], ids=["hidden", "shown"])
def test_an_event_can_be_followed_where_the_mock_shows_its_tag(arguments: list[str]) -> None:
    running, url = mock_server(*arguments)
    command = ["trigger", "slack", "E", "--wait", "--wait-timeout", "1", "--base-url", url, "--linked-account-id", "a"]
    found = subprocess.run(
        [*PROGRAM, *command],
        capture_output=True,
        text=True,
        env={**os.environ, "REFOLD_API_KEY": "tk_mock_0000"},
        check=False,
    )
    ended(running)
    if arguments:
        assert (found.returncode, found.stderr) == (0, "")
        assert "COMPLETED" in found.stdout
    else:
        assert found.returncode == 1
        assert "no execution shows the token" in found.stderr


def test_workers_end_with_the_process_that_started_them() -> None:
    running, url = mock_server("--workers", "2")
    assert fire(url, 1) == [200]
    running.kill()
    running.communicate(timeout=150)
    for _ in range(1000):
        if fire(url, 1) == [0]:
            return
    pytest.fail("the workers go on")


def test_a_port_that_is_taken_is_not_shared() -> None:
    with MockRefold() as server:
        result = runner.invoke(app, ["mock-server", "--port", str(server.port), "--workers", "2"])
    assert result.exit_code == 2
    assert "Try --port 0" in result.stderr


def test_seeded_faults_and_repeats_from_the_command_line() -> None:
    arguments = ["--rate", "0", "--faults", "0.5", "--seed", "1", "--dedupe-header", "X-Key", "--repeat-status", "409"]
    played = []
    for _ in range(2):
        running, url = mock_server(*arguments)
        played.append(fire(url, 20))
        ended(running)
    assert played[0] == played[1]
    assert 409 in played[0]
    assert {0, 502, 503} & set(played[0])


def test_the_authority_of_a_tls_mock_can_be_written_down(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    running, url = mock_server("--tls", "--ca-file", str(path))
    assert fire(url, 1, verify=ssl.create_default_context(cafile=str(path))) == [200]
    ended(running)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--workers", "2", "--rate", "5"], "need a single one"),
        (["--workers", "2", "--dedupe-header", "X"], "need a single one"),
        (["--repeat-status", "500"], "200 or 409"),
        (["--ca-file", "x.pem"], "needs --tls"),
        (["--tls", "--ca-file", "/nowhere/at/all.pem"], "cannot write"),
        (["--latency", "x"], "--latency takes"),
    ],
)
def test_wrong_usage_of_mock_server(arguments: list[str], words: str) -> None:
    result = runner.invoke(app, ["mock-server", "--port", "0", "--seconds", "0", *arguments])
    assert result.exit_code == 2, result.output
    assert words in result.stderr
