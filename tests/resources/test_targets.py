"""Whatever text is passed as an id, a slug, an account or a filter: it stays in its own place, or is refused."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from refold_async import ConfigurationError, InvalidRequestError, InvalidTriggerError, RefoldClient, RefoldError
from refold_async.testing import MockRefold
from tests.fakes.transport import FakeTransport, Reply
from tests.resources.support import unpace

NOW = datetime(2026, 7, 1, tzinfo=UTC)
ODD = st.text() | st.text(alphabet="./%2eEfF\\?#@:;&=\r\n\0 ~\t") | st.lists(
    st.sampled_from([".", "..", "/", "%2e", "%2F", "\\", "?", "#", "trigger", "rerun", "\r\n", "X-Api-Key: x", "é"])
).map("".join)  # fmt: skip

Use = Callable[[RefoldClient, Any], Awaitable[Any]]

PUBLIC = "/api/v2/public/"
IN_PATH: dict[str, tuple[str, Use]] = {
    "executions.get": ("execution/{}", lambda client, text: client.executions.get(text)),
    "executions.stop": ("execution/{}/stop", lambda client, text: client.executions.stop(text)),
    "executions.rerun": ("execution/{}/rerun", lambda client, text: client.executions.rerun(text)),
    "events.get": ("application/event/{}", lambda client, text: client.events.get(text)),
    "events.update": ("application/event/{}", lambda client, text: client.events.update(text, "E", {})),
    "events.delete": ("application/event/{}", lambda client, text: client.events.delete(text)),
    "trigger": ("event/{}", lambda client, text: client.trigger(text, "E")),
}
ELSEWHERE: dict[str, tuple[str, Use]] = {
    "executions.wait": ("execution", lambda client, text: client.executions.wait(text, timeout=0.001)),
    "executions.list by status": ("execution", lambda client, text: client.executions.list(status=text).first()),
    "executions.list by slug": ("execution", lambda client, text: client.executions.list(slug=[text, text]).first()),
    "executions.list by name": ("execution", lambda client, text: client.executions.list(workflow_name=text).first()),
    "executions.list of an account": (
        "execution", lambda client, text: client.executions.list(linked_account_id=text).first()
    ),
    "executions.matching": (
        "execution", lambda client, text: client.executions.matching(text, since=NOW).first()
    ),
    "events.find": ("application/event", lambda client, text: client.events.find(text)),
    "events.create": ("application/event", lambda client, text: client.events.create(text, {"a": text})),
    "session_tokens.create": ("session-token", lambda client, text: client.session_tokens.create(text)),
    "trigger by event": ("event/slack", lambda client, text: client.trigger("slack", text)),
    "trigger with a tag": ("event/slack", lambda client, text: client.trigger("slack", "E", instance_tag=text)),
    "trigger for an account": (
        "event/slack", lambda client, text: client.trigger("slack", "E", linked_account_id=text)
    ),
    "trigger_all": ("event/trigger", lambda client, text: client.trigger_all(text, config_id=text)),
}  # fmt: skip
KNOWN = {
    "accept", "accept-encoding", "config_id", "connection", "content-length", "content-type", "host", "idempotency-key",
    "instance_tag", "linked_account_id", "user-agent", "x-api-key",
}  # fmt: skip


def ask(use: Use, text: Any) -> tuple[FakeTransport, RefoldError | None]:
    transport = FakeTransport(lambda n, before: Reply(body=b"[]" if n % 2 else b"{}"))

    async def main() -> RefoldError | None:
        options: dict[str, Any] = {"transport": transport, "rate_limit": None, "retry": None}
        async with RefoldClient(
            api_key="k", linked_account_id="a", base_url="https://refold.test", **options
        ) as client:
            try:
                await use(unpace(client), text)
            except RefoldError as error:
                return error
        return None

    return transport, asyncio.run(main())


def check_headers(transport: FakeTransport) -> None:
    for request in transport.requests:
        names = [name.decode().lower() for name, _ in request.headers.raw]
        assert set(names) <= KNOWN
        assert len(set(names)) == len(names)
        assert request.headers["host"] == "refold.test"
        assert request.headers["x-api-key"] == "k"
        assert not [value for _, value in request.headers.raw if b"\r" in value or b"\n" in value or b"\0" in value]


@pytest.mark.parametrize("call", IN_PATH)
@settings(max_examples=60)
@given(text=ODD)
@example(text="..")
@example(text="../../admin")
@example(text="trigger")
@example(text="a/rerun")
def test_an_id_is_one_segment_of_its_path_or_nothing_is_sent(call: str, text: str) -> None:
    template, use = IN_PATH[call]
    transport, error = ask(use, text)
    if isinstance(error, InvalidRequestError | InvalidTriggerError):
        assert not transport.requests
        return
    before, _, after = (PUBLIC + template).partition("{}")
    for request in transport.requests:
        found = re.fullmatch(re.escape(before) + "([^/?#]+)" + re.escape(after), request.url.raw_path.decode())
        assert found is not None
        assert unquote(found[1], errors="strict") == text
        assert unquote(found[1]) not in (".", "..")
    assert transport.requests
    check_headers(transport)


@pytest.mark.parametrize("call", ELSEWHERE)
@settings(max_examples=40)
@given(text=ODD)
def test_a_text_that_belongs_elsewhere_never_reaches_the_path(call: str, text: str) -> None:
    path, use = ELSEWHERE[call]
    transport, error = ask(use, text)
    if isinstance(error, InvalidRequestError | InvalidTriggerError | ConfigurationError):
        assert not transport.requests
        return
    assert transport.requests
    for request in transport.requests:
        target, _, query = request.url.raw_path.decode().partition("?")
        assert target == PUBLIC + path
        names = [name for name, _ in parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))]
        assert len(set(names)) == len(names)
        assert "#" not in query
    check_headers(transport)


@pytest.fixture(scope="module")
def refold() -> Iterator[MockRefold]:
    with MockRefold(rate_limit=None) as server:
        yield server


def ask_server(server: MockRefold, use: Use, text: Any) -> tuple[list[str], RefoldError | None]:
    """Return the targets that the server saw, as they came over the wire."""
    before = len(server.ledger.targets)

    async def main() -> RefoldError | None:
        async with server.client(rate_limit=None, retry=None) as client:
            try:
                await use(unpace(client), text)
            except RefoldError as error:
                return error
        return None

    error = asyncio.run(main())
    return server.ledger.targets[before:], error


@pytest.mark.parametrize("call", IN_PATH)
@settings(max_examples=40)
@given(text=ODD)
@example(text="..")
@example(text="../../admin")
@example(text="trigger")
def test_by_the_ledger_of_a_server_an_id_is_one_segment_too(refold: MockRefold, call: str, text: str) -> None:
    template, use = IN_PATH[call]
    targets, error = ask_server(refold, use, text)
    if isinstance(error, InvalidRequestError | InvalidTriggerError):
        assert targets == []
        return
    before, _, after = (PUBLIC + template).partition("{}")
    assert targets
    for target in targets:
        found = re.fullmatch(re.escape(before) + "([^/?#]+)" + re.escape(after), target)
        assert found is not None
        assert unquote(found[1], errors="strict") == text


@pytest.mark.parametrize("call", ELSEWHERE)
@settings(max_examples=20)
@given(text=ODD)
def test_by_the_ledger_of_a_server_no_other_path_is_reached(refold: MockRefold, call: str, text: str) -> None:
    path, use = ELSEWHERE[call]
    # What a wait was cut off from may reach its server after that: so it has one for each example.
    with MockRefold() if call == "executions.wait" else nullcontext(refold) as server:
        targets, error = ask_server(server, use, text)
    if isinstance(error, InvalidRequestError | InvalidTriggerError | ConfigurationError):
        assert targets == []
    assert {target.partition("?")[0] for target in targets} <= {PUBLIC + path}


@settings(max_examples=60)
@given(text=ODD)
@example(text="/api/v2/public/event/slack")
@example(text="/api/v2/public/../../v2/public/event/slack")
@example(text="//other/api/v2/public/execution")
def test_by_the_ledger_of_a_server_a_path_of_requests_is_sent_as_it_is_and_fires_nothing(
    refold: MockRefold, text: str
) -> None:
    fired = len(refold.ledger.fired)
    for path in (text, PUBLIC + text):
        targets, error = ask_server(refold, lambda client, given: client.request("GET", given), path)
        if isinstance(error, InvalidRequestError):
            assert targets == []
        else:
            assert [unquote(target) for target in targets] == [unquote(path)]
    assert len(refold.ledger.fired) == fired
