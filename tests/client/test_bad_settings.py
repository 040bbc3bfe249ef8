"""A setting or variable that something below chokes on, or reads otherwise, is refused in words that name it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import subprocess
import sys
import traceback
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest

from refold_async import ConfigurationError, Delivery, RefoldClient
from refold_async.testing import MockRefold
from tests.fakes.server import serving
from tests.support import ending

PROGRAM = [sys.executable, "-c", "from refold_async.cli import main; main()"]
NOWHERE = "https://127.0.0.1:9"
"""Should a bad setting be let through, nothing leaves this machine."""

GIVEN: dict[str, Any] = {"api_key": "tk_1", "linked_account_id": "a"}


@pytest.mark.parametrize("port", ["0", "65536", "99999", "-1", "34463999", "8o8o", "0x50"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_port_that_cannot_be_is_refused(scheme: str, port: str) -> None:
    """99999 would connect to 34463 with the key, and 0 to 80."""
    with pytest.raises(ConfigurationError, match="base_url"):
        RefoldClient(base_url=f"{scheme}://127.0.0.1:{port}", **GIVEN)


@pytest.mark.parametrize("port", [0, 99999])
def test_a_port_that_cannot_be_is_refused_in_an_httpx_url_too(port: int) -> None:
    with pytest.raises(ConfigurationError, match="base_url"):
        RefoldClient(base_url=httpx.URL(scheme="http", host="127.0.0.1", port=port), **GIVEN)


def test_a_port_of_the_environment_that_cannot_be_is_refused_by_the_variables_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REFOLD_BASE_URL", "http://127.0.0.1:99999")
    with pytest.raises(ConfigurationError, match="REFOLD_BASE_URL"):
        RefoldClient(**GIVEN)


@pytest.mark.asyncio
@pytest.mark.parametrize("tail", ["/?", "?", "/#", "#", "/backend/?", "/?#"])
async def test_an_empty_query_or_fragment_reaches_no_path(tail: str) -> None:
    async with serving() as server:
        with contextlib.suppress(ConfigurationError):  # which is as good as leaving it out
            async with RefoldClient(base_url=server.url + tail, **GIVEN) as client:
                await client.trigger("slack", "E")
    prefix = b"/backend" if "backend" in tail else b""
    expected = b"POST " + prefix + b"/api/v2/public/event/slack HTTP/1.1\r\n"
    assert all(request.startswith(expected) for request in server.requests)


BAD_ENVIRONMENT = [
    ("NO_PROXY", "[::1"),
    ("NO_PROXY", "http://[bad"),
    ("ALL_PROXY", "gopher://127.0.0.1:1"),
    ("ALL_PROXY", "http://127.0.0.1:99999"),
    ("ALL_PROXY", "http://[bad"),
    ("HTTPS_PROXY", "ftp://127.0.0.1:1"),
    ("HTTPS_PROXY", "http://127.0.0.1:port"),
    ("HTTP_PROXY", "http://us\ner:pass@127.0.0.1:1"),
    ("SSL_CERT_FILE", "/no/such/file.pem"),
    ("SSL_CERT_FILE", __file__),
    ("REFOLD_BASE_URL", "ftp://127.0.0.1"),
    ("REFOLD_BASE_URL", "http://127.0.0.1:99999"),
    ("REFOLD_LINKED_ACCOUNT_ID", "a\nb"),
    ("REFOLD_CONFIG_ID", "a\nb"),
    ("REFOLD_API_KEY", "a\nb"),
    ("REFOLD_API_KEY", "  "),
    ("REFOLD_TRANSPORT", "pigeon"),
]
IDS = [f"{name} {number}" for number, (name, _) in enumerate(BAD_ENVIRONMENT)]


@pytest.mark.parametrize(("name", "value"), BAD_ENVIRONMENT, ids=IDS)
def test_a_bad_variable_of_the_environment_is_a_configuration_error_that_names_it(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFOLD_API_KEY", "tk_1")
    monkeypatch.setenv("REFOLD_LINKED_ACCOUNT_ID", "a")
    monkeypatch.setenv("REFOLD_BASE_URL", NOWHERE)
    if name == "NO_PROXY":
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=rf"(?i)\b{name}\b"):
        asyncio.run(one_call())


async def one_call() -> None:
    """Make a client and use it: a bad setting may be met at either."""
    async with RefoldClient(deadline=5, retry=None) as client:
        await client.trigger("slack", "E")


@pytest.mark.parametrize(("name", "value"), BAD_ENVIRONMENT, ids=IDS)
def test_the_command_line_ends_at_a_bad_variable_with_2_and_one_line(name: str, value: str) -> None:
    kept = {key: text for key, text in os.environ.items() if not key.lower().endswith("_proxy")}
    env = {**kept, "REFOLD_API_KEY": "tk_1", "REFOLD_LINKED_ACCOUNT_ID": "a", "REFOLD_BASE_URL": NOWHERE}
    if name == "NO_PROXY":
        env["HTTPS_PROXY"] = "http://127.0.0.1:1"
    done = subprocess.run(
        [*PROGRAM, "trigger", "slack", "E", "--deadline", "5"],
        env={**env, name: value}, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 2, said
    assert "Traceback" not in said
    assert name in said
    assert len(done.stderr.strip().splitlines()) == 1, said


BAD_ARGUMENTS: list[tuple[str, Any]] = [
    ("proxy", "gopher://127.0.0.1:1"),
    ("proxy", "http://127.0.0.1:99999"),
    ("proxy", "http://[bad"),
    ("proxy", "127.0.0.1:3128"),
    ("proxy", 3128),
    ("proxy", "http://us\ner:p\nw@127.0.0.1:1"),
    ("verify", "/no/such/file.pem"),
    ("verify", __file__),
    ("verify", 17),
    ("base_url", "http://"),
    ("base_url", "http://[::1"),
    ("base_url", "http://exa mple.test"),
    ("base_url", "http://xn--\u00fc.test"),
    ("base_url", "http://" + "a" * 64 + ".test"),
    ("base_url", "http://a..b.test"),
    ("base_url", 80),
    ("base_url", b"http://127.0.0.1"),
    ("http_client", httpx.Client),
    ("http_client", 3),
    ("extra_headers", [1, 2]),
    ("extra_headers", {"x": 1}),
    ("extra_headers", {1: "x"}),
    ("hooks", 3),
    ("hooks", print),
    ("max_connections", 0),
    ("timeout", -1),
    ("timeout", "soon"),
    ("deadline", float("nan")),
    ("deadline", "soon"),
    ("linked_account_id", 3),
    ("config_id", "a\nb"),
    ("json_encoder", 3),
]


@pytest.mark.parametrize(
    ("name", "value"), BAD_ARGUMENTS, ids=[f"{name} {number}" for number, (name, _) in enumerate(BAD_ARGUMENTS)]
)
def test_a_bad_argument_is_a_configuration_error_that_names_it(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"\b{name}\b") as caught:
        RefoldClient(**{**GIVEN, name: value})
    assert caught.value.delivery is Delivery.NOT_SENT
    shown = "".join(traceback.format_exception(caught.value))
    assert "During handling" not in shown, "no foreign traceback stands before the one that names the setting"


@pytest.mark.asyncio
async def test_a_host_with_a_trailing_dot_is_spoken_to_over_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(host: object, port: int, *args: object, **kwargs: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with MockRefold(tls=True, rate_limit=None) as server:
        async with server.client(base_url=server.url.replace("127.0.0.1", "localhost.")) as client:
            assert (await client.trigger("slack", "E")).delivery is Delivery.ACCEPTED


@pytest.mark.asyncio
@pytest.mark.parametrize("wire", ["pool", "httpx"])
async def test_an_ip_literal_is_not_looked_up_in_the_thread_pool(server: MockRefold, wire: Any) -> None:
    """So that something can be sent when every thread is taken, and at exit when there are no more."""
    loop = asyncio.get_running_loop()
    release = Event()
    with ThreadPoolExecutor(1) as executor:
        loop.set_default_executor(executor)
        executor.submit(release.wait, 20)
        try:
            async with server.client(transport=wire, retry=None, timeout=3) as client:
                got = await ending(client.trigger("slack", "E"))
        finally:
            release.set()
    assert got.delivery is Delivery.ACCEPTED


@pytest.mark.asyncio
async def test_a_call_at_exit_of_the_interpreter_is_sent_to_an_ip_literal(server: MockRefold) -> None:
    program = (
        "import asyncio, atexit, concurrent.futures.thread\n"
        "from refold_async import RefoldClient\n"
        "async def main():\n"
        f"    given = {{'api_key': {server.api_key!r}, 'base_url': {server.url!r}, 'linked_account_id': 'a'}}\n"
        "    async with RefoldClient(**given) as c:\n"
        "        print((await c.trigger('slack', 'E', {'id': 1})).delivery)\n"
        "atexit.register(lambda: asyncio.run(main()))\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await asyncio.wait_for(process.communicate(), 30)
    assert said.decode().strip() == "accepted", said.decode()
    assert server.ledger.fired_count(id=1) == 1


def told_in_clear(base_url: str, caplog: pytest.LogCaptureFixture, times: int = 1) -> list[str]:
    """Return the warnings, logged or issued, that clients for a URL bring about."""
    caplog.clear()
    with warnings.catch_warnings(record=True) as issued, caplog.at_level(logging.WARNING, logger="refold_async"):
        warnings.simplefilter("always")
        for _ in range(times):
            RefoldClient(base_url=base_url, **GIVEN)
    return [str(each.message) for each in issued] + [record.getMessage() for record in caplog.records]


def test_plain_http_to_another_machine_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    told = told_in_clear("http://refold.example.test/backend", caplog, times=3)
    assert len(told) == 1
    assert "http://" in told[0]
    assert "refold.example.test" in told[0]
    assert "tk_1" not in told[0]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "[::1]"])
def test_plain_http_to_this_machine_is_not_warned_of(host: str, caplog: pytest.LogCaptureFixture) -> None:
    assert told_in_clear(f"http://{host}:8080", caplog) == []


def test_https_to_another_machine_is_not_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    assert told_in_clear("https://refold.example.test", caplog) == []


@pytest.mark.asyncio
async def test_a_ca_file_of_the_environment_is_trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with MockRefold(tls=True, rate_limit=None) as server:
        (tmp_path / "ca.pem").write_bytes(server.ca_pem)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        async with server.client(verify=True) as client:
            assert (await client.trigger("slack", "E")).delivery is Delivery.ACCEPTED
