"""Values that the library fills by itself, rather than by their constructor, are the same all the same."""

from __future__ import annotations

import copy
import pickle
import weakref
from typing import Any

import attrs
import pytest

from refold_async import AcceptedOutcome, Delivery, Outcome, Receipt, Sending, Trigger
from refold_async._types.outcome import accepted_outcome
from refold_async._types.sent import Sent, make_sent
from refold_async._types.values import make_receipt
from refold_async.testing import MockRefold

pytestmark = pytest.mark.anyio

FACTS = ("abc", 7, "host", "slack", "E", "acct", None, None, "key", None, 1_700_000_000.5, b"{}")
TRIGGER = Trigger("slack", "E", {"a": 1}, context="mine")
FILLED = make_receipt("ok", 200, "r-1", 2, 0.5, "key", True, b"{}", False, FACTS)
MADE = Receipt(
    message="ok", status_code=200, request_id="r-1", attempts=2, elapsed=0.5, idempotency_key="key",
    after_ambiguous=True, raw=b"{}", duplicate=False, sent=Sent(*FACTS),
)  # fmt: skip


class Mine(Trigger):
    def __init__(self, number: int) -> None:
        super().__init__("slack", "E", {"number": number}, ordering_key="k")


@attrs.frozen
class Noted(Trigger):
    note: str = attrs.field(default="", kw_only=True)


PAIRS: list[Any] = [
    (FILLED, MADE),
    (accepted_outcome(3, TRIGGER, FILLED), AcceptedOutcome(3, TRIGGER, Delivery.ACCEPTED, MADE, None, 2)),
    (make_sent(FACTS), Sent(*FACTS)),
]


@pytest.mark.parametrize(("filled", "made"), PAIRS)
@pytest.mark.parametrize(
    "through", [lambda value: value, copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))]
)
def test_a_filled_value_is_as_its_constructor_makes_it(filled: Any, made: Any, through: Any) -> None:
    twin = through(filled)
    assert type(twin) is type(made)
    assert twin == made
    assert repr(twin) == repr(made)
    assert twin.to_dict() == made.to_dict()
    with pytest.raises(AttributeError):
        twin.attempts = 9


@pytest.mark.parametrize("value", [FILLED, MADE, TRIGGER, PAIRS[1][0]])
def test_fields_and_evolve_see_each_field(value: Any) -> None:
    for field in attrs.fields(type(value)):
        assert getattr(attrs.evolve(value), field.name) == getattr(value, field.name)
    assert attrs.evolve(value) == value
    assert weakref.ref(value)() is value


def test_what_was_sent_is_the_same_object_at_each_look() -> None:
    receipt = make_receipt("ok", 200, None, 1, 0.5, None, False, b"{}", False, FACTS)
    assert receipt.sent is receipt.sent
    assert isinstance(receipt.sent, Sent)
    assert attrs.evolve(receipt, sent=None).sent is None
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        receipt.sent = None  # type: ignore[misc]


def test_a_trigger_of_a_class_of_the_callers_own_is_a_trigger() -> None:
    mine, noted = Mine(3), Noted("slack", "E", note="mine")
    assert type(mine) is Mine
    assert (mine.payload, mine.ordering_key, mine.files) == ({"number": 3}, "k", None)
    assert (noted.slug, noted.note, noted.context) == ("slack", "mine", None)
    assert pickle.loads(pickle.dumps(noted)) == noted
    assert Trigger("slack", "E") != Noted("slack", "E")
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'event'"):
        Trigger("slack")  # type: ignore[call-arg]


async def test_each_event_and_each_sending_has_all_its_fields(server: MockRefold) -> None:
    seen: list[Any] = []
    async with server.client(hooks=[seen.append], before_send=seen.append) as client:
        receipt = await client.trigger("slack", "E", {"a": 1}, idempotency_key="k", instance_tag="t")
        outcomes = await client.trigger_many([TRIGGER])
    kinds = [type(each).__name__ for each in seen]
    assert kinds == ["AttemptStarted", "Sending", "AttemptFinished", "CallFinished"] * 2
    for each in seen:
        fields = attrs.asdict(each, recurse=False)
        assert each.__dict__ == fields, "neither more nor fewer"
        assert attrs.evolve(each).__dict__ == fields
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            each.call_id = "x"
    assert seen[3].receipt is receipt
    assert isinstance(seen[1], Sending)
    assert (seen[1].idempotency_key, seen[1].instance_tag) == ("k", "t")
    outcome: Outcome = outcomes[0]
    assert outcome.receipt is not None
    assert outcome.sent is outcome.receipt.sent
    assert outcome.trigger is TRIGGER
