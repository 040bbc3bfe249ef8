"""`client.events`: definitions of events, against the mock in each of its spellings."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refold_async import (
    BadRequestError,
    ConfigurationError,
    Delivery,
    InvalidRequestError,
    NotFoundError,
    RefoldClient,
    RefoldConnectionError,
    RefoldError,
    ServerError,
    UnexpectedResponseError,
)
from refold_async._resources.definition import EventDefinition, EventField
from refold_async.testing import Dialect, Fault, MockRefold
from tests.fakes.server import RawServer, answering, serving

from .support import QUICK, mock, unpace

SHAPES: list[Literal["list", "string"]] = ["list", "string"]
DOCUMENTED: list[dict[str, Any]] = [
    {
        "_id": "6a314123d0aeb8165be4f175",
        "name": "candidate_created",
        "response": [
            {"key": "event", "type": "text"},
            {"key": "payload", "type": "object"},
            {"key": "payload.email", "type": "text"},
        ],
    },
    {"_id": "6a314123d0aeb8165be4f176", "name": "quoted", "response": '{"email": "a@b"}', "json_schema": {}},
    {
        "_id": "6a314123d0aeb8165be4f177",
        "name": "older",
        "response": [{"key": "payload.email", "type": "text"}],
        "raw_response": '{"email": "a@b"}',
    },
]
"""An event as the pages show it, as the OpenAPI file does, and as the first version's pages do."""

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text('ab1"{[]}é', max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('ab1"{[]}é', max_size=5), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.asyncio
async def test_an_event_can_be_created_read_found_changed_and_deleted(shape: Literal["list", "string"]) -> None:
    async with mock(dialect=Dialect(event_response=shape)) as (server, client):
        made = await client.events.create("Won", {"email": "a@b", "deal": {"id": 1}}, {"type": "object"})
        assert (made.name, made.sample, made.json_schema) == (
            "Won",
            {"email": "a@b", "deal": {"id": 1}},
            {"type": "object"},
        )
        if shape == "list":
            assert EventField(key="payload.deal.id", type="text") in made.fields
        assert await client.events.get(made.id) == made
        assert await client.events.find("Won") == made
        assert await client.events.find("won") is None, "names are spelled exactly"
        changed = await client.events.update(made.id, "Lost", {})
        assert (changed.id, changed.name, changed.sample, changed.json_schema) == (made.id, "Lost", {}, None)
        assert [event.name for event in await client.events.list()] == ["Lost"]
        await client.events.delete(made.id)
        assert await client.events.list() == []
        assert all(entry.account is None for entry in server.ledger.entries), "events are the organisation's"


@pytest.mark.asyncio
async def test_a_name_that_exists_is_refused() -> None:
    async with mock() as (_, client):
        await client.events.create("Won", {})
        with pytest.raises(BadRequestError) as caught:
            await client.events.create("Won", {})
        assert caught.value.delivery is Delivery.REJECTED


@pytest.mark.parametrize("status", [400, 404])
@pytest.mark.asyncio
async def test_an_unknown_id_is_told_by_either_status(status: Literal[400, 404]) -> None:
    wanted = NotFoundError if status == 404 else BadRequestError
    async with mock(dialect=Dialect(unknown_event=status)) as (_, client):
        with pytest.raises(wanted):
            await client.events.get("none")
        with pytest.raises(wanted):
            await client.events.update("none", "Won", {})
        with pytest.raises(wanted):
            await client.events.delete("none")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("fault", "may_have_deleted"),
    [
        (Fault.throttle("0"), False),
        (Fault.answer(503, headers={"Retry-After": "0"}), False),
        (Fault.reset_after_firing(), True),
        (Fault.html_502(), True),
    ],
    ids=["429", "503 with Retry-After", "reset", "502"],
)
async def test_an_event_that_was_never_there_is_not_said_to_be_deleted(fault: Fault, may_have_deleted: bool) -> None:
    """ "No such event" means that it is done after an attempt that may have done it, not after one turned away."""
    async with mock(client_options={"retry": QUICK}) as (server, client):
        server.next(fault, kind="write")
        if may_have_deleted:
            await client.events.delete("65f0c0ffee65f0c0ffee65f0")
        else:
            with pytest.raises((NotFoundError, BadRequestError)):
                await client.events.delete("65f0c0ffee65f0c0ffee65f0")
        assert server.ledger.requests == 2


@pytest.mark.parametrize("status", [400, 404])
@pytest.mark.parametrize("fault", [Fault.reset_after_firing(), Fault.answer(500, fires=True)], ids=lambda it: it.name)
@pytest.mark.asyncio
async def test_an_event_deleted_by_an_attempt_without_response_counts_as_deleted(
    fault: Fault, status: Literal[400, 404]
) -> None:
    async with mock(dialect=Dialect(unknown_event=status)) as (server, client):
        event = server.events.add("Won")
        server.next(fault, kind="write")
        await client.events.delete(event.id)
        assert server.events.all() == []


@pytest.mark.asyncio
async def test_a_change_without_response_is_made_again() -> None:
    async with mock() as (server, client):
        event = server.events.add("Won")
        server.next(Fault.reset_after_firing(), Fault.html_502(), kind="write")
        changed = await client.events.update(event.id, "Lost", {"a": 1})
        assert (changed.id, changed.name) == (event.id, "Lost")
        assert [entry.method for entry in server.ledger.entries] == ["PUT", "PUT", "PUT"]


@pytest.mark.asyncio
async def test_a_creation_without_response_is_settled_by_the_list() -> None:
    async with mock() as (server, client):
        server.next(Fault.reset_after_firing(), kind="write")
        made = await client.events.create("Won", {"a": 1})
        assert made.id == server.events.all()[0].id
        assert [entry.method for entry in server.ledger.entries] == ["POST", "GET"]


@pytest.mark.asyncio
async def test_a_creation_that_the_list_does_not_show_is_ambiguous_and_was_not_tried_again() -> None:
    async with mock() as (server, client):
        server.next(Fault.close_before_firing(), kind="write")
        with pytest.raises(RefoldConnectionError) as caught:
            await client.events.create("Won", {"a": 1})
        assert caught.value.delivery is Delivery.AMBIGUOUS
        assert [entry.method for entry in server.ledger.entries] == ["POST", "GET"]


@pytest.mark.asyncio
async def test_an_event_of_the_same_name_with_another_sample_settles_no_creation() -> None:
    async with mock() as (server, client):
        server.events.add("Won", {"older": 1})
        server.next(Fault.close_before_firing(), kind="write")
        with pytest.raises(RefoldError) as caught:
            await client.events.create("Won", {"a": 1})
        assert caught.value.delivery is Delivery.AMBIGUOUS


@pytest.mark.asyncio
async def test_a_list_that_cannot_be_read_leaves_a_creation_ambiguous() -> None:
    async with mock() as (server, client):
        server.next(Fault.answer(500, fires=True), kind="write")
        server.plan(lambda entry: Fault.html_502(), kind="read")
        with pytest.raises(ServerError) as caught:
            await client.events.create("Won", {"a": 1})
        assert caught.value.delivery is Delivery.AMBIGUOUS
        assert caught.value.status_code == 500, "the error is the one of the creation"


@pytest.mark.asyncio
async def test_a_client_with_a_session_token_is_refused_before_anything_is_sent(server: MockRefold) -> None:
    async with RefoldClient(session_token=server.session_token, base_url=server.url, proxy=None) as client:
        calls = [
            client.events.list(),
            client.events.get("1"),
            client.events.find("Won"),
            client.events.create("Won", {}),
            client.events.update("1", "Won", {}),
            client.events.delete("1"),
        ]
        for call in calls:
            with pytest.raises(ConfigurationError, match="API key"):
                await call
    assert server.ledger.entries == []


@pytest.mark.parametrize("event_id", ["", " ", ".", "..", "%2e%2e", "a/../b", "a\\..", "\0", "\ud800", 7, None])
@pytest.mark.asyncio
async def test_an_id_that_could_reach_another_path_is_refused(server: MockRefold, event_id: Any) -> None:
    async with server.client() as client:
        calls = [client.events.get(event_id), client.events.update(event_id, "a", {}), client.events.delete(event_id)]
        for call in calls:
            with pytest.raises(InvalidRequestError):
                await call
    assert server.ledger.entries == []


@pytest.mark.parametrize(
    ("name", "sample"),
    [("", {}), (" ", {}), (None, {}), ("Won", []), ("Won", "{}"), ("Won", {"a": {1}}), ("Won", {"a": float("nan")})],
)
@pytest.mark.asyncio
async def test_a_definition_that_makes_no_sense_is_refused(server: MockRefold, name: Any, sample: Any) -> None:
    async with server.client() as client:
        with pytest.raises(InvalidRequestError):
            await client.events.create(name, sample)
        with pytest.raises(InvalidRequestError):
            await client.events.update("1", name, sample)
    assert server.ledger.entries == []


def answer_of(document: Any) -> bytes:
    body = json.dumps(document).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


@pytest.mark.parametrize("document", [{"message": "ok"}, "list", 7])
@pytest.mark.asyncio
async def test_a_list_that_is_none_is_not_taken_for_an_empty_one(document: Any) -> None:
    async with serving(answering(answer_of(document))) as server, client_of(server) as client:
        unpace(client)
        with pytest.raises(UnexpectedResponseError) as caught:
            await client.events.list()
        assert caught.value.delivery is None


@pytest.mark.asyncio
async def test_an_answer_with_the_created_event_alone_is_understood_too() -> None:
    answer = answer_of({"_id": "1", "name": "Won", "response": "{}"})
    async with serving(answering(answer)) as server, client_of(server) as client:
        unpace(client)
        assert (await client.events.create("Won", {})).id == "1"
        assert (await client.events.update("1", "Won", {})).name == "Won"


@pytest.mark.asyncio
async def test_a_creation_that_is_acknowledged_but_not_listed_tells_that_it_was_accepted() -> None:
    async with serving(answering(answer_of([]))) as server, client_of(server) as client:
        unpace(client)
        with pytest.raises(UnexpectedResponseError) as caught:
            await client.events.create("Won", {})
        assert caught.value.delivery is Delivery.ACCEPTED


def client_of(server: RawServer) -> RefoldClient:
    return RefoldClient(api_key="sk_test_1", base_url=server.url, proxy=None, retry=QUICK)


def test_the_documented_events_are_read() -> None:
    listed, quoted, older = (EventDefinition.of(document) for document in DOCUMENTED)
    assert (listed.id, listed.name, listed.sample) == ("6a314123d0aeb8165be4f175", "candidate_created", None)
    assert listed.fields[1:] == (EventField(key="payload", type="object"), EventField(key="payload.email", type="text"))
    assert (quoted.sample, quoted.fields) == ({"email": "a@b"}, ())
    assert (older.sample, older.fields) == ({"email": "a@b"}, (EventField(key="payload.email", type="text"),))
    assert json.loads(json.dumps(older.to_dict()))["fields"] == [{"key": "payload.email", "type": "text"}]


@given(
    document=st.sampled_from([*DOCUMENTED, {}]),
    changes=st.dictionaries(
        st.sampled_from(["_id", "id", "name", "response", "raw_response", "json_schema", "new"]), JSON, max_size=4
    ),
    dropped=st.sets(st.sampled_from(["_id", "name", "response"])),
)
def test_a_definition_with_fields_dropped_null_mistyped_or_new_is_read(
    document: dict[str, Any], changes: dict[str, Any], dropped: set[str]
) -> None:
    changed = {name: value for name, value in {**document, **changes}.items() if name not in dropped}
    event = EventDefinition.of(changed, "asked")
    assert event.raw is changed
    assert isinstance(event.id, str)
    assert isinstance(event.name, str)
    assert all(isinstance(each.key, str) for each in event.fields)
    hash(event)
    repr(event)
