"""An outcome is accepted, with a receipt, or failed, with an error."""

from __future__ import annotations

import copy
import pickle

import attrs
import pytest

import refold_async
from refold_async import AcceptedOutcome, Delivery, FailedOutcome, Receipt, RefoldError, Trigger

TRIGGER = Trigger("slack", "Deal Won")
ACCEPTED = AcceptedOutcome(0, TRIGGER, Delivery.ACCEPTED, receipt=Receipt(message="fired", status_code=200))
FAILED = FailedOutcome(1, TRIGGER, Delivery.AMBIGUOUS, error=RefoldError("lost", delivery=Delivery.AMBIGUOUS))


def test_an_outcome_is_made_of_the_kind_that_fits_its_verdict() -> None:
    outcome = vars(refold_async)["Outcome"]  # a union to the type checker, which cannot be called
    assert outcome(0, TRIGGER, Delivery.ACCEPTED, ACCEPTED.receipt) == ACCEPTED
    assert outcome(index=1, trigger=TRIGGER, delivery=Delivery.AMBIGUOUS, error=FAILED.error) == FAILED
    for verdict in set(Delivery) - {Delivery.ACCEPTED}:
        assert type(outcome(2, TRIGGER, verdict, error=FAILED.error)) is FailedOutcome
    assert outcome.__name__ == outcome.__qualname__ == "Outcome"
    with pytest.raises(TypeError):
        outcome()


@pytest.mark.parametrize("outcome", [ACCEPTED, FAILED])
def test_an_outcome_is_an_outcome_of_either_kind(outcome: AcceptedOutcome | FailedOutcome) -> None:
    assert isinstance(outcome, refold_async.Outcome)
    assert outcome.ok is isinstance(outcome, AcceptedOutcome)
    assert (outcome.receipt is None) is not outcome.ok
    assert (outcome.error is None) is outcome.ok


def test_an_outcome_can_be_copied_changed_and_pickled() -> None:
    assert copy.deepcopy(ACCEPTED) == pickle.loads(pickle.dumps(ACCEPTED)) == ACCEPTED
    assert attrs.evolve(ACCEPTED, index=7) == AcceptedOutcome(7, TRIGGER, Delivery.ACCEPTED, receipt=ACCEPTED.receipt)
    back = pickle.loads(pickle.dumps(FAILED))
    assert (type(back), back.delivery, str(back.error)) == (FailedOutcome, Delivery.AMBIGUOUS, "lost")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        vars(type(ACCEPTED)).get("__setattr__", type(ACCEPTED).__setattr__)(ACCEPTED, "index", 3)
    assert not hasattr(ACCEPTED, "__dict__")
