"""Each documented answer with fields dropped, null, of another type, or new: it is read, and errors tell its status."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refold_async import (
    APIError,
    Delivery,
    EventDefinition,
    Execution,
    Receipt,
    RefoldClient,
    RefoldError,
    Rerun,
    SessionToken,
    UnexpectedResponseError,
)
from tests.fakes.transport import FakeTransport, Reply
from tests.resources.support import EXAMPLES, JSON, altered, unpace

ID = "6a314c54d4616e99e7fa5a02"
NOW = datetime(2026, 7, 1, tzinfo=UTC)
SAMPLE = {"email": "a@b"}

Use = Callable[[RefoldClient], Awaitable[Any]]

CALLS: dict[str, list[Use]] = {
    "executions/list-executions": [
        lambda client: client.executions.list().collect(200),
        lambda client: client.executions.list().first(),
        lambda client: client.executions.matching("token", since=NOW).collect(),
    ],
    "executions/get-execution": [lambda client: client.executions.get(ID)],
    "executions/stop-execution": [lambda client: client.executions.stop(ID)],
    "executions/rerun-execution": [lambda client: client.executions.rerun(ID)],
    "events/list-events": [lambda client: client.events.list(), lambda client: client.events.find("x")],
    "events/get-event": [lambda client: client.events.get(ID)],
    "events/create-event": [lambda client: client.events.create("candidate_created", SAMPLE)],
    "events/update-event": [lambda client: client.events.update(ID, "candidate_created", SAMPLE)],
    "events/delete-event": [lambda client: client.events.delete(ID)],
    "events/trigger-event": [lambda client: client.trigger_all("E", SAMPLE)],
    "events/trigger-event-by-slug": [lambda client: client.trigger("slack", "E", SAMPLE)],
    "event/trigger-custom-app-event": [lambda client: client.trigger("slack", "E", SAMPLE)],
    "session-tokens/generate-session-token": [lambda client: client.session_tokens.create("acct_1")],
    "session-tokens/revoke-session-token": [lambda client: client.session_tokens.revoke()],
    "session-token/revoke-session-token": [lambda client: client.session_tokens.revoke()],
}
PAGES = [(page, use) for page in EXAMPLES for use in CALLS[page.partition(" ")[2]]]
RETURNED = (list, str, int, Execution, EventDefinition, Receipt, Rerun, SessionToken, type(None))


def ask(use: Use, page: str, answer: Any, status: int = 200) -> tuple[Any, FakeTransport]:
    """Return what a call returns, or raises, for an answer."""
    body = json.dumps(answer).encode()
    transport = FakeTransport(lambda n, before: Reply(status, body=body))
    credential: dict[str, Any] = {"api_key": "k", "linked_account_id": "a"}
    if "revoke" in page:
        credential = {"session_token": "t"}

    async def main() -> Any:
        async with RefoldClient(**credential, rate_limit=None, retry=None, transport=transport) as client:
            try:
                return await use(unpace(client))
            except RefoldError as error:
                return error

    return asyncio.run(main()), transport


def test_each_documented_page_has_its_call() -> None:
    assert {page.partition(" ")[2] for page in EXAMPLES} == set(CALLS)


@pytest.mark.parametrize(("page", "use"), PAGES, ids=[f"{page} {n}" for n, (page, _) in enumerate(PAGES)])
@settings(max_examples=25)
@given(data=st.data())
def test_a_documented_success_is_taken_whatever_is_dropped_null_mistyped_or_new(
    page: str, use: Use, data: st.DataObject
) -> None:
    answer = data.draw(altered(EXAMPLES[page][:1]))
    found, transport = ask(use, page, answer)
    if isinstance(found, RefoldError):  # what was asked for is not in it: a token, or the event that was made
        assert isinstance(found, UnexpectedResponseError)
        assert found.delivery in (None, Delivery.ACCEPTED)
        assert any(part in page for part in ("generate", "create-event", "update-event"))
    else:
        assert isinstance(found, RETURNED)
        repr(found)
    assert len(transport.requests) <= 3, "and no page is read over and over"


@pytest.mark.parametrize(("page", "use"), PAGES, ids=[f"{page} {n}" for n, (page, _) in enumerate(PAGES)])
@settings(max_examples=15)
@given(data=st.data())
def test_a_success_of_another_type_is_told_and_nothing_else_is_raised(page: str, use: Use, data: st.DataObject) -> None:
    found, _ = ask(use, page, data.draw(JSON))
    assert isinstance(found, (*RETURNED, UnexpectedResponseError))


@pytest.mark.parametrize(("page", "use"), PAGES, ids=[f"{page} {n}" for n, (page, _) in enumerate(PAGES)])
@settings(max_examples=15)
@given(data=st.data())
def test_a_documented_error_tells_its_status_whatever_is_in_its_fields(
    page: str, use: Use, data: st.DataObject
) -> None:
    original = data.draw(st.sampled_from(EXAMPLES[page][1:]))
    answer = data.draw(altered([original]))
    status = original["status_code"]
    error, _ = ask(use, page, answer, status)
    assert isinstance(error, APIError)
    assert type(error) is APIError.of_status(status)
    assert error.status_code == status
    for text in (error.error_type, error.error_code, error.request_id):
        assert text is None or isinstance(text, str)
    assert isinstance(error.message, str)
    json.dumps(error.to_dict())
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    if answer == original:
        assert error.error_code in (original.get("error"), original.get("error_code"))


def test_a_number_with_more_digits_than_python_reads_hides_nothing_else() -> None:
    body = b'{"docs": [{"_id": "e1", "instance_execution_time": ' + b"9" * 5000 + b"}]}"
    transport = FakeTransport(lambda n, before: Reply(body=body))

    async def main() -> Any:
        async with RefoldClient(api_key="k", linked_account_id="a", retry=None, transport=transport) as client:
            return await unpace(client).executions.list().first()

    found = asyncio.run(main())
    assert (found.id, found.execution_time) == ("e1", None)
