"""An error's message holds the one fact that its reader needs."""

from __future__ import annotations

import asyncio
import datetime
import logging
import socket
import ssl
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trustme

from refold_async import ConfigurationError, Delivery, InvalidTriggerError, RefoldClient, RefoldError
from refold_async.testing import Fault, MockRefold
from tests.fakes.server import serving
from tests.support import ending, timeout_for

pytestmark = pytest.mark.asyncio

PROGRAM = [sys.executable, "-c", "from refold_async.cli import main; main()"]
NOT_SENT, REJECTED = Delivery.NOT_SENT, Delivery.REJECTED


@pytest.fixture(params=["pool", "httpx"])
def wire(request: pytest.FixtureRequest) -> Any:
    return request.param


async def error_of(base_url: str, **options: Any) -> RefoldError:
    async with RefoldClient(
        **{"api_key": "tk_1", "linked_account_id": "a", "retry": None, "timeout": 2, **options}, base_url=base_url
    ) as client:
        got = await ending(client.trigger("slack", "E"))
    assert isinstance(got, RefoldError)
    return got


@asynccontextmanager
async def tls_server(authority: trustme.CA, *names: str, **certificate: Any) -> AsyncIterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names, **certificate).configure_cert(context)

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    listener = await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=context)
    try:
        yield f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture(autouse=True)
def _errors_of_handshakes_are_expected() -> Iterator[None]:
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("asyncio").setLevel(logging.NOTSET)


async def test_a_certificate_that_has_expired_is_said_to_have(wire: Any) -> None:
    authority = trustme.CA()
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    async with tls_server(authority, "127.0.0.1", not_before=past, not_after=past + datetime.timedelta(1)) as url:
        error = await error_of(url, verify=trusting(authority), transport=wire)
    assert error.delivery is NOT_SENT
    assert "expired" in str(error)
    assert "127.0.0.1" in str(error)


async def test_a_certificate_for_another_name_is_said_to_be_one(wire: Any) -> None:
    authority = trustme.CA()
    async with tls_server(authority, "other.test") as url:
        error = await error_of(url, verify=trusting(authority), transport=wire)
    assert error.delivery is NOT_SENT
    assert "127.0.0.1" in str(error)
    assert any(words in str(error) for words in ("another name", "wrong name", "not valid for", "mismatch"))


async def test_a_certificate_of_an_unknown_authority_is_said_to_be_one(wire: Any) -> None:
    async with tls_server(trustme.CA(), "127.0.0.1") as url:
        error = await error_of(url, verify=trusting(trustme.CA()), transport=wire)
    assert error.delivery is NOT_SENT
    assert "authority" in str(error)
    assert "verify" in str(error)


async def test_a_port_that_speaks_plain_http_is_said_to(wire: Any) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        error = await error_of(f"https://127.0.0.1:{port}", transport=wire)
    assert error.delivery is NOT_SENT
    assert "certificate" not in str(error)
    assert any(words in str(error) for words in ("does not speak TLS", "no TLS", "plain http"))


async def test_a_name_that_does_not_resolve_is_named(wire: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", fail)
    error = await error_of("http://refold.invalid", transport=wire)
    assert error.delivery is NOT_SENT
    assert "refold.invalid" in str(error)


async def test_a_refused_connection_names_host_and_port(wire: Any) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        error = await error_of(f"http://127.0.0.1:{port}", transport=wire)
    assert error.delivery is NOT_SENT
    assert f"127.0.0.1:{port}" in str(error)


async def test_every_address_that_was_tried_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """One refuses, one is unreachable: the second is as likely to be the one that matters."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        addresses = ["127.0.0.1", "127.0.0.2"]

        async def lookup(host: object, *args: object, **kwargs: object) -> list[Any]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", lookup)
        error = await error_of(f"http://refold.test:{port}")
    assert error.delivery is NOT_SENT
    for address in addresses:
        assert address in str(error)
    assert "refold.test" in str(error)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_dead_proxy_is_named_as_the_proxy(scheme: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        error = await error_of(f"{scheme}://refold.test", proxy=f"http://127.0.0.1:{port}")
    assert error.delivery is NOT_SENT
    assert "proxy" in str(error)
    assert f"127.0.0.1:{port}" in str(error)


REFUSAL = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(("scheme", "verdict"), [("http", REJECTED), ("https", NOT_SENT)])
async def test_a_407_is_said_to_come_from_the_proxy(scheme: str, verdict: Delivery) -> None:
    async with serving(REFUSAL) as proxy:
        error = await error_of(f"{scheme}://refold.test", proxy=proxy.url)
    assert error.delivery is verdict
    assert "proxy" in str(error)
    assert "407" in str(error)
    assert "Refold answered" not in str(error)


@pytest.mark.parametrize(
    "fault", [Fault.answer(500), Fault.answer(404), Fault.stall_head()], ids=lambda fault: fault.name
)
async def test_the_log_of_a_call_that_was_given_up_names_slug_and_event(
    server: MockRefold, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="refold_async")
    server.plan(lambda entry: fault)
    async with server.client(rate_limit=None, retry=None, timeout=timeout_for(fault)) as client:
        await ending(client.trigger("pipedrive", "Deal Created"))
    [said] = [record.getMessage() for record in caplog.records]
    assert "pipedrive" in said
    assert "Deal Created" in said
    assert "1 attempts" not in said


@pytest.mark.parametrize("fault", [Fault.answer(500), Fault.stall_head(), None], ids=["500", "timeout", "refused"])
async def test_an_error_names_slug_and_event(server: MockRefold, fault: Fault | None) -> None:
    if fault is None:
        server.refuse()
    server.plan(lambda entry: fault)
    async with server.client(rate_limit=None, retry=None, timeout=timeout_for(fault)) as client:
        got = await ending(client.trigger("pipedrive", "Deal Created"))
    assert "pipedrive" in str(got)
    assert "Deal Created" in str(got)


@pytest.mark.parametrize("slug", ["a/b", "..", "trigger", "", "ä", "a b", 3, None, ["a"]])
async def test_the_traceback_of_a_bad_slug_begins_with_what_is_wrong(slug: Any) -> None:
    client = RefoldClient(api_key="tk_1", linked_account_id="a")
    with pytest.raises(InvalidTriggerError) as caught:
        await client.trigger(slug, "E")
    shown = "".join(traceback.format_exception(caught.value))
    assert "KeyError" not in shown
    assert "During handling" not in shown
    await client.aclose()


@pytest.mark.parametrize("payload", [{"when": object()}, {"n": float("nan")}, {"a": {1: "b"}}, 3, {"s": "\ud800"}])
async def test_the_traceback_of_a_bad_payload_begins_with_what_is_wrong(payload: Any) -> None:
    client = RefoldClient(api_key="tk_1", linked_account_id="a")
    with pytest.raises(InvalidTriggerError) as caught:
        await client.trigger("slack", "E", payload)
    assert "During handling" not in "".join(traceback.format_exception(caught.value))
    await client.aclose()


def run_program(arguments: list[str], env: dict[str, str]) -> str:
    done = subprocess.run(
        [*PROGRAM, *arguments], env=env, capture_output=True, text=True, timeout=30, check=False, input=""
    )
    assert done.returncode == 2, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("command", [["trigger", "slack", "E"], ["batch", "-"]], ids=["trigger", "batch"])
async def test_the_command_line_speaks_of_variables_and_options_and_not_of_arguments(command: list[str]) -> None:
    env = {"PATH": "/usr/bin:/bin", "REFOLD_LINKED_ACCOUNT_ID": "a", "REFOLD_BASE_URL": "http://127.0.0.1:9"}
    said = await asyncio.to_thread(run_program, command, env)
    assert "REFOLD_API_KEY" in said
    assert "api_key=" not in said
    both = {**env, "REFOLD_API_KEY": "k", "REFOLD_SESSION_TOKEN": "t"}
    said = await asyncio.to_thread(run_program, command, both)
    assert "REFOLD_SESSION_TOKEN" in said
    assert "api_key" not in said.replace("REFOLD_API_KEY", "")


async def test_the_command_line_names_its_own_option_for_the_account() -> None:
    env = {"PATH": "/usr/bin:/bin", "REFOLD_API_KEY": "k", "REFOLD_BASE_URL": "http://127.0.0.1:9"}
    said = await asyncio.to_thread(run_program, ["trigger", "slack", "E"], env)
    assert "--linked-account-id" in said
    assert "linked_account_id=" not in said


@pytest.mark.parametrize(
    "make",
    [lambda: RefoldClient(linked_account_id="a"), lambda: RefoldClient(api_key="", linked_account_id="a")],
    ids=["none", "blank"],
)
async def test_a_missing_credential_names_the_argument_and_the_variable(make: Callable[[], RefoldClient]) -> None:
    with pytest.raises(ConfigurationError, match="api_key"):
        make()
