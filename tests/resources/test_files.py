"""Triggers with files: what goes over the wire, and how often a file is read."""

from __future__ import annotations

import asyncio
import io
import os
import re
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from python_multipart import parse_form

from refold_async import (
    ClientClosedError,
    DeadlineExceededError,
    Idempotency,
    InvalidTriggerError,
    RefoldClient,
    RefoldError,
    RetryPolicy,
    Sending,
    Trigger,
)
from refold_async._api.files import encode_multipart, read_files
from refold_async.hooks import CallFinished, HookEvent
from refold_async.testing import MockRefold
from tests.fakes.server import FIRED_ANSWER, RawServer, Received, serving

Parsed = tuple[dict[bytes, bytes], dict[bytes, tuple[bytes, bytes]]]


def parse(content_type: bytes, body: bytes) -> Parsed:
    """Read a form back as a server would, with python-multipart."""
    fields: list[tuple[bytes, bytes]] = []
    files: list[tuple[bytes, tuple[bytes, bytes]]] = []

    def on_field(field: Any) -> None:
        fields.append((field.field_name, field.value))

    def on_file(file: Any) -> None:
        file.file_object.seek(0)
        files.append((file.field_name, (file.file_name, file.file_object.read())))

    headers: Any = {"Content-Type": content_type, "Content-Length": str(len(body)).encode()}
    parse_form(headers, io.BytesIO(body), on_field, on_file)
    assert len(dict(fields)) == len(fields)
    assert len(dict(files)) == len(files)
    return dict(fields), dict(files)


def form_of(request: Received) -> Parsed:
    return parse(dict(request.headers)[b"Content-Type"], request.body)


def client_of(server: RawServer, **options: Any) -> RefoldClient:
    options.setdefault("linked_account_id", "a")
    return RefoldClient(api_key="tk_1", base_url=server.url, rate_limit=None, **options)


NAMES = st.text(st.characters(exclude_categories=["C"], exclude_characters='"\\'), min_size=1, max_size=30).filter(
    lambda name: name == name.strip() and name not in ("event", "trigger", "payload")
)


@given(
    st.text(min_size=1).filter(str.strip),
    st.none() | st.dictionaries(st.just("a key that no file has"), st.text() | st.integers()),
    st.dictionaries(NAMES, st.binary() | st.tuples(NAMES, st.binary())),
)
def test_a_real_parser_reads_back_event_payload_and_files(event: str, payload: Any, files: dict[str, Any]) -> None:
    (_, content_type), body = encode_multipart(event, payload, read_files(files), None)
    fields, read = parse(content_type, body)
    assert fields.pop(b"event").decode() == event
    assert (b"payload" in fields) == (payload is not None)
    expected = {
        name.encode(): (name.encode(), value) if isinstance(value, bytes) else (value[0].encode(), value[1])
        for name, value in files.items()
    }
    assert read == expected


@given(st.text(max_size=8), st.text(max_size=8))
def test_no_name_of_a_file_reaches_another_header(field: str, name: str) -> None:
    try:
        parts = read_files({field: (name, b"x")})
    except InvalidTriggerError:
        return
    (_, content_type), body = encode_multipart("E", None, parts, None)
    assert parse(content_type, body)[1] == {field.encode(): (name.encode(), b"x")}
    assert body.count(b"\r\n\r\n") == 2
    assert body.count(b"\r\n") == 10


@pytest.mark.asyncio
@pytest.mark.parametrize("transport", [None, "httpx"])
async def test_a_whole_request_with_a_file_is_the_same_on_both_wires(transport: str | None) -> None:
    async with serving() as server:
        async with client_of(server, transport=transport) as client:
            await client.trigger("pipedrive", "E", {"a": 1}, files={"f": ("x.csv", b"a,b\r\n", "text/csv")})
        [request] = server.requests
    content_type, _, boundary = dict(request.headers)[b"Content-Type"].partition(b"; boundary=")
    assert content_type == b"multipart/form-data"
    assert re.fullmatch(rb"refold-[0-9a-f]{32}", boundary)
    assert [name for name, _ in request.headers].count(b"Content-Type") == 1
    assert request.body == (
        b"--" + boundary + b'\r\nContent-Disposition: form-data; name="event"\r\n\r\nE\r\n'
        b"--" + boundary + b'\r\nContent-Disposition: form-data; name="payload"\r\n\r\n{"a":1}\r\n'
        b"--" + boundary + b'\r\nContent-Disposition: form-data; name="f"; filename="x.csv"\r\n'
        b"Content-Type: text/csv\r\n\r\na,b\r\n\r\n"
        b"--" + boundary + b"--\r\n"
    )


@pytest.mark.asyncio
async def test_a_file_that_changes_between_attempts_is_sent_as_it_was_and_the_key_is_in_the_payload(
    tmp_path: Path,
) -> None:
    path = tmp_path / "data.txt"
    path.write_bytes(b"x" * 100_000)
    sends = 0

    def change(_: Sending) -> None:
        nonlocal sends
        sends += 1
        path.write_bytes(b"%d" % sends)

    options: dict[str, Any] = {
        "idempotency": Idempotency(payload_field="key"),
        "tag_field": "token",
        "before_send": change,
    }
    busy = b"HTTP/1.1 503 Busy\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n" + b'{"message":"x"}'
    async with serving(busy) as server:
        async with client_of(server, retry=RetryPolicy(max_attempts=2, base_delay=0.01), **options) as client:
            with pytest.raises(RefoldError):
                await client.trigger("s", "E", files={"f": path})
        first, second = server.requests
    assert first.body == second.body
    assert first.headers == second.headers
    fields, files = form_of(first)
    assert b'"key":' in fields[b"payload"]
    assert b'"token":"rfa-' in fields[b"payload"]
    assert files[b"f"] == (b"data.txt", b"x" * 100_000)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"event": b""}, "uses for itself"),
        ({"trigger": b""}, "uses for itself"),
        ({"payload": b""}, "uses for itself"),
        ({" ": b""}, "has the name"),
        ({'a"b': b""}, "has the name"),
        ({"a\r\nb": b""}, "has the name"),
        ({"a": ("x\r\nEvil: 1", b"")}, "file name"),
        ({"a": ("x", b"", "text/csv\r\nEvil: 1")}, "content type"),
        ({"a": io.BytesIO(b"x")}, "not BytesIO"),
        ({"a": ("x", "text")}, "must hold bytes"),
        ({"a": "/no/such/file"}, "could not be read"),
        ({"a": "/"}, "not a regular file"),
        ({"a": b"x" * 2_000_000, "b": b"x" * 1_000_001}, "3,000,000"),
        ({"a": b"x" * 2_999_900}, "3,000,000"),
        ({"taken": b""}, "replace payload.taken"),
        ([("a", b"")], "mapping"),
    ],
)
async def test_files_that_cannot_be_sent_are_refused_before_anything_is_sent(files: Any, words: str) -> None:
    trigger = Trigger("s", "E", {"taken": 1}, files=files)
    async with serving() as server:
        async with client_of(server) as client:
            with pytest.raises(InvalidTriggerError, match=words):
                client.check(trigger)
            with pytest.raises(InvalidTriggerError, match=words):
                await client.trigger("s", "E", {"taken": 1}, files=files)
            result = await client.trigger_many([trigger])
        assert server.requests == []
    assert isinstance(result[0].error, InvalidTriggerError)


@pytest.mark.asyncio
async def test_a_preview_shows_the_form_and_a_batch_sends_it(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"content")
    trigger = Trigger("s", "E", {"a": 1}, files={"f": path, "g": b"two"})
    async with MockRefold() as mock, mock.client(linked_account_id="a") as client:
        client.check(trigger)
        shown = client.preview(trigger)
        assert shown["headers"]["Content-Type"].startswith("multipart/form-data; boundary=")
        assert "content" in shown["body"]
        await client.trigger_many([trigger, Trigger("s", "E", {"a": 2})])
        with_files, plain = sorted(mock.ledger.fired, key=lambda entry: -len(entry.files))
        assert {name: file.data for name, file in with_files.files.items()} == {"f": b"content", "g": b"two"}
        assert with_files.payload["a"] == 1
        assert plain.header("content-type") == "application/json"
        assert set(mock.ledger.targets) == {"/api/v2/public/event/s"}


@pytest.mark.asyncio
async def test_trigger_all_reaches_every_application_and_no_slug_does() -> None:
    async with serving(FIRED_ANSWER) as server, client_of(server) as client:
        receipt = await client.trigger_all("E", {"a": 1}, linked_account_id="b", instance_tag="t", retry=None)
        await client.trigger_all("E", files={"f": b"x"})
        for slug in ("trigger", "Trigger", "*", None, "", "../event/trigger"):
            for files in (None, {"f": b"x"}):
                with pytest.raises(InvalidTriggerError):
                    await client.trigger(slug, "E", files=files)  # type: ignore[arg-type]
        first, second = server.requests
    assert receipt.sent is not None
    assert receipt.sent.slug == "*"
    assert {first.target, second.target} == {b"/api/v2/public/event/trigger"}
    assert first.body == b'{"event":"E","payload":{"a":1}}'
    assert dict(first.headers)[b"linked_account_id"] == b"b"
    assert form_of(second)[1] == {b"f": (b"f", b"x")}


@pytest.mark.asyncio
async def test_trigger_all_refuses_an_option_that_it_does_not_have() -> None:
    async with serving() as server, client_of(server) as client:
        with pytest.raises(TypeError, match="slug"):
            await client.trigger_all("E", slug="x")  # type: ignore[call-arg]
        with pytest.raises(InvalidTriggerError):
            await client.trigger_all(" ")
        assert server.requests == []


@pytest.mark.asyncio
@pytest.mark.parametrize("end", ["deadline", "close", "cancel"])
async def test_a_call_can_be_ended_while_its_file_is_read(
    end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, go_on = threading.Event(), threading.Event()

    def read(self: Path) -> Any:
        reading.set()
        assert go_on.wait(30)
        return os.stat(self)  # noqa: PTH116 - it stands in for that very method

    monkeypatch.setattr(Path, "stat", read)
    ended: list[HookEvent] = []
    async with serving() as server:
        client = client_of(server, hooks=[ended.append], deadline=0.2 if end == "deadline" else None)
        await client.trigger("s", "E")
        ended.clear()
        try:
            task = asyncio.ensure_future(client.trigger("s", "E", files={"f": tmp_path / "x"}))
            await asyncio.to_thread(reading.wait, 30)
            if end == "close":
                await client.aclose()
            elif end == "cancel":
                task.cancel()
            errors = {"deadline": DeadlineExceededError, "close": ClientClosedError, "cancel": asyncio.CancelledError}
            with pytest.raises(errors[end]):
                await task
        finally:
            go_on.set()
        await client.aclose()
        assert len(server.requests) == 1
    assert [event.delivery for event in ended if isinstance(event, CallFinished)] == ["not_sent"]


@pytest.mark.asyncio
async def test_the_limit_of_the_body_is_for_the_whole_form() -> None:
    async with serving() as server, client_of(server) as client:
        empty = client.preview(Trigger("s", "E", {"a": 1}, files={"f": b""}))
        room = 3_000_000 - int(empty["headers"]["Content-Length"])
        await client.trigger("s", "E", {"a": 1}, files={"f": b"x" * room})
        with pytest.raises(InvalidTriggerError, match="3,000,000"):
            await client.trigger("s", "E", {"a": 1}, files={"f": b"x" * (room + 1)})
        [request] = server.requests
    assert len(request.body) == 3_000_000


@pytest.mark.asyncio
async def test_trigger_all_has_a_verdict_that_the_hooks_are_told() -> None:
    told: list[HookEvent] = []
    refused = b'{"message":"no"}'
    answer = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n" + refused
    async with serving(answer) as server, client_of(server, hooks=[told.append]) as client:
        with pytest.raises(RefoldError) as caught:
            await client.trigger_all("E", {"a": 1})
    assert caught.value.delivery == "rejected"
    assert caught.value.trigger is not None
    assert caught.value.trigger.slug == "*"
    assert [event.delivery for event in told if isinstance(event, CallFinished)] == ["rejected"]
