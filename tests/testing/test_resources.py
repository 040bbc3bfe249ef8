"""The mock's events, accounts, session tokens, files and errors, spoken to by plain httpx."""

from __future__ import annotations

import json
from typing import Any, Literal

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from python_multipart import FormParser

from refold_async import RateLimit
from refold_async.testing import Dialect, Fault, MockRefold
from refold_async.testing._bodies import parse_body, parse_json

from .api import Api

EVENTS = "application/event"


def test_events_can_be_created_read_changed_and_deleted() -> None:
    with MockRefold(rate_limit=None) as server:
        api = Api(server)
        made = api.call("POST", EVENTS, json={"name": "Won", "response": '{"email": "a@b", "deal": {"id": 1}}'}).json()
        [event] = made
        assert event["name"] == "Won"
        assert {"key": "payload.deal.id", "type": "text"} in event["response"]
        assert {"key": "payload.deal", "type": "object"} in event["response"]
        assert json.loads(event["raw_response"]) == {"email": "a@b", "deal": {"id": 1}}
        path = f"{EVENTS}/{event['_id']}"
        assert api.call("GET", path).json() == event
        changed = api.call("PUT", path, json={"name": "Lost", "response": {}, "json_schema": {"type": "object"}}).json()
        assert [(it["name"], it["_id"], it["json_schema"]) for it in changed] == [
            ("Lost", event["_id"], {"type": "object"})
        ]
        assert api.call("GET", EVENTS).json() == changed
        assert api.call("DELETE", path).json() == []
        assert api.call("DELETE", path).status_code == 404
        assert server.events.all() == []


@pytest.mark.parametrize("document", [{}, {"name": "Won"}, {"response": "{}"}, {"name": "", "response": "{}"}, [1]])
def test_an_event_needs_a_name_and_a_sample(server: MockRefold, document: Any) -> None:
    answer = Api(server).call("POST", EVENTS, json=document)
    assert (answer.status_code, answer.json()["message"]) == (400, "name and response are required")


def test_a_taken_name_is_refused(server: MockRefold) -> None:
    api = Api(server)
    body = {"name": "Won", "response": "{}"}
    assert api.call("POST", EVENTS, json=body).status_code == 200
    answer = api.call("POST", EVENTS, json=body)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_EVENT_ID")


def test_the_response_of_an_event_can_be_a_string() -> None:
    with MockRefold(dialect=Dialect(event_response="string")) as server:
        server.events.add("Won", {"email": "a@b"})
        [event] = Api(server).call("GET", EVENTS).json()
    assert json.loads(event["response"]) == {"email": "a@b"}
    assert "raw_response" not in event


@pytest.mark.parametrize("status", [400, 404])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_an_unknown_event_is_answered_with_either_status(status: Literal[400, 404], method: str) -> None:
    with MockRefold(dialect=Dialect(unknown_event=status)) as server:
        assert Api(server).call(method, f"{EVENTS}/none", json={}).status_code == status


def test_events_decide_what_can_be_triggered() -> None:
    with MockRefold(rate_limit=None, events={"pipedrive": ["Won"], "slack": ["Won", "Lost"]}) as server:
        api = Api(server)
        assert api.fire(event="Won") == 200
        assert api.fire(event="Lost") == 400
        assert api.fire(slug="none", event="Won") == 404
        assert api.fire(slug="trigger", event="Any") == 200, "every application, so none is looked up"
        narrowed = {**api.headers, "slug": "pipedrive"}
        assert api.call("POST", "event/trigger", headers=narrowed, json={"event": "Lost"}).status_code == 400
        api.call("POST", EVENTS, json={"name": "New", "response": "{}"})
        assert api.fire(event="New") == 200
        [won] = [event for event in server.events.all() if event.name == "Won"]
        api.call("DELETE", f"{EVENTS}/{won.id}")
        assert api.fire(event="Won") == 400


def test_event_definitions_need_an_api_key(server: MockRefold) -> None:
    bearer = {"Authorization": f"Bearer {server.session_token}"}
    assert Api(server).call("GET", EVENTS, headers=bearer).status_code == 401
    assert Api(server).call("GET", EVENTS, headers={"x-api-key": server.api_key}).status_code == 200


def test_session_tokens_are_minted_reused_and_revoked() -> None:
    now = 1000.0
    with MockRefold(rate_limit=None, token_lifetime=3600, clock=lambda: now) as server:
        api = Api(server)
        first = api.call("POST", "session-token", json={"linked_account_id": "a@b.c"}).json()
        assert (first["expires_in"], set(first)) == (
            3600,
            {"token", "refresh_token", "expires_in", "refresh_expires_in"},
        )
        now += 600.5
        again = api.call("POST", "session-token", json={"linked_account_id": "a@b.c"}).json()
        assert (again["token"], again["expires_in"]) == (first["token"], 2999), "seconds left"
        query = {"force_refresh": "true"}
        forced = api.call("POST", "session-token", params=query, json={"linked_account_id": "a@b.c"}).json()
        assert forced["token"] != first["token"]

        def fire(token: str) -> int:
            headers = {"Authorization": f"Bearer {token}"}
            return api.call("POST", "event/slack", headers=headers, json={"event": "E"}).status_code

        assert [fire(first["token"]), fire(forced["token"])] == [200, 200]
        assert server.ledger.fired[0].account == "a@b.c"
        revoked = api.call("POST", "session-token/revoke", headers={"Authorization": f"Bearer {first['token']}"})
        assert revoked.json() == {"success": True, "revoked_count": 1}
        assert [fire(first["token"]), fire(forced["token"])] == [401, 200]
        now += 3600
        assert fire(forced["token"]) == 401, "expired"
        assert not any(token.is_valid(now) for token in server.accounts.tokens() if token.account == "a@b.c")
        assert first["token"] not in repr(server.accounts.tokens())


@pytest.mark.parametrize("status", [400, 500])
def test_a_token_for_an_unknown_account_is_refused_with_either_status(status: Literal[400, 500]) -> None:
    with MockRefold(accounts=["acct_1"], dialect=Dialect(unknown_account=status)) as server:
        api = Api(server)
        assert api.call("POST", "session-token", json={"linked_account_id": "acct_1"}).status_code == 200
        assert api.call("POST", "session-token", json={"linked_account_id": "acct_2"}).status_code == status
        assert api.call("POST", "session-token", json={}).status_code == 400
        assert api.fire() == 200
        assert Api(server, "acct_2").fire() == status


def test_linked_accounts_can_be_made_listed_and_deleted() -> None:
    with MockRefold(accounts=["acct_1"]) as server:
        api = Api(server)
        body = {"linked_account_id": "someone@example.com", "name": "Some One"}
        assert api.call("PUT", "linked-account", json=body).json()["new_account"] is True
        assert api.call("PUT", "linked-account", json={"payload": body}).json()["new_account"] is False
        path = "linked-account/someone%40example.com"
        assert api.call("GET", path).json()["name"] == "Some One"
        assert api.call("GET", "linked-account").json()["totalDocs"] == 2
        assert api.call("PUT", "linked-account", json={}).status_code == 400
        assert api.call("DELETE", path).status_code == 200
        assert api.call("DELETE", path).status_code == api.call("GET", path).status_code == 404
    with MockRefold() as server:
        api = Api(server)
        assert api.call("GET", "linked-account/anyone").status_code == 200
        assert api.call("PUT", "linked-account", json={"account_id": "x"}).json()["new_account"] is False


@pytest.mark.parametrize(
    ("spelling", "names"),
    [
        ("documented", {"http_error_type": "UNAUTHORIZED", "error_code": "SERVER_ERROR"}),
        ("mixed", {"http_error_type": "UNAUTHORIZED", "error_code": "SERVER_ERROR"}),
        ("v1", {"error_type": "UNAUTHORIZED", "error_code": "SERVER_ERROR"}),
        ("v3", {"http_error_type": "UNAUTHORIZED", "error": "SERVER_ERROR"}),
        ("swapped", {"http_error_type": "SERVER_ERROR", "error_code": "UNAUTHORIZED"}),
    ],
)
def test_errors_are_spelled_as_the_dialect_says(spelling: Any, names: dict[str, str]) -> None:
    with MockRefold(dialect=Dialect(errors=spelling)) as server:
        body = Api(server).call("GET", "execution", headers={}).json()
    assert bool(body.pop("request_id", None)) is (spelling == "v1")
    assert body == {"status_code": 401, "message": "Invalid Credentials", **names}


def test_faults_can_be_played_to_reads_and_writes_alone(server: MockRefold) -> None:
    api = Api(server)
    server.next(Fault.html_502(), kind="read")
    server.next(Fault.close_after_firing(), kind="write")
    assert api.fire() == 200
    assert api.call("GET", EVENTS).status_code == 502
    with pytest.raises(httpx.RemoteProtocolError):
        api.call("POST", EVENTS, json={"name": "Won", "response": "{}"})
    assert [event["name"] for event in api.call("GET", EVENTS).json()] == ["Won"], "it took effect"
    server.plan(lambda entry: Fault.truncate_body() if entry.query == {"limit": "2"} else None, kind="read")
    with pytest.raises(httpx.RemoteProtocolError):
        api.runs(limit=2)
    assert api.runs(limit=3)["docs"]
    assert server.ledger.faults() == {"html_502": 1, "close_after_firing": 1, "truncate_body": 1}


def test_reads_have_a_limit_of_their_own() -> None:
    with MockRefold(read_rate_limit=RateLimit(1, 1), clock=lambda: 100.0, rate_limit=None) as server:
        api = Api(server)
        statuses = [api.call("GET", "execution").status_code for _ in range(2)]
        assert statuses == [200, 429]
        assert [api.fire() for _ in range(3)] == [200] * 3


def test_targets_are_recorded_exactly_as_they_were_sent(server: MockRefold) -> None:
    api = Api(server)
    api.call("GET", "execution/a%2Fb%3F?x=%20&y=1")
    api.call("DELETE", "application/event/%2e%2e")
    assert server.ledger.targets == [
        "/api/v2/public/execution/a%2Fb%3F?x=%20&y=1",
        "/api/v2/public/application/event/%2e%2e",
    ]
    [first, second] = server.ledger.entries
    assert (first.path, first.query) == ("/api/v2/public/execution/a%2Fb%3F", {"x": " ", "y": "1"})
    assert (first.kind, second.kind) == ("read", "write")


@pytest.mark.parametrize(
    ("method", "path", "status", "allowed"),
    [
        ("PATCH", "execution", 405, "GET"),
        ("GET", "event/slack", 405, "POST"),
        ("DELETE", "application/event", 405, "GET, POST"),
        ("GET", "nowhere", 404, None),
        ("POST", "event", 404, None),
        ("HEAD", "nowhere", 404, None),
    ],
)
def test_wrong_methods_and_paths(server: MockRefold, method: str, path: str, status: int, allowed: str | None) -> None:
    answer = Api(server).call(method, path)
    assert (answer.status_code, answer.headers.get("allow")) == (status, allowed)


# Files.


def test_files_arrive_beside_the_event_and_its_payload(server: MockRefold) -> None:
    data = bytes(range(256)) + b"\r\n--not-the-boundary\r\n"
    files = {"report": ("r e.pdf", data, "application/pdf"), "note": ("n.txt", b"", "text/plain")}
    form = {"event": "Deal Created", "payload": '{"n": 1}'}
    assert Api(server).call("POST", "event/pipedrive", data=form, files=files).status_code == 200
    [entry] = server.ledger.fired
    assert (entry.event, entry.payload) == ("Deal Created", {"n": 1})
    assert server.ledger.fired_count(n=1) == 1
    report, note = entry.files["report"], entry.files["note"]
    assert (report.name, report.content_type, report.data) == ("r e.pdf", "application/pdf", data)
    assert (note.name, note.data) == ("n.txt", b"")
    assert repr(data)[:20] not in repr(report)


def test_a_body_that_is_neither_json_nor_a_form_is_refused(server: MockRefold) -> None:
    api = Api(server)

    def send(content_type: str, body: bytes) -> int:
        headers = {**api.headers, "Content-Type": content_type}
        return api.call("POST", "event/slack", headers=headers, content=body).status_code

    assert send("application/x-www-form-urlencoded", b"event=E") == 415
    assert send("multipart/form-data", b'{"event":"E"}') == 400
    assert send("multipart/form-data; boundary=x", b"--x\r\nno head\r\n--x--") == 400
    payload = b'--x\r\nContent-Disposition: form-data; name="payload"\r\n\r\n{not json\r\n--x--\r\n'
    assert send("multipart/form-data; boundary=x", payload) == 400
    for body in (b'{"event":"E","payload":{"x":NaN}}', b'{"event":"E"} x', b"[" * 100_000, b"\xff"):
        assert send("application/json", body) == 400
    assert send("application/json", b' \n{"event":"E"}\n') == 200
    assert send("application/json", '{"event":"E"}'.encode("utf-16")) == 200


def test_the_alias_of_the_event_field_is_taken(server: MockRefold) -> None:
    assert Api(server).call("POST", "event/slack", json={"trigger": "E"}).status_code == 200
    assert server.ledger.fired[0].event == "E"


# Without backslashes: that parser cuts a file's name there, as old browsers on Windows sent whole paths.
_NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=["C"], exclude_characters="\\"), min_size=1, max_size=12
)


@settings(max_examples=60)
@given(files=st.dictionaries(_NAMES, st.tuples(_NAMES, st.binary(max_size=60)), max_size=4))
def test_the_mocks_parser_reads_forms_as_a_real_parser_does(files: dict[str, tuple[str, bytes]]) -> None:
    request = httpx.Request("POST", "http://x", data={"event": "E"}, files=files or {"f": ("f", b"")})
    body, content_type = request.read(), request.headers["content-type"]
    found: dict[str, tuple[str, bytes]] = {}

    def on_file(file: Any) -> None:
        file.file_object.seek(0)
        found[_plain(file.field_name)] = (_plain(file.file_name), file.file_object.read())

    boundary = content_type.partition("boundary=")[2]
    parser = FormParser("multipart/form-data", lambda field: None, on_file, boundary=boundary)
    parser.write(body)
    parser.finalize()
    document, parsed = parse_body(content_type, body)
    assert document == {"event": "E"}
    assert {name: (file.name, file.data) for name, file in parsed.items()} == found


def _plain(name: bytes) -> str:
    """Undo browsers' escapes, which that parser leaves alone."""
    return name.decode().replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")


@settings(max_examples=200)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5), st.booleans())
def test_json_is_read_as_the_standard_library_reads_it(document: Any, padded: bool) -> None:
    text = json.dumps(document)
    assert parse_json((f" {text}\n" if padded else text).encode()) == document


# Webhooks and workflows.


def test_webhooks_can_be_subscribed_to(server: MockRefold) -> None:
    api = Api(server)
    body = {"webhook_url": "https://example.com/hooks", "webhook_events": ["Workflow Errored"]}
    made = api.call("POST", "webhook", json=body).json()
    assert made | body == made
    assert (made["method"], made["is_enabled"]) == ("POST", True)
    path = f"webhook/{made['_id']}"
    changed = api.call("PUT", path, json={**body, "is_enabled": False}).json()
    assert changed == {**made, "is_enabled": False} == api.call("GET", path).json()
    assert api.call("GET", "webhook").json() == [changed]
    assert api.call("DELETE", path).json() == []
    for method in ("GET", "PUT", "DELETE"):
        answer = api.call(method, path, json=body)
        assert (answer.status_code, answer.json()["error"]) == (400, "RESOURCE_NOT_FOUND")


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({"url": "https://x", "events": ["Workflow Errored"]}, "SERVER_ERROR"),
        ({"webhook_url": "https://x", "webhook_events": []}, "SERVER_ERROR"),
        ({"webhook_url": "https://x", "webhook_events": ["workflow-completed"]}, "INVALID_EVENT"),
        ({"webhook_url": "https://x", "webhook_events": [["Workflow Errored"]]}, "INVALID_EVENT"),
    ],
)
def test_webhooks_that_make_no_sense_are_refused(server: MockRefold, document: Any, error: str) -> None:
    answer = Api(server).call("POST", "webhook", json=document)
    assert (answer.status_code, answer.json()["error"]) == (400, error)


def test_the_enabled_workflows_are_those_of_the_runs(server: MockRefold) -> None:
    api = Api(server)
    api.fire()
    workflows = {workflow["id"] for workflow in api.call("GET", "workflow/enabled").json()}
    assert api.runs()["docs"][0]["associated_workflow"]["_id"] in workflows
