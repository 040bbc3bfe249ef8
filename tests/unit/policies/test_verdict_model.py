"""Every status and every way to end without one, against a second description of the verdicts that shares no code."""

from __future__ import annotations

import itertools
import ssl
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refold_async import Delivery
from refold_async._types.evidence import Cut, Evidence
from refold_async.policies.verdict import (
    FailureKind,
    Verdict,
    causes,
    is_bad_certificate,
    judge,
    of_status,
    over_attempts,
    proxy_status,
)

ACCEPTED, REJECTED, NOT_SENT, AMBIGUOUS = Delivery.ACCEPTED, Delivery.REJECTED, Delivery.NOT_SENT, Delivery.AMBIGUOUS
EVERY_STATUS = range(-1, 1000)

HINTS = {None: (None, False), b"2": (2.0, True), b"0": (None, True), b"soon": (None, False), b"-1": (None, False)}
"""Values of `Retry-After`: the seconds they ask for, and whether they ask to come again at all."""


def meaning(status: int, asks: bool) -> tuple[Delivery, FailureKind | None]:
    """Say what a status means, by name where a single one matters."""
    single = {
        408: (AMBIGUOUS, FailureKind.SERVER),
        425: (REJECTED, FailureKind.TOO_EARLY),
        429: (REJECTED, FailureKind.THROTTLED),
        501: (REJECTED, FailureKind.REJECTED),
    }
    if asks:
        single[503] = (REJECTED, FailureKind.THROTTLED)
    if status in single:
        return single[status]
    hundreds = {2: (ACCEPTED, None), 3: (REJECTED, FailureKind.REJECTED), 4: (REJECTED, FailureKind.REJECTED)}
    return hundreds.get(status // 100, (AMBIGUOUS, FailureKind.SERVER))


def settings() -> Iterator[tuple[bytes | None, bool, bool, bool, bool]]:
    flags = [False, True]
    yield from itertools.product(HINTS, flags, flags, flags, flags)


@pytest.mark.parametrize("status", [0, 100, 101, 199, *range(200, 210), 299, 300, 302, 399, *range(400, 432), 451, 499,
                                    *range(500, 512), 599, 600, 999])  # fmt: skip
def test_each_status_has_its_verdict_whatever_comes_with_it(status: int) -> None:
    for hint, complete, is_refold, used, duplicate in settings():
        head = b"HTTP/1.1 0 x\r\n" + (b"" if hint is None else b"Retry-After: %b\r\n" % hint) + b"\r\n"
        evidence = Evidence(status, head, b"", complete, True)
        seconds, asks = HINTS[hint]
        said, kind = meaning(status, asks)
        expected = Verdict(said, kind, None if said is ACCEPTED else seconds)
        if said is ACCEPTED and complete and not is_refold:
            expected = Verdict(AMBIGUOUS, FailureKind.NOT_REFOLD)
        if status == 409 and used:
            expected = Verdict(AMBIGUOUS, FailureKind.CONFLICT, seconds)
            if duplicate:
                expected = Verdict(ACCEPTED, None, duplicate=True)
        options: dict[str, Any] = {
            "is_refold": lambda _, is_refold=is_refold: is_refold,
            "key_may_be_used": lambda used=used: used,
            "conflict_is_duplicate": duplicate,
        }
        assert judge(evidence, **options) == expected
        for indifferent in (lambda *_: None, lambda *_, said=expected.delivery: said):
            assert judge(evidence, classify=indifferent, **options) == expected, "a classifier that agrees"


@pytest.mark.parametrize("asks", [False, True])
def test_a_status_alone_means_the_same(asks: bool) -> None:
    assert {n: of_status(n, sheds_load=asks) for n in EVERY_STATUS} == {n: meaning(n, asks) for n in EVERY_STATUS}


def test_what_is_left_out_is_no_key_no_duplicate_no_such_error_and_no_clock() -> None:
    conflict = Evidence(409, b"HTTP/1.1 409 x\r\n\r\n", b"", True, True)
    assert judge(conflict, is_refold=lambda _: True) == Verdict(REJECTED, FailureKind.REJECTED)
    used = judge(conflict, is_refold=lambda _: True, key_may_be_used=lambda: True)
    assert used == Verdict(AMBIGUOUS, FailureKind.CONFLICT)
    assert not used.duplicate
    mute = Evidence(written=None, error=httpx.ConnectError("x"))
    assert judge(mute, is_refold=lambda _: True).delivery is AMBIGUOUS
    date = ((b"Retry-After", b"Thu, 01 Jan 1970 00:00:10 GMT"),)
    assert judge(Evidence(503, date, b"", True, True), is_refold=lambda _: True).retry_after == 10.0


@pytest.mark.parametrize("now", [0.0, 4.0, 11.0])
@pytest.mark.parametrize("classify", [None, lambda *_: None, lambda *_: AMBIGUOUS])
def test_a_date_to_come_again_is_taken_from_the_servers_clock_or_else_from_ours(now: float, classify: Any) -> None:
    hint = (b"Retry-After", b"Thu, 01 Jan 1970 00:00:10 GMT")
    theirs = (b"Date", b"Thu, 01 Jan 1970 00:00:07 GMT")
    options: dict[str, Any] = {"is_refold": lambda _: True, "now": lambda: now, "classify": classify}
    assert judge(Evidence(503, (hint, theirs), b"", True, True), **options).retry_after == 3.0
    assert judge(Evidence(503, (hint,), b"", True, True), **options).retry_after == (10.0 - now if now < 10 else None)


def without_status() -> Iterator[Evidence]:
    errors = [None, httpx.ConnectError("x"), httpx.ReadError("x"), KeyError("x"), httpx.ProxyError("407 Denied")]
    for written, error, cut, reached in itertools.product([False, True, None], errors, [None, *Cut], [False, True]):
        yield Evidence(written=written, error=error, cut=cut, reached=reached)


@pytest.mark.parametrize("evidence", list(without_status()), ids=repr)
def test_without_a_status_only_a_byte_that_may_have_gone_makes_it_ambiguous(evidence: Evidence) -> None:
    never_sent = (httpx.ConnectError, httpx.ProxyError)
    says_so = isinstance(evidence.error, never_sent)
    verdict = judge(evidence, is_refold=lambda _: True, never_sent=never_sent, classify=lambda *_: ACCEPTED)
    if not evidence.reached:
        assert verdict == Verdict(NOT_SENT, FailureKind.LOCAL)
    elif evidence.written is True or (evidence.written is None and not says_so):
        assert verdict == Verdict(AMBIGUOUS, FailureKind.NO_RESPONSE)
    elif evidence.cut is not None:
        assert verdict == Verdict(NOT_SENT, FailureKind.LOCAL)
    else:
        is_proxy = isinstance(evidence.error, httpx.ProxyError)
        assert verdict == Verdict(NOT_SENT, FailureKind.PROXY if is_proxy else FailureKind.CONNECT)


@pytest.mark.parametrize(
    ("default", "override", "kind"),
    [
        (404, ACCEPTED, None),
        (404, AMBIGUOUS, FailureKind.SERVER),
        (404, NOT_SENT, FailureKind.CONNECT),
        (200, REJECTED, FailureKind.REJECTED),
        (200, AMBIGUOUS, FailureKind.SERVER),
        (500, REJECTED, FailureKind.REJECTED),
        (429, AMBIGUOUS, FailureKind.SERVER),
        (429, ACCEPTED, None),
    ],
)
def test_a_classifier_overrides_a_status_and_the_reason_follows(
    default: int, override: Delivery, kind: FailureKind | None
) -> None:
    evidence = Evidence(default, ((b"Retry-After", b"2"),), b"{}", True, True)
    assert judge(evidence, is_refold=lambda _: True, classify=lambda *_: override) == Verdict(override, kind, 2.0)


def test_a_classifier_sees_the_status_and_each_field_once_in_lower_case() -> None:
    seen: list[Any] = []
    fields = ((b"X-A", b"1"), (b"x-a", b"2"), (b"X-B", b"\xff"), (b"X-A", b"3"))
    evidence = Evidence(418, fields, b"", True, True)
    judge(evidence, is_refold=lambda _: True, classify=lambda *given: seen.append(given))
    assert seen == [(418, {"x-a": "1, 2, 3", "x-b": "�"})]


@given(st.lists(st.sampled_from(Delivery)))
def test_over_attempts_an_acceptance_wins_then_a_doubt_then_the_last(deliveries: list[Delivery]) -> None:
    assert over_attempts(deliveries) is next(
        (each for each in (ACCEPTED, AMBIGUOUS) if each in deliveries), [NOT_SENT, *deliveries][-1]
    )


def chained(*errors: BaseException, by: str = "__cause__") -> BaseException:
    for outer, inner in itertools.pairwise(errors):
        setattr(outer, by, inner)
    return errors[0]


@pytest.mark.parametrize("by", ["__cause__", "__context__"])
def test_causes_are_found_nearest_first_and_a_ring_of_them_ends(by: str) -> None:
    errors = [KeyError(str(n)) for n in range(4)]
    chained(*errors, by=by)
    assert causes(errors[0]) == errors
    setattr(errors[-1], by, errors[0])
    assert causes(errors[0]) == errors
    assert causes(None) == []


@pytest.mark.parametrize("depth", [0, 1, 3])
@pytest.mark.parametrize(
    ("error", "is_bad"),
    [
        (ssl.SSLCertVerificationError("x"), True),
        (ssl.SSLError("wrong version number"), True),
        (ssl.SSLEOFError("x"), False),
        (ssl.SSLZeroReturnError("x"), False),
        (ssl.SSLSyscallError("x"), False),
        (ssl.SSLWantReadError("x"), False),
        (OSError("x"), False),
    ],
)
def test_a_handshake_that_another_try_will_not_mend_is_told_from_one_that_it_may(
    error: BaseException, is_bad: bool, depth: int
) -> None:
    outer = chained(*[httpx.ConnectError(str(n)) for n in range(depth)], error)
    assert is_bad_certificate(outer) is is_bad
    kind = FailureKind.TLS if is_bad else FailureKind.CONNECT
    assert isinstance(outer, Exception)
    assert judge(Evidence(written=False, error=outer), is_refold=lambda _: True) == Verdict(NOT_SENT, kind)
    assert not is_bad_certificate(None)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (httpx.ProxyError("407 Proxy Authentication Required"), 407),
        (httpx.ProxyError("502 Bad Gateway"), 502),
        (httpx.ProxyError("refused"), None),
        (httpx.ProxyError("40"), 40),
        (httpx.ProxyError("407"), 407),
        (httpx.ConnectError("407 is not a proxy's here"), None),
        (None, None),
    ],
)
def test_the_status_of_a_proxy_is_read_from_its_error(error: Any, status: int | None) -> None:
    assert proxy_status(error) == status
