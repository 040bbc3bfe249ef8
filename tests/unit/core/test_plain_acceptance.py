"""The short way to an acceptance says what `judge` says, of whatever evidence; and says nothing of the rest."""

from __future__ import annotations

import gzip
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refold_async import Idempotency, RetryPolicy
from refold_async._types.evidence import Cut, Evidence
from refold_async._types.values import Delivery, Trigger
from refold_async.client import RefoldClient

BODIES = [b"", b"{}", b'{"id": 1}', b' {"id": 1}', b'{"id": 1} ', b'{"id": 1}x', b"[]", b"null", b"1", b"{", b"\xff"]
BODIES += [
    b"\xef\xbb\xbf{}",
    '{"id": "ü"}'.encode("utf-16"),
    b'{"a":' * 3000,
    b"<html></html>",
    gzip.compress(b'{"id": 1}'),
]
PLAIN = b"HTTP/1.1 %d OK\r\nContent-Length: 9\r\nX-Request-Id: r\r\n\r\n"
FIELDS: list[Any] = [(), ((b"content-encoding", b"gzip"),), ((b"Content-Encoding", b"br"),), ((b"retry-after", b"1"),)]

statuses = st.one_of(st.none(), st.sampled_from([100, 101, 199, 200, 201, 204, 206, 299, 300, 404, 409, 429, 500, 503]))
errors = st.sampled_from([None, httpx.ReadError("x"), httpx.ConnectError("x"), RuntimeError("x")])


@st.composite
def evidences(draw: st.DrawFn, *, leaf: bool = False) -> Evidence:
    status = draw(statuses)
    head = draw(st.sampled_from([PLAIN % (status or 0), *FIELDS]))
    earlier = () if leaf else tuple(draw(st.lists(evidences(leaf=True), max_size=2)))
    return Evidence(
        status,
        head,
        draw(st.sampled_from(BODIES)),
        draw(st.booleans()),
        draw(st.sampled_from([True, False, None])),
        draw(errors),
        draw(st.sampled_from([None, *Cut])),
        True,
        earlier,
    )


def classify_nothing(status: int, headers: object) -> None:
    return None


def refuse_all(status: int, headers: object) -> Delivery:
    return Delivery.REJECTED


CLIENTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "no retry": {"retry": None},
    "classify": {"retry": RetryPolicy(classify=classify_nothing)},
    "refuse": {"retry": RetryPolicy(classify=refuse_all)},
    "window": {"idempotency": Idempotency(header="X-Key", conflict="duplicate")},
}


@pytest.mark.parametrize("options", CLIENTS)
@given(evidence=evidences())
def test_the_short_way_to_an_acceptance_agrees_with_the_long_one(options: str, evidence: Evidence) -> None:
    client = RefoldClient(api_key="tk_1", linked_account_id="a", **CLIENTS[options])
    sender = client._sender

    def judged(*, shortly: bool) -> Any:
        call = sender.new_call(Trigger("slack", "E", {"id": 1}))
        call.request = sender.encode(call)
        if shortly and not sender._is_plain_acceptance(call, evidence):
            assert (call.tried, call.verdicts, call.is_judged) == (0, None, False), "nothing was decided"
            return None
        if not shortly:
            sender._judge(call, evidence)
        return call.delivery, call.verdicts, call.tried, call.document, call.last is evidence, call.is_judged

    short, long = judged(shortly=True), judged(shortly=False)
    assert short is None or short == long
    if short is None and options in ("plain", "no retry", "window") and evidence.status == 200 and evidence.complete:
        assert evidence.earlier or long[0] is not Delivery.ACCEPTED, "what is plain takes the short way"
