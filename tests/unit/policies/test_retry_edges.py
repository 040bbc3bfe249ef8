"""When a call is tried again and after how long, on either side of each edge."""

from __future__ import annotations

from typing import Any

import pytest

from refold_async import Delivery, RetryPolicy
from refold_async._types.evidence import Evidence
from refold_async.policies.verdict import FailureKind, Verdict, judge


def decide(policy: RetryPolicy, kind: FailureKind, **facts: Any) -> float | None:
    delivery = Delivery.AMBIGUOUS if kind in (FailureKind.SERVER, FailureKind.NO_RESPONSE) else Delivery.REJECTED
    verdict = Verdict(delivery, kind, facts.pop("retry_after", None))
    given = {"attempt": 1, "is_deduplicated": False, "remaining": None, "random": lambda: 0.5, **facts}
    return policy.decide(verdict, **given)


def test_the_backoff_doubles_from_its_base_to_its_cap() -> None:
    policy = RetryPolicy(max_attempts=10, base_delay=1.0, throttled_base_delay=3.0, max_delay=8.0)
    delays = [decide(policy, FailureKind.CONNECT, attempt=attempt) for attempt in range(1, 7)]
    assert delays == [0.5, 1.0, 2.0, 4.0, 4.0, 4.0]
    delays = [decide(policy, FailureKind.THROTTLED, attempt=attempt) for attempt in range(1, 4)]
    assert delays == [1.5, 3.0, 4.0]


def test_the_backoff_of_a_thousandth_attempt_does_not_overflow() -> None:
    assert decide(RetryPolicy(max_attempts=10_000), FailureKind.CONNECT, attempt=9_999) == 4.0


def test_the_last_attempt_is_the_last() -> None:
    policy = RetryPolicy(max_attempts=3)
    assert decide(policy, FailureKind.CONNECT, attempt=2) is not None
    assert decide(policy, FailureKind.CONNECT, attempt=3) is None
    assert decide(policy, FailureKind.CONNECT, attempt=4) is None


def test_a_too_early_is_retried_once() -> None:
    policy = RetryPolicy(max_attempts=5)
    assert decide(policy, FailureKind.TOO_EARLY, attempt=1) is not None
    assert decide(policy, FailureKind.TOO_EARLY, attempt=2) is None


def test_a_wait_that_ends_with_the_deadline_is_not_begun() -> None:
    policy = RetryPolicy(base_delay=2.0)
    assert decide(policy, FailureKind.CONNECT, remaining=1.0) is None
    assert decide(policy, FailureKind.CONNECT, remaining=1.001) == 1.0


def test_a_retry_after_of_exactly_the_limit_is_waited_out() -> None:
    policy = RetryPolicy(max_retry_after=10.0)
    waited = decide(policy, FailureKind.THROTTLED, retry_after=10.0)
    assert waited is not None
    assert waited >= 10.0
    assert decide(policy, FailureKind.THROTTLED, retry_after=10.001) is None
    unlimited = decide(RetryPolicy(max_retry_after=None), FailureKind.THROTTLED, retry_after=1e6)
    assert unlimited is not None
    assert unlimited >= 1e6


@pytest.mark.parametrize("kind", [FailureKind.TLS, FailureKind.REJECTED, FailureKind.NOT_REFOLD])
def test_what_another_attempt_cannot_change_is_not_tried_again(kind: FailureKind) -> None:
    assert decide(RetryPolicy(retry_ambiguous=True), kind, is_deduplicated=True) is None


@pytest.mark.parametrize("kind", [FailureKind.SERVER, FailureKind.NO_RESPONSE])
def test_what_may_have_fired_is_tried_again_only_where_repeats_are_dropped_or_it_is_wanted(kind: FailureKind) -> None:
    assert decide(RetryPolicy(), kind) is None
    assert decide(RetryPolicy(), kind, is_deduplicated=True) is not None
    assert decide(RetryPolicy(retry_ambiguous=True), kind) is not None


STATUSES = {
    100: "ambiguous", 101: "ambiguous", 199: "ambiguous", 200: "accepted", 299: "accepted", 300: "rejected",
    399: "rejected", 400: "rejected", 401: "rejected", 407: "rejected", 408: "ambiguous", 410: "rejected",
    425: "rejected", 429: "rejected", 499: "rejected", 500: "ambiguous", 501: "rejected", 502: "ambiguous",
    503: "ambiguous", 504: "ambiguous", 599: "ambiguous", 600: "ambiguous", 999: "ambiguous",
}  # fmt: skip


def verdict_of(status: int, hint: str | None = None, **options: Any) -> Verdict:
    head = () if hint is None else ((b"Retry-After", hint.encode()),)
    evidence = Evidence(status=status, head=head, body=b"{}", complete=True, written=True)
    return judge(evidence, is_refold=lambda evidence: True, **options)


@pytest.mark.parametrize("hint", [None, "2"], ids=["no hint", "a hint"])
@pytest.mark.parametrize("status", STATUSES)
def test_each_status_has_its_verdict_and_a_hint_changes_that_of_503_alone(status: int, hint: str | None) -> None:
    verdict = verdict_of(status, hint)
    expected = "rejected" if status == 503 and hint else STATUSES[status]
    assert verdict.delivery.value == expected
    throttled = status == 429 or (status == 503 and hint is not None)
    assert (verdict.kind is FailureKind.THROTTLED) == throttled, "a hint alone does not make a throttle"
    assert (verdict.kind is FailureKind.TOO_EARLY) == (status == 425)
    if verdict.delivery is not Delivery.ACCEPTED:
        assert verdict.retry_after == (None if hint is None else 2.0)


@pytest.mark.parametrize("override", Delivery)
@pytest.mark.parametrize("status", [200, 404, 425, 429, 500])
def test_an_override_of_the_default_has_a_kind_that_fits_it(status: int, override: Delivery) -> None:
    default = verdict_of(status)
    verdict = verdict_of(status, classify=lambda status, headers: override)
    assert verdict.delivery is override
    if override is default.delivery:
        assert verdict == default
    elif override is Delivery.REJECTED:
        assert verdict.kind is FailureKind.REJECTED
    assert (verdict.kind is None) == (override is Delivery.ACCEPTED)


class NeverSentError(Exception):
    """An error that says by its type that nothing was written."""


@pytest.mark.parametrize(
    ("written", "verdict"), [(False, Delivery.NOT_SENT), (None, Delivery.NOT_SENT), (True, Delivery.AMBIGUOUS)]
)
def test_an_error_that_says_never_sent_is_believed_only_where_the_wire_saw_nothing_written(
    written: bool | None, verdict: Delivery
) -> None:
    evidence = Evidence(written=written, error=NeverSentError())
    assert judge(evidence, is_refold=lambda e: True, never_sent=(NeverSentError,)).delivery is verdict


@pytest.mark.parametrize(
    ("written", "verdict"), [(False, Delivery.NOT_SENT), (None, Delivery.AMBIGUOUS), (True, Delivery.AMBIGUOUS)]
)
def test_any_other_error_is_judged_by_what_was_written(written: bool | None, verdict: Delivery) -> None:
    evidence = Evidence(written=written, error=OSError())
    assert judge(evidence, is_refold=lambda e: True, never_sent=(NeverSentError,)).delivery is verdict
