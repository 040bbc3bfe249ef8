"""Bad input gets a message that says what to change, and nothing is sent."""

from __future__ import annotations

import datetime
import decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refold_async import (
    CallbackError,
    ConfigurationError,
    Delivery,
    Idempotency,
    InvalidTriggerError,
    RefoldClient,
    RefoldError,
)
from refold_async._api.encode import _make_chunks, encode_body
from refold_async._api.trigger import check_slug
from tests.fakes.transport import FakeTransport, fired


async def refused(*trigger: Any, client_options: dict[str, Any] | None = None, **options: Any) -> RefoldError:
    transport = FakeTransport.answering(fired())
    seen = transport.requests
    settings = {"api_key": "tk_1", "linked_account_id": "a", "transport": transport, **(client_options or {})}
    client = RefoldClient(**settings)
    with pytest.raises((InvalidTriggerError, CallbackError)) as caught:
        await client.trigger(*trigger, **options)
    assert isinstance(caught.value, ValueError) or "json_encoder" in str(caught.value)
    assert (caught.value.delivery, caught.value.attempts) == (Delivery.NOT_SENT, 0)
    assert not seen, "something was sent"
    await client.aclose()
    return caught.value


LOOP: dict[str, Any] = {}
LOOP["again"] = LOOP


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "slug",
    ["", ".", "..", "trigger", "Trigger", "TRIGGER", "a/b", "a%2Fb", "a b", "a?b", "a#b", "a\nb", "a\r\nX: y", "é",
     None, 7, "../x", "a\x00", "pipedrive/", "\\", "a;b", "a:b", "@", "a\n"],
)  # fmt: skip
async def test_slugs_that_could_reach_elsewhere(slug: Any) -> None:
    error = await refused(slug, "E")
    assert "slug" in str(error)


@given(st.text())
def test_a_slug_that_passes_is_one_segment_of_a_path(slug: str) -> None:
    try:
        check_slug(slug)
    except InvalidTriggerError:
        return
    assert slug not in {"", ".", ".."}
    assert slug.lower() != "trigger"
    assert slug.isascii()
    assert all(c.isalnum() or c in "-._~" for c in slug)


@pytest.mark.asyncio
@pytest.mark.parametrize("event", ["", "  ", None, 7])
async def test_events_need_a_name(event: Any) -> None:
    assert "event" in str(await refused("slack", event))


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ([1], "must be a JSON object (a dict) or None, not list"),
        ("x", "not str"),
        (7, "not int"),
        ({"items": [0, 1, 2, {"when": datetime.datetime(2026, 1, 1)}]}, "payload.items[3].when is a datetime"),
        ({"a": decimal.Decimal(1)}, "payload.a is a Decimal"),
        ({"a": {1, 2}}, "payload.a is a set"),
        ({"a": b"x"}, "payload.a is a bytes"),
        ({"a": float("nan")}, "payload.a is nan"),
        ({"a": [float("inf")]}, "payload.a[0] is inf"),
        ({"a": {1: 2}}, "payload.a has a key that is a int"),
        ({None: 2}, "payload has a key that is a NoneType"),
        ({"a": "\ud800"}, "payload.a holds half of a surrogate pair"),
        ({"\ud800": 1}, "a key of payload holds half of a surrogate pair"),
        ({"a": LOOP}, "nested deeper than 200 levels, or holds itself"),
        ({"a": "x" * 3_000_000}, "3,000,032 bytes and Refold takes at most 3,000,000"),
    ],
)
async def test_payloads_that_json_cannot_hold(payload: Any, words: str) -> None:
    assert words in str(await refused("slack", "E", payload))


@pytest.mark.asyncio
async def test_an_event_that_utf8_cannot_hold() -> None:
    assert "event holds half of a surrogate pair" in str(await refused("slack", "E\ud800"))


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["linked_account_id", "config_id", "instance_tag", "idempotency_key"])
@pytest.mark.parametrize("value", ["", " ", "a\r\nX-Evil: 1", "a\nb", "a\x00", "a\x7f", "日本", " a", "a ", 7])
async def test_header_values_that_would_break_out(name: str, value: Any) -> None:
    error = await refused("slack", "E", **{name: value})
    assert name in str(error)
    assert "Evil" not in str(error)


@pytest.mark.asyncio
async def test_an_api_key_needs_an_account() -> None:
    error = await refused("slack", "E", client_options={"linked_account_id": None})
    assert "linked_account_id=" in str(error)


@pytest.mark.asyncio
async def test_a_declared_key_must_fit_in_its_header() -> None:
    error = await refused(
        "slack", "E", client_options={"idempotency": Idempotency(header="X-Key")}, idempotency_key="a\nb"
    )
    assert "idempotency_key" in str(error)


@pytest.mark.asyncio
async def test_an_encoder_that_fails_or_gives_text() -> None:
    def fail(document: object) -> bytes:
        raise KeyError("secret payload")

    error = await refused("slack", "E", client_options={"json_encoder": fail})
    assert "json_encoder raised KeyError" in str(error)
    error = await refused("slack", "E", client_options={"json_encoder": lambda document: "text"})
    assert "json_encoder must return bytes, not str" in str(error)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "options",
    [{"timeout": -1}, {"timeout": "x"}, {"deadline": 0}, {"deadline": True}, {"deadline": "1"}, {"retry": 3}],
)
async def test_settings_of_one_call_are_checked_too(options: dict[str, Any]) -> None:
    transport = FakeTransport.answering(fired())
    seen = transport.requests
    client = RefoldClient(api_key="tk_1", linked_account_id="a", transport=transport)
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        await client.trigger("slack", "E", **options)
    assert not seen
    await client.aclose()


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("aé日\U0001f600"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text("ab"), JSON, max_size=4))
def test_whatever_json_can_hold_arrives_unchanged(payload: dict[str, Any]) -> None:
    import json

    from refold_async._api.encode import encode_body

    assert json.loads(encode_body("E", payload, None)) == {"event": "E", "payload": payload}


def test_a_loop_in_a_payload_is_named_also_where_the_encoder_does_not_look_for_one() -> None:
    payload: dict[str, Any] = {"a": [1]}
    payload["a"].append(payload)
    with pytest.raises(InvalidTriggerError, match="nested deeper than 200 levels, or holds itself"):
        encode_body("E", payload, None)


def test_both_encoders_of_json_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    document = {"event": "é", "payload": {"n": [1, 2.5, True, None, {"é\u2028": 'x"y'}], "t": (1,), "e": {}}}
    ours = "".join(_make_chunks()(document, 0))
    monkeypatch.setattr("json.encoder.c_make_encoder", None)  # as where there is no C encoder
    assert "".join(_make_chunks()(document, 0)) == ours
