"""Faults: what can be made to go wrong, and when."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Self

from attrs import field, frozen

from ._answers import FIRED, Errors, Reply
from ._exchange import Exchange
from .ledger import Entry

_FAILED = Errors().make(500, "Request failed with status code 500", spelled="v1")
_AMBIGUOUS_STATUSES = frozenset({408, 500, 502, 503, 504})


# What a fault does with a request. `exchange.reply` is there where the request took effect.


def _reset(fault: Fault, exchange: Exchange) -> None:
    exchange.break_off(reset=True)


def _close(fault: Fault, exchange: Exchange) -> None:
    exchange.break_off()


def _raw(fault: Fault, exchange: Exchange) -> None:
    exchange.send_raw(fault.body or b"")
    exchange.break_off()


def _truncate(fault: Fault, exchange: Exchange) -> None:
    exchange.send_half(exchange.reply or FIRED)
    exchange.break_off()


def _stall(fault: Fault, exchange: Exchange) -> None:
    exchange.stall(fault.seconds)


def _stall_body(fault: Fault, exchange: Exchange) -> None:
    exchange.send_half(exchange.reply or FIRED)
    exchange.stall(fault.seconds)


def _answer(fault: Fault, exchange: Exchange) -> None:
    default = (exchange.reply or FIRED).body if fault.status < 300 else _FAILED.body
    exchange.answer(Reply(fault.status, default if fault.body is None else fault.body, fault.headers))


def _close_idle(fault: Fault, exchange: Exchange) -> None:
    exchange.answer(exchange.reply or FIRED, then_close=True)


def _refuse_next(fault: Fault, exchange: Exchange) -> None:
    exchange.answer(exchange.reply or FIRED, then_close=True)
    exchange.refuse_connections(fault.seconds or 0.0)


@frozen(kw_only=True)
class Fault:
    """One way for a request to end badly. Make one with the class methods; their docstrings describe what happens.

    :ivar name: as the ledger shows it.
    :ivar fires: whether the event fires nevertheless (a request that fires nothing: whether it takes effect).
    :ivar hides_truth: whether the client cannot know that from what it sees.
    :ivar action: what is done with the request once it has fired, or has not.
    """

    name: str
    fires: bool
    hides_truth: bool
    action: Callable[[Fault, Exchange], None] = field(repr=False)
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = field(default=None, repr=False)
    seconds: float | None = None
    claims_key: bool = False

    @classmethod
    def reset_before_reading(cls) -> Self:
        """Reset the connection (RST) when the request's first bytes come; nothing of it is looked at."""
        return cls(name="reset_before_reading", fires=False, hides_truth=True, action=_reset)

    @classmethod
    def close_before_firing(cls) -> Self:
        """Read the request, then close the connection without firing or answering."""
        return cls(name="close_before_firing", fires=False, hides_truth=True, action=_close)

    @classmethod
    def reset_after_firing(cls) -> Self:
        """Fire, then reset the connection (RST) without an answer."""
        return cls(name="reset_after_firing", fires=True, hides_truth=True, action=_reset)

    @classmethod
    def close_after_firing(cls) -> Self:
        """Fire, then close the connection without an answer."""
        return cls(name="close_after_firing", fires=True, hides_truth=True, action=_close)

    @classmethod
    def truncate_head(cls) -> Self:
        """Fire, send half a status line, and close."""
        return cls(name="truncate_head", fires=True, hides_truth=True, action=_raw, body=b"HTTP/1.1 20")

    @classmethod
    def truncate_body(cls) -> Self:
        """Fire, send the head of a 200 and half of its body, and close. The status tells the truth."""
        return cls(name="truncate_body", fires=True, hides_truth=False, action=_truncate)

    @classmethod
    def stall_head(cls, *, fires: bool = True, seconds: float | None = None) -> Self:
        """Read the request and never answer; close after `seconds`, or leave that to the client."""
        name = "stall_head" if fires else "stall_head_before_firing"
        return cls(name=name, fires=fires, hides_truth=True, action=_stall, seconds=seconds)

    @classmethod
    def stall_body(cls, *, seconds: float | None = None) -> Self:
        """Fire, send the head of a 200 and half of its body, then nothing. The status tells the truth."""
        return cls(name="stall_body", fires=True, hides_truth=False, action=_stall_body, seconds=seconds)

    @classmethod
    def garbage(cls, *, fires: bool = True) -> Self:
        """Answer with bytes that are not HTTP, and close."""
        return cls(
            name="garbage", fires=fires, hides_truth=True, action=_raw, body=b"\x16\x03\x01 this is not HTTP\r\n\r\n"
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
        """Answer with any status. Fires on 2xx unless `fires=` says otherwise."""
        given = tuple((headers or {}).items())
        asks_to_wait = any(key.lower() == "retry-after" for key, _ in given)
        hides = status in _AMBIGUOUS_STATUSES and not (status == 503 and asks_to_wait)
        return cls(
            name=name or f"status_{status}",
            fires=200 <= status < 300 if fires is None else fires,
            hides_truth=hides,
            action=_answer,
            status=status,
            headers=given,
            body=body,
        )

    @classmethod
    def html_502(cls, *, fires: bool = False) -> Self:
        """Answer like a proxy without a backend: 502 and a page of HTML."""
        page = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
        return cls.answer(502, body=page, headers={"Content-Type": "text/html"}, fires=fires, name="html_502")

    @classmethod
    def throttle(cls, retry_after: str = "1") -> Self:
        """Answer 429 with a `Retry-After`."""
        return cls.answer(429, headers={"Retry-After": retry_after}, name="throttle")

    @classmethod
    def not_json(cls, body: bytes = b"<html>hello</html>", *, headers: Mapping[str, str] | None = None) -> Self:
        """Fire, and answer 200 with a complete body that is not a JSON object."""
        return cls(
            name="not_json",
            fires=True,
            hides_truth=True,
            action=_answer,
            headers=tuple((headers or {"Content-Type": "text/html"}).items()),
            body=body,
        )

    @classmethod
    def corrupt_gzip(cls) -> Self:
        """Fire, and answer 200 with a body labelled as gzip that is not."""
        return cls.not_json(b"\x1f\x8b\x08corrupt", headers={"Content-Encoding": "gzip"})

    @classmethod
    def close_idle(cls) -> Self:
        """Answer as usual, then close the connection without announcing it: the race of keep-alive."""
        return cls(name="close_idle", fires=True, hides_truth=False, action=_close_idle)

    @classmethod
    def refuse_next(cls, seconds: float = 0.05) -> Self:
        """Answer as usual, then close every idle connection and refuse new ones for `seconds`."""
        return cls(name="refuse_next", fires=True, hides_truth=False, action=_refuse_next, seconds=seconds)

    @classmethod
    def claim_then_500(cls) -> Self:
        """Claim the idempotency key, answer 500 and do not fire: a repeat is then dropped, so nothing ever fires."""
        return cls(name="claim_then_500", fires=False, hides_truth=True, action=_answer, status=500, claims_key=True)


FaultPlan = Callable[[Entry], Fault | None]
"""Returns the fault for a request, given its entry in the ledger; None for no fault."""


MIX = (
    Fault.reset_after_firing(),
    Fault.close_before_firing(),
    Fault.truncate_body(),
    Fault.html_502(),
    Fault.answer(503, headers={"Retry-After": "0.2"}),
    Fault.throttle("0.3"),
    Fault.close_idle(),
    Fault.answer(500, fires=True),
)
"""What `SeededFaults.mixed` draws from, each as likely as the others."""


class SeededFaults:
    """Draws faults at random, the same ones for the same seed and order of arrival.

    :param seed: of the random numbers.
    :param chances: how likely each fault is, for each request; together at most 1.
    :raises ValueError: for chances below 0, or of more than 1 in all.
    """

    def __init__(self, seed: int, chances: Mapping[Fault, float]) -> None:
        if any(chance < 0 for chance in chances.values()) or sum(chances.values()) > 1.000001:
            raise ValueError("chances of faults are not below 0, nor more than 1 in all")
        self._random = random.Random(seed)
        self._chances = dict(chances)

    @classmethod
    def mixed(cls, seed: int, chance: float) -> Self:
        """Make a plan in which `chance` of all requests (0.05 is one in twenty) meet one of `MIX`.

        :raises ValueError: for a chance below 0 or above 1.
        """
        return cls(seed, dict.fromkeys(MIX, chance / len(MIX)))

    def __call__(self, entry: Entry) -> Fault | None:
        drawn = self._random.random()
        for fault, chance in self._chances.items():
            drawn -= chance
            if drawn < 0:
                return fault
        return None
