"""The pure decisions: `Retry-After`, verdicts, delays and the budget."""

from __future__ import annotations

import email.utils
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refold_async import Delivery, RetryPolicy
from refold_async._types.evidence import Evidence
from refold_async.policies.budget import RetryBudget
from refold_async.policies.retry_after import parse_retry_after
from refold_async.policies.verdict import Classifier, FailureKind, Verdict, judge, over_attempts

NOW = 1_800_000_000.0


def http_date(at: float) -> str:
    return email.utils.formatdate(at, usegmt=True)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", None),
        ("7", 7.0),
        (" 1.5 ", 1.5),
        ("2.", 2.0),
        ("999999999", 999999999.0),
        ("-1", None),
        ("+1", None),
        ("1e3", None),
        ("nan", None),
        ("inf", None),
        ("", None),
        (".", None),
        ("1,5", None),
        ("٣", None),
        ("9" * 400, None),
        ("soon", None),
        (http_date(NOW + 30), 30.0),
        (http_date(NOW - 30), None),
        ("Fri, 99 Foo 2026 00:00:00 GMT", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, date=None, now=NOW) == seconds


def test_a_date_is_measured_against_the_servers_own() -> None:
    assert parse_retry_after(http_date(NOW + 30), date=http_date(NOW), now=NOW + 3600) == 30.0
    assert parse_retry_after(http_date(NOW + 30), date="junk", now=NOW) == 30.0


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d{1,3} [A-Z][a-z]{2} \d{1,5} \d\d:\d\d:\d\d [A-Z+\-0-9]{3,5}"))
def test_whatever_is_sent_gives_a_wait_or_none(value: str) -> None:
    seconds = parse_retry_after(value, date=value, now=NOW)
    assert seconds is None or (seconds > 0 and math.isfinite(seconds))


def verdict_of(status: int, headers: dict[str, str], classify: Classifier | None = None) -> Verdict:
    pairs = tuple((name.encode(), value.encode("utf-8", "replace")) for name, value in headers.items())
    evidence = Evidence(status, pairs, b"{}", complete=True, written=True)
    return judge(evidence, is_refold=lambda _: True, classify=classify, now=lambda: NOW)


@given(st.integers(100, 999), st.dictionaries(st.sampled_from(["retry-after", "date"]), st.text()))
def test_a_status_has_one_verdict(status: int, headers: dict[str, str]) -> None:
    verdict = verdict_of(status, headers)
    assert (verdict.kind is None) == (verdict.delivery is Delivery.ACCEPTED) == (200 <= status < 300)
    assert verdict.delivery is not Delivery.NOT_SENT
    if status >= 600 or status in (408, 500, 502, 504) or status < 200:
        assert verdict.delivery is Delivery.AMBIGUOUS
    if 300 <= status < 500 and status != 408:
        assert verdict.delivery is Delivery.REJECTED


@pytest.mark.parametrize("override", [*Delivery, None])
def test_a_classifier_decides(override: Delivery | None) -> None:
    verdict = verdict_of(429, {"retry-after": "3"}, lambda status, headers: override)
    assert verdict.delivery is (override or Delivery.REJECTED)
    assert verdict.retry_after == 3.0
    kinds = {Delivery.ACCEPTED: None, Delivery.AMBIGUOUS: FailureKind.SERVER, Delivery.NOT_SENT: FailureKind.CONNECT}
    assert verdict.kind is kinds.get(verdict.delivery, FailureKind.THROTTLED)


@given(st.lists(st.sampled_from(Delivery)))
def test_over_several_attempts(deliveries: list[Delivery]) -> None:
    verdict = over_attempts(deliveries)
    if Delivery.ACCEPTED in deliveries:
        assert verdict is Delivery.ACCEPTED
    elif Delivery.AMBIGUOUS in deliveries:
        assert verdict is Delivery.AMBIGUOUS
    else:
        assert verdict is (deliveries[-1] if deliveries else Delivery.NOT_SENT)


NEVER = {
    FailureKind.TLS,
    FailureKind.REJECTED,
    FailureKind.NOT_REFOLD,
    FailureKind.LOCAL,
    FailureKind.PROXY,
    FailureKind.CONFLICT,
    None,
}
UNKNOWN = {FailureKind.SERVER, FailureKind.NO_RESPONSE}


@given(
    kind=st.sampled_from(FailureKind) | st.none(),
    attempt=st.integers(1, 5),
    dropped=st.booleans(),
    opt_in=st.booleans(),
    remaining=st.none() | st.floats(0, 100),
    retry_after=st.none() | st.floats(0, 200),
    chance=st.floats(0, 1, exclude_max=True),
)
def test_a_policy_decides_the_delay_by_verdict_and_attempt(
    kind: FailureKind | None,
    attempt: int,
    dropped: bool,
    opt_in: bool,
    remaining: float | None,
    retry_after: float | None,
    chance: float,
) -> None:
    policy = RetryPolicy(max_attempts=4, retry_ambiguous=opt_in)
    verdict = Verdict(Delivery.REJECTED, kind, retry_after)
    delay = policy.decide(verdict, attempt=attempt, is_deduplicated=dropped, remaining=remaining, random=lambda: chance)
    if (
        kind in NEVER
        or attempt >= 4
        or (kind in UNKNOWN and not dropped and not opt_in)
        or (kind is FailureKind.TOO_EARLY and attempt > 1)
    ):
        assert delay is None
    elif delay is None:
        assert (retry_after or 0) > 60 or remaining is not None
    else:
        assert remaining is None or delay < remaining
        if retry_after is not None:
            assert retry_after <= delay <= retry_after * 1.1, "never shortened, and lengthened by up to a tenth"
        else:
            base = 1.0 if kind is FailureKind.THROTTLED else 0.5
            assert delay == chance * min(8.0, base * 2 ** (attempt - 1))


def test_retries_are_limited_to_a_share_of_calls() -> None:
    now = 0.0
    budget = RetryBudget(clock=lambda: now)
    assert sum(budget.try_spend() for _ in range(100)) == 10, "one a second over the window, for a lone caller"
    for _ in range(100):
        budget.record_call()
    assert sum(budget.try_spend() for _ in range(100)) == 20, "and a fifth of the calls"
    now = 12.0
    assert sum(budget.try_spend() for _ in range(100)) == 10, "what is past is forgotten"


@given(st.lists(st.tuples(st.floats(0, 3), st.booleans()), max_size=200))
def test_the_budget_never_exceeds_its_share(steps: list[tuple[float, bool]]) -> None:
    now = 0.0
    budget = RetryBudget(clock=lambda: now)
    calls: list[float] = []
    spent: list[float] = []
    for passed, is_call in steps:
        now += passed
        if is_call:
            budget.record_call()
            calls.append(now)
        elif budget.try_spend():
            spent.append(now)
        recent = sum(at > now - 10 for at in spent)
        assert recent <= 10 + 0.2 * sum(at > now - 12 for at in calls)
