"""What a webhook says, however it says it."""

from __future__ import annotations

import datetime as dt
import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refold_async import ConfigurationError, WebhookPayloadError, WebhookSignatureError
from refold_async.webhooks import (
    SIGNATURE_HEADER,
    ConnectionEvent,
    UnknownEvent,
    WebhookEvent,
    WorkflowEvent,
    sign,
    unwrap,
)

from .corpus import BODY, CONNECTION, GENUINE, HOSTILE_BODIES, KEY, WORKFLOW


def delivered(document: Any) -> WebhookEvent:
    body = json.dumps(document).encode()
    return unwrap(body, {SIGNATURE_HEADER: sign(body, KEY)}, key=KEY)


def test_a_connection_event_is_typed() -> None:
    event = delivered(CONNECTION)
    assert isinstance(event, ConnectionEvent)
    assert (event.name, event.linked_account_id, event.slug) == ("Connection Created", "acct_1", "pipedrive")
    assert event.environment == "test"
    assert event.created_at == dt.datetime(2023, 11, 7, 8, 3, 27, tzinfo=dt.UTC)
    assert event.dedupe_key == ("Connection Created", "acct_1", "pipedrive", "Tue, 07 Nov 2023 08:03:27 GMT")
    assert event.raw == CONNECTION


def test_a_workflow_event_is_typed() -> None:
    event = delivered(WORKFLOW)
    assert isinstance(event, WorkflowEvent)
    assert (event.name, event.status, event.workflow_name) == ("Workflow Errored", "ERRORED", "New deal")
    assert (event.execution_id, event.workflow_id) == (WORKFLOW["instance_id"], WORKFLOW["workflow_id"])
    assert (event.linked_account_id, event.config_id, event.environment) == ("acct_1", "cfg_1", "production")
    assert event.dedupe_key == ("Workflow Errored", WORKFLOW["instance_id"])


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Connection Created", ConnectionEvent),
        ("Connection Deleted", ConnectionEvent),
        ("Connection Expired", ConnectionEvent),
        ("Workflow Completed", WorkflowEvent),
        ("Workflow Errored", WorkflowEvent),
        ("Workflow Stopped", WorkflowEvent),
        ("Workflow Timed Out", WorkflowEvent),
        ("workflow-completed", WorkflowEvent),  # the deprecated spelling
        ("Workflow Paused", UnknownEvent),
        ("", UnknownEvent),
    ],
)
def test_each_name_has_its_type_and_a_new_name_is_not_an_error(name: str, kind: type[WebhookEvent]) -> None:
    event = delivered(WORKFLOW | CONNECTION | {"event": name})
    assert type(event) is kind
    assert event.name == name


def test_the_templated_body_of_a_custom_webhook_is_an_unknown_event() -> None:
    event = delivered({"text": "run finished"})
    assert isinstance(event, UnknownEvent)
    assert (event.name, dict(event.raw)) == ("", {"text": "run finished"})


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from([CONNECTION, WORKFLOW]), st.data())
def test_fields_that_are_missing_null_mistyped_or_new_are_never_an_error(
    example: dict[str, Any], data: st.DataObject
) -> None:
    document = dict(example)
    for name in data.draw(st.sets(st.sampled_from(sorted(example)))):
        if data.draw(st.booleans()):
            del document[name]
        else:
            document[name] = data.draw(ANYTHING)
    document |= data.draw(st.dictionaries(st.text(), ANYTHING, max_size=3))
    event = delivered(document)
    assert event.raw == document
    assert all(isinstance(part, str) for part in event.dedupe_key)
    assert event.dedupe_key == delivered(document).dedupe_key
    hash(event)
    json.dumps(event.to_dict())
    assert pickle.loads(pickle.dumps(event)) == event


@given(st.text())
def test_a_date_in_any_form_is_read_or_left_out(text: str) -> None:
    event = delivered(CONNECTION | {"createdAt": text})
    assert isinstance(event, ConnectionEvent)
    assert event.created_at is None or event.created_at.tzinfo is not None


@pytest.mark.parametrize("text", ["2023-11-07T08:03:27.000Z", "2023-11-07T09:03:27+01:00", "2023-11-07T08:03:27"])
def test_a_date_of_iso_8601_is_read_too(text: str) -> None:
    event = delivered(CONNECTION | {"createdAt": text})
    assert isinstance(event, ConnectionEvent)
    assert event.created_at == dt.datetime(2023, 11, 7, 8, 3, 27, tzinfo=dt.UTC)


@pytest.mark.parametrize("example", [CONNECTION, WORKFLOW])
@pytest.mark.parametrize("broken", ["instance_id", "slug", "linked_account_id", "createdAt"])
@pytest.mark.parametrize("value", [None, "", 7])
def test_events_without_identity_never_share_a_dedupe_key(example: dict[str, Any], broken: str, value: Any) -> None:
    one, other = ({**example, broken: value, "n": n} for n in range(2))
    if broken in example and broken in ("instance_id", "slug", "createdAt"):
        assert delivered(one).dedupe_key != delivered(other).dedupe_key
    assert delivered(one).dedupe_key == delivered(one).dedupe_key


@pytest.mark.parametrize("body", HOSTILE_BODIES.values(), ids=HOSTILE_BODIES)
def test_a_signed_body_that_is_not_a_json_object_is_a_payload_error(body: bytes) -> None:
    with pytest.raises(WebhookPayloadError, match="not a JSON object") as caught:
        unwrap(body, {SIGNATURE_HEADER: sign(body, KEY)}, key=KEY)
    assert caught.value.delivery is None


@given(st.binary())
def test_signed_bytes_are_an_event_or_a_payload_error(body: bytes) -> None:
    try:
        event = unwrap(body, {SIGNATURE_HEADER: sign(body, KEY)}, key=KEY)
    except WebhookPayloadError:
        return
    assert isinstance(event.raw, dict)


def test_a_body_over_the_limit_is_refused_before_it_is_looked_at() -> None:
    body = b'{"event":"' + b"x" * 1_000_000 + b'"}'
    with pytest.raises(WebhookPayloadError, match="max_bytes=1000000"):
        unwrap(body, {SIGNATURE_HEADER: sign(body, KEY)}, key=KEY)
    assert isinstance(unwrap(body, {SIGNATURE_HEADER: sign(body, KEY)}, key=KEY, max_bytes=None), UnknownEvent)
    exact = len(BODY)
    assert unwrap(BODY, {SIGNATURE_HEADER: GENUINE}, key=KEY, max_bytes=exact).name == "Workflow Completed"
    with pytest.raises(WebhookPayloadError):
        unwrap(BODY, {SIGNATURE_HEADER: GENUINE}, key=KEY, max_bytes=exact - 1)


@pytest.mark.parametrize("limit", [0, -1, 1.5, "1", True])
def test_a_limit_that_makes_no_sense_is_a_configuration_error(limit: Any) -> None:
    with pytest.raises(ConfigurationError, match="max_bytes"):
        unwrap(BODY, {SIGNATURE_HEADER: GENUINE}, key=KEY, max_bytes=limit)


@pytest.mark.parametrize(
    "headers",
    [
        {"x-cobalt-signature": GENUINE},
        {"X-Cobalt-Signature": GENUINE},
        {"X-COBALT-SIGNATURE": [GENUINE]},
        [("content-type", "application/json"), ("X-Cobalt-Signature", GENUINE)],
        [(b"x-cobalt-signature", GENUINE.encode())],
        [["x-cobalt-signature", GENUINE], ["x-cobalt-signature", GENUINE]],
        (pair for pair in [("x-cobalt-signature", GENUINE.upper())]),
    ],
    ids=["dict", "title", "lists of values", "pairs", "ASGI", "repeated", "generator"],
)
def test_headers_are_read_from_whatever_a_framework_has(headers: Any) -> None:
    assert unwrap(BODY, headers, key=KEY).name == "Workflow Completed"


@pytest.mark.parametrize(
    "headers",
    [
        {}, [], None, 7, "x-cobalt-signature", b"x-cobalt-signature", [()], [("x-cobalt-signature",)],
        [(None, GENUINE)], [("x-cobalt-signature", None)], [("x-cobalt-signature", GENUINE, "more")],
        {"x-cobalt-signature": {}}, [("x-cobalt-signature", GENUINE), ("x-cobalt-signature", "0" * 64)],
        {"x_cobalt_signature": GENUINE}, [None], [7], {b"x-cobalt-signature": []},
    ],
)  # fmt: skip
def test_headers_without_one_signature_are_refused(headers: Any) -> None:
    with pytest.raises(WebhookSignatureError):
        unwrap(BODY, headers, key=KEY)


@given(st.lists(st.tuples(st.text() | st.binary() | st.none(), st.text() | st.binary() | st.none())))
def test_headers_at_random_are_refused(headers: Any) -> None:
    with pytest.raises(WebhookSignatureError):
        unwrap(BODY, headers, key=KEY)


def test_a_payload_is_not_in_the_repr() -> None:
    event = delivered(WORKFLOW | {"upstream_body": "private"})
    assert "private" not in repr(event)
    assert event.raw["upstream_body"] == "private"
