"""Session tokens: made, kept, replaced before they expire, revoked, and never shown."""

from __future__ import annotations

import copy
import logging
import pickle
import traceback
from datetime import UTC, datetime
from typing import Any, Literal

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refold_async import (
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    InvalidRequestError,
    RefoldClient,
    ServerError,
    UnexpectedResponseError,
)
from refold_async._resources.token_source import SessionTokenSource
from refold_async._resources.tokens import SessionToken
from refold_async.testing import Dialect, Fault, MockRefold
from tests.fakes.server import answering, serving

from .support import QUICK, mock, unpace
from .test_events import JSON, answer_of

DOCUMENTED = {
    "token": "header.one.SIGN",
    "refresh_token": "header.two.SIGN",
    "expires_in": 599747,
    "refresh_expires_in": 2586947,
}
WEEK = 7 * 86400.0


class Wall:
    """A wall clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.asyncio
async def test_a_token_that_is_good_is_handed_out_again_and_a_forced_one_is_new() -> None:
    async with mock() as (server, client):
        first = await client.session_tokens.create("acct/é@b")
        assert (await client.session_tokens.create("acct/é@b")).token == first.token
        forced = await client.session_tokens.create("acct/é@b", force_refresh=True)
        assert forced.token != first.token
        assert [entry.target.partition("?")[2] for entry in server.ledger.entries] == ["", "", "force_refresh=true"]
        assert all(entry.account is None for entry in server.ledger.entries), "the account is in the body alone"


@pytest.mark.asyncio
async def test_a_token_fires_for_its_account_until_it_is_revoked() -> None:
    async with mock() as (server, client):
        made = await client.session_tokens.create("acct_9")
        async with RefoldClient(session_token=made.token, base_url=server.url, proxy=None, retry=QUICK) as own:
            unpace(own)
            await own.trigger("pipedrive", "Won")
            assert await own.session_tokens.revoke() == 1
            with pytest.raises(AuthenticationError):
                await own.trigger("pipedrive", "Won")
        assert [entry.account for entry in server.ledger.fired] == ["acct_9"]


@pytest.mark.parametrize("status", [400, 500])
@pytest.mark.asyncio
async def test_an_unknown_account_is_told_by_either_status(status: Literal[400, 500]) -> None:
    async with mock(accounts=["acct_1"], dialect=Dialect(unknown_account=status)) as (_, client):
        with pytest.raises(BadRequestError if status == 400 else ServerError):
            await client.session_tokens.create("acct_2")


@pytest.mark.asyncio
async def test_making_and_revoking_need_the_right_credential(server: MockRefold) -> None:
    async with server.client() as client, server.client(session_token=server.session_token) as own:
        with pytest.raises(ConfigurationError, match="session_token="):
            await client.session_tokens.revoke()
        with pytest.raises(ConfigurationError, match="API key"):
            await own.session_tokens.create("acct_1")
        with pytest.raises(ConfigurationError, match="API key"):
            SessionTokenSource(own, "acct_1")
        for account in ("", " ", None, 7):
            with pytest.raises(InvalidRequestError):
                await client.session_tokens.create(account)  # type: ignore[arg-type]
    assert server.ledger.entries == []


@pytest.mark.parametrize("document", [{}, {"refresh_token": "secret-secret"}, {"token": None}, ["secret-secret"]])
@pytest.mark.asyncio
async def test_an_answer_without_a_token_is_an_error_that_shows_nothing_of_it(document: Any) -> None:
    async with serving(answering(answer_of(document))) as server:
        async with RefoldClient(api_key="sk_test_1", base_url=server.url, proxy=None, retry=QUICK) as client:
            with pytest.raises(UnexpectedResponseError) as caught:
                await unpace(client).session_tokens.create("acct_1")
    assert "secret" not in repr(caught.value.to_dict()) + repr(caught.value) + caught.value.body
    assert b"secret" not in pickle.dumps(caught.value)
    ours = [
        frame.f_locals
        for frame, _ in traceback.walk_tb(caught.value.__traceback__)
        if "refold_async" in frame.f_code.co_filename and "tests" not in frame.f_code.co_filename
    ]
    assert ours
    assert "secret" not in repr(ours), "what a reporter of errors sends along"


def test_a_token_shows_in_no_repr_and_does_not_pickle() -> None:
    token = SessionToken.of(DOCUMENTED, 0.0)
    assert (token.token, token.refresh_token) == ("header.one.SIGN", "header.two.SIGN")
    assert token.expires_at == datetime.fromtimestamp(599747, UTC)
    assert "SIGN" not in repr(token)
    with pytest.raises(TypeError, match="does not pickle"):
        pickle.dumps(token)


@given(
    changes=st.dictionaries(st.sampled_from([*DOCUMENTED, "new"]), JSON | st.floats() | st.integers(), max_size=5),
    dropped=st.sets(st.sampled_from(sorted(DOCUMENTED))),
)
def test_a_token_with_fields_dropped_null_mistyped_or_new_is_read(changes: dict[str, Any], dropped: set[str]) -> None:
    document = {name: value for name, value in {**DOCUMENTED, **changes}.items() if name not in dropped}
    token = SessionToken.of(document, 1_000_000_000.0)
    assert isinstance(token.token, str)
    assert token.expires_at is None or token.expires_at.tzinfo is UTC


@pytest.mark.asyncio
async def test_a_source_keeps_its_token_and_replaces_it_before_it_expires() -> None:
    wall = Wall()
    async with serving(
        answering(lambda request: answer_of({"token": f"tok_{len(server.requests)}", "expires_in": 1000}))
    ) as server:
        async with RefoldClient(api_key="sk_test_1", base_url=server.url, proxy=None, retry=QUICK) as client:
            source = SessionTokenSource(unpace(client), "acct_1", wall_clock=wall)
            first = await source()
            wall.now += 699
            assert await source() == first
            wall.now += 2
            second = await source()
            assert second != first
            assert await source() == second
            assert len(server.requests) == 2


@pytest.mark.asyncio
async def test_a_source_that_is_handed_out_a_token_about_to_expire_asks_for_a_new_one() -> None:
    def answer(request: Any) -> bytes:
        forced = b"force_refresh=true" in request.target
        return answer_of({"token": "new" if forced else "old", "expires_in": 1000 if forced else 10})

    async with serving(answering(answer)) as server:
        async with RefoldClient(api_key="sk_test_1", base_url=server.url, proxy=None, retry=QUICK) as client:
            source = SessionTokenSource(unpace(client), "acct_1", wall_clock=Wall())
            assert [await source(), await source()] == ["new", "new"]
            assert len(server.requests) == 2


@pytest.mark.asyncio
async def test_a_source_does_not_ask_at_each_call_where_tokens_live_shorter_than_its_margin() -> None:
    wall = Wall()
    async with serving(answering(lambda request: answer_of({"token": "short", "expires_in": 60}))) as server:
        async with RefoldClient(api_key="sk_test_1", base_url=server.url, proxy=None, retry=QUICK) as client:
            source = SessionTokenSource(unpace(client), "acct_1", wall_clock=wall)
            for _ in range(29):
                assert await source() == "short"
                wall.now += 1
            assert len(server.requests) == 2, "one, and a forced one"


@pytest.mark.asyncio
async def test_callers_that_come_at_once_share_one_request_and_a_cancelled_one_hands_over() -> None:
    async with mock() as (server, client):
        source = SessionTokenSource(client, "acct_1")
        found: list[str] = []

        async def ask() -> None:
            found.append(await source())

        async with anyio.create_task_group() as tasks:
            with anyio.CancelScope() as scope:
                scope.cancel()
                await source()
            for _ in range(20):
                tasks.start_soon(ask)
        assert len(set(found)) == 1
        assert len(found) == 20
        assert len(server.ledger.entries) <= 2, "the cancelled one may have sent"


@pytest.mark.asyncio
async def test_an_old_token_is_used_while_it_is_good_and_no_new_one_can_be_had(
    caplog: pytest.LogCaptureFixture,
) -> None:
    wall = Wall()
    async with mock({"retry": None}) as (server, client):
        source = SessionTokenSource(client, "acct_1", wall_clock=wall)
        source_began = wall.now = datetime.now(UTC).timestamp()
        first = await source()
        server.plan(lambda entry: Fault.html_502(), kind="write")
        wall.now = source_began + WEEK - 200
        with caplog.at_level(logging.WARNING, "refold_async"):
            assert await source() == first
            asked = len(server.ledger.entries)
            assert await source() == first
        assert len(server.ledger.entries) == asked, "an outage is not made worse by asking at each call"
        assert first not in caplog.text
        wall.now = source_began + WEEK + 10
        with pytest.raises(ServerError):
            await source()


@pytest.mark.asyncio
async def test_a_client_takes_a_source_as_its_session_token() -> None:
    async with mock() as (server, client):
        source = SessionTokenSource(client, "acct_7")
        async with server.client(session_token=source, linked_account_id=None, rate_limit=None) as own:
            await own.trigger("pipedrive", "Won")
            await own.trigger("pipedrive", "Won")
        assert [entry.account for entry in server.ledger.fired] == ["acct_7", "acct_7"]
        assert "acct_7" in repr(source)


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), True, "300", None])
@pytest.mark.asyncio
async def test_a_margin_that_makes_no_sense_is_refused(server: MockRefold, seconds: Any) -> None:
    async with server.client() as client:
        with pytest.raises(ConfigurationError, match="refresh_before"):
            SessionTokenSource(client, "acct_1", seconds)


def test_a_source_does_not_pickle(server: MockRefold) -> None:
    with pytest.raises(TypeError, match="does not pickle"):
        pickle.dumps(SessionTokenSource(server.client(), "acct_1"))


@pytest.mark.asyncio
async def test_a_token_is_in_no_log_repr_or_pickle_on_its_way(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = ("header.one.SIGN", "header.two.SIGN")

    def answer(request: Any) -> bytes:
        if b"/session-token" in request.target:
            return answer_of(DOCUMENTED)
        body = b'{"message": "header.one.SIGN is not valid", "error": "header.one.SIGN"}'
        return b"HTTP/1.1 401 No\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)

    async with serving(answering(answer)) as server:
        async with RefoldClient(api_key="sk_test_1", base_url=server.url, proxy=None, retry=QUICK) as client:
            source = SessionTokenSource(unpace(client), "acct_1")
            made = await client.session_tokens.create("acct_1")
            async with RefoldClient(session_token=source, base_url=server.url, proxy=None, retry=QUICK) as own:
                with pytest.raises(AuthenticationError) as fired:
                    await own.trigger("slack", "E")
                with pytest.raises(AuthenticationError) as read:
                    await unpace(own).executions.list().first()
    shown = [caplog.text, repr(made), str(made), repr(source), repr(vars(source)), repr(client), repr(own)]
    for error in (fired.value, read.value):
        shown += [repr(error), str(error), error.body, repr(error.to_dict()), repr(pickle.dumps(error))]
    assert not [text for text in shown for secret in secrets if secret in text]
    for hidden in (made, source):
        for through in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="does not pickle"):
                through(hidden)
    assert "SIGN" not in repr(ExceptionGroup("x", [fired.value])) + "".join(traceback.format_exception(fired.value))
