"""The table of verdicts in the documentation, row by row, against the function that decides."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from refold_async import Delivery, RetryPolicy
from refold_async._types.evidence import NOT_REACHED, Cut, Evidence
from refold_async._wire.observed import NEVER_SENT
from refold_async.policies.verdict import judge

PAGE = Path(__file__).parents[3] / "docs" / "delivery.md"
JSON = b'{"message": "Webhook Fired Success"}'


def certificate_error() -> httpx.ConnectError:
    error = httpx.ConnectError("x")
    error.__cause__ = ssl.SSLCertVerificationError("expired")
    return error


def broken_handshake() -> httpx.ConnectError:
    error = httpx.ConnectError("x")
    error.__cause__ = ssl.SSLEOFError("eof")
    return error


def unsent(*errors: Exception) -> list[Evidence]:
    """Return what a wire that tells, and one that does not, return of these errors."""
    told = [Evidence(written=False, error=error) for error in errors]
    return told + [Evidence(written=None, error=error) for error in errors if isinstance(error, NEVER_SENT)]


def response(status: int, *, body: bytes = b"", complete: bool = True, retry_after: bytes | None = None) -> Evidence:
    head = () if retry_after is None else ((b"Retry-After", retry_after),)
    return Evidence(status, head, body, complete, True)


CASES: dict[str, list[Evidence]] = {
    "the name is unknown, the connection was refused or timed out, or none became free": unsent(
        httpx.ConnectError("x"), httpx.ConnectTimeout("x"), httpx.PoolTimeout("x")
    ),
    "the TLS certificate is not accepted": unsent(certificate_error()),
    "the TLS handshake timed out or broke off": unsent(broken_handshake(), httpx.ConnectTimeout("x")),
    "a proxy could not be reached, or refused the tunnel": unsent(
        httpx.ProxyError("502 Bad Gateway"), httpx.ProxyError("x"), httpx.ConnectError("x")
    ),
    "a proxy asked for credentials before the tunnel (407)": unsent(
        httpx.ProxyError("407 Proxy Authentication Required")
    ),
    "the connection broke before any byte of the request was handed over": unsent(
        httpx.WriteError("x"), httpx.ReadError("x"), httpx.RemoteProtocolError("x")
    ),
    "stopped by `before_send`, the limiter, a closed client or the deadline, before the first byte": [
        NOT_REACHED,
        *[NOT_REACHED._replace(cut=cut) for cut in Cut],
        *[Evidence(written=False, cut=cut) for cut in Cut],
    ],
    "no status after the first byte: a write error, a read timeout, a reset or a close": [
        Evidence(written=written, error=error)
        for error in (httpx.WriteError("x"), httpx.ReadTimeout("x"), httpx.ReadError("x"), KeyError("foreign"))
        for written in (True, None)
    ]
    + [Evidence(written=True, error=error("x")) for error in NEVER_SENT],
    "cancelled, closed or past the deadline after the first byte, and no status was seen": [
        Evidence(written=True, cut=cut) for cut in Cut
    ],
    "a 2xx status, then the body broke off, stalled or went beyond 1 MB": [
        response(status, body=body, complete=False) for status in (200, 202, 204, 299) for body in (b"", b'{"mess')
    ],
    "a 2xx status with a complete body that is not a JSON object": [
        response(status, body=body) for status in (200, 201, 299) for body in (b"[1]", b"<html>", b"null", b'{"a":')
    ],
    "204, or a 2xx status with an empty body": [response(status) for status in (204, 200, 205, 299)],
    "429": [response(429), response(429, retry_after=b"3"), response(429, retry_after=b"0")],
    "503 with `Retry-After`": [response(503, retry_after=b"3"), response(503, retry_after=b"0")],
    "425": [response(425), response(425, retry_after=b"1")],
    "408, 500, 502, 503 without `Retry-After`, 504, other 5xx": [
        response(status) for status in (408, *range(500, 600)) if status != 501
    ]
    + [response(503, retry_after=b"soon"), response(500, retry_after=b"3")],
    "a status below 200 that ends the response, or beyond 599": [response(s) for s in (100, 101, 199, 600, 999)],
    "409 with a key that Refold may have seen before": [response(409)],
    'the same, with `Idempotency(conflict="duplicate")`': [response(409)],
    "407 to a request that a proxy forwards": [response(407)],
    "3xx (never followed), 501, other 4xx": [
        response(status)
        for status in (*range(300, 500), 501)
        if status not in (407, 408, 425, 429)
    ],
}  # fmt: skip


def rows() -> Iterator[list[str]]:
    lines = PAGE.read_text().partition("| what happened |")[2].splitlines()[2:]
    for line in lines:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in line.strip("|").split(" | ")]


def test_each_row_of_the_table_has_its_cases_and_each_case_its_row() -> None:
    assert [row[0] for row in rows()] == list(CASES)


@pytest.mark.parametrize("row", list(rows()), ids=lambda row: re.sub(r"\W+", "-", row[0])[:50])
def test_a_row_of_the_table_is_what_is_decided(row: list[str]) -> None:
    what, verdict, again, with_window = row
    is_known_key = what.startswith(("409", "the same"))
    for evidence in CASES[what]:
        found = judge(
            evidence,
            is_refold=lambda evidence: evidence.body.startswith(b"{") and evidence.body.endswith(b"}"),
            key_may_be_used=lambda: is_known_key,
            conflict_is_duplicate=what.startswith("the same"),
            never_sent=NEVER_SENT,
        )
        assert f"`{found.delivery.name}`" == verdict, evidence
        assert (found.kind is None) == (found.delivery is Delivery.ACCEPTED)
        if evidence.cut is not None:
            continue  # the call is over
        for is_deduplicated, expected in ((False, again), (True, with_window)):
            tried = [
                RetryPolicy().decide(
                    found, attempt=n, is_deduplicated=is_deduplicated, remaining=None, random=lambda: 0.5
                )
                is not None
                for n in (1, 2)
            ]
            assert tried == {"yes": [True, True], "once": [True, False]}.get(expected, [False, False]), evidence


@pytest.mark.parametrize("body", [JSON, b"{}"])
@pytest.mark.parametrize("status", [200, 201, 299])
def test_a_json_object_with_a_2xx_status_is_accepted(status: int, body: bytes) -> None:
    assert judge(response(status, body=body), is_refold=lambda _: True).delivery is Delivery.ACCEPTED


def test_a_409_without_a_key_that_was_seen_before_is_rejected() -> None:
    assert judge(response(409), is_refold=lambda _: True).delivery is Delivery.REJECTED
