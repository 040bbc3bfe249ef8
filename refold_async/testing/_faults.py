"""What can be made to go wrong, and when."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Self

from attrs import field, frozen

from .ledger import Entry

_AMBIGUOUS_STATUSES = frozenset({408, 500, 502, 503, 504})


@frozen(kw_only=True)
class Fault:
    """One way for a request to end badly. Make one with the class methods, each of which says what happens.

    :ivar name: as the ledger shows it.
    :ivar fires: whether the event fires all the same.
    :ivar hides_truth: whether the client cannot know that from what it sees.
    """

    name: str
    fires: bool
    hides_truth: bool
    action: str
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = field(default=None, repr=False)
    seconds: float | None = None
    claims_key: bool = False

    @classmethod
    def reset_before_reading(cls) -> Self:
        """Reset the connection (RST) when the request's first bytes come; nothing of it is looked at."""
        return cls(name="reset_before_reading", fires=False, hides_truth=True, action="reset")

    @classmethod
    def close_before_firing(cls) -> Self:
        """Read the request, then close the connection without firing or answering."""
        return cls(name="close_before_firing", fires=False, hides_truth=True, action="close")

    @classmethod
    def reset_after_firing(cls) -> Self:
        """Fire, then reset the connection (RST) without an answer."""
        return cls(name="reset_after_firing", fires=True, hides_truth=True, action="reset")

    @classmethod
    def close_after_firing(cls) -> Self:
        """Fire, then close the connection without an answer."""
        return cls(name="close_after_firing", fires=True, hides_truth=True, action="close")

    @classmethod
    def truncate_head(cls) -> Self:
        """Fire, send half a status line, and close."""
        return cls(name="truncate_head", fires=True, hides_truth=True, action="raw", body=b"HTTP/1.1 20")

    @classmethod
    def truncate_body(cls) -> Self:
        """Fire, send the head of a 200 and half of its body, and close. The status tells the truth."""
        return cls(name="truncate_body", fires=True, hides_truth=False, action="truncate")

    @classmethod
    def stall_head(cls, *, fires: bool = True, seconds: float | None = None) -> Self:
        """Read the request and never answer; close after `seconds`, or leave that to the client."""
        name = "stall_head" if fires else "stall_head_before_firing"
        return cls(name=name, fires=fires, hides_truth=True, action="stall", seconds=seconds)

    @classmethod
    def stall_body(cls, *, seconds: float | None = None) -> Self:
        """Fire, send the head of a 200 and half of its body, then nothing. The status tells the truth."""
        return cls(name="stall_body", fires=True, hides_truth=False, action="stall_body", seconds=seconds)

    @classmethod
    def garbage(cls, *, fires: bool = True) -> Self:
        """Answer with bytes that are no HTTP, and close."""
        return cls(
            name="garbage", fires=fires, hides_truth=True, action="raw", body=b"\x16\x03\x01 this is no HTTP\r\n\r\n"
        )

    @classmethod
    def answer(
        cls,
        status: int,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        fires: bool | None = None,
        name: str | None = None,
    ) -> Self:
        """Answer with a status of one's choice. It fires for 2xx, and not otherwise, unless told."""
        given = tuple((headers or {}).items())
        asks_to_wait = any(key.lower() == "retry-after" for key, _ in given)
        hides = status in _AMBIGUOUS_STATUSES and not (status == 503 and asks_to_wait)
        return cls(
            name=name or f"status_{status}",
            fires=200 <= status < 300 if fires is None else fires,
            hides_truth=hides,
            action="answer",
            status=status,
            headers=given,
            body=body,
        )

    @classmethod
    def html_502(cls, *, fires: bool = False) -> Self:
        """Answer as a proxy does whose backend is away: 502 and a page of HTML."""
        page = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
        return cls.answer(502, body=page, headers={"Content-Type": "text/html"}, fires=fires, name="html_502")

    @classmethod
    def throttle(cls, retry_after: str = "1") -> Self:
        """Answer 429 with a `Retry-After`."""
        return cls.answer(429, headers={"Retry-After": retry_after}, name="throttle")

    @classmethod
    def not_json(cls, body: bytes = b"<html>hello</html>", *, headers: Mapping[str, str] | None = None) -> Self:
        """Fire, and answer 200 with a complete body that is no JSON object."""
        return cls(
            name="not_json",
            fires=True,
            hides_truth=True,
            action="answer",
            headers=tuple((headers or {"Content-Type": "text/html"}).items()),
            body=body,
        )

    @classmethod
    def corrupt_gzip(cls) -> Self:
        """Fire, and answer 200 with a body that says it is gzip and is not."""
        return cls.not_json(b"\x1f\x8b\x08corrupt", headers={"Content-Encoding": "gzip"})

    @classmethod
    def close_idle(cls) -> Self:
        """Answer as usual, then close the connection without having said so: the race of keep-alive."""
        return cls(name="close_idle", fires=True, hides_truth=False, action="close_idle")

    @classmethod
    def refuse_next(cls, seconds: float = 0.05) -> Self:
        """Answer as usual, then close every idle connection and refuse new ones for `seconds`."""
        return cls(name="refuse_next", fires=True, hides_truth=False, action="refuse", seconds=seconds)

    @classmethod
    def claim_then_500(cls) -> Self:
        """Claim the idempotency key, answer 500 and do not fire: a repeat is then dropped, so nothing ever fires."""
        return cls(name="claim_then_500", fires=False, hides_truth=True, action="answer", status=500, claims_key=True)


FaultPlan = Callable[[Entry], Fault | None]
"""Says what goes wrong with a request, given what the ledger knows of it; None for nothing."""


class SeededFaults:
    """Draws faults by chance, the same ones for the same seed and order of arrival.

    :param seed: of the random numbers.
    :param chances: how likely each fault is, for each request; together at most 1.
    """

    def __init__(self, seed: int, chances: Mapping[Fault, float]) -> None:
        if sum(chances.values()) > 1:
            raise ValueError("the chances of the faults add up to more than 1")
        self._random = random.Random(seed)
        self._chances = dict(chances)

    def __call__(self, entry: Entry) -> Fault | None:
        drawn = self._random.random()
        for fault, chance in self._chances.items():
            drawn -= chance
            if drawn < 0:
                return fault
        return None
