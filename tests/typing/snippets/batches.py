"""Batches: sources of every kind, and outcomes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import assert_type

from refold_async import (
    AcceptedOutcome,
    BatchResult,
    Delivery,
    FailedOutcome,
    Outcome,
    Receipt,
    RefoldClient,
    RefoldError,
    Trigger,
)


async def rows() -> AsyncIterator[Trigger]:
    yield Trigger("pipedrive", "Deal Created", {"n": 1}, context=object())


async def many(client: RefoldClient) -> int:
    result = await client.trigger_many([Trigger("pipedrive", "Deal Created")], max_concurrency=5)
    assert_type(result, BatchResult)
    await client.trigger_many(Trigger("pipedrive", "Deal Created", {"n": n}) for n in range(3))
    await client.trigger_many(rows())
    result.raise_for_failures()
    assert_type(result[0], Outcome)
    assert_type(result[1:], BatchResult)
    return len(result.accepted) + len(result.ambiguous)


async def stream(client: RefoldClient) -> list[str]:
    messages = []
    async with client.trigger_stream(rows(), max_concurrency=20) as outcomes:
        async for outcome in outcomes:
            assert_type(outcome, Outcome)
            messages.append(message(outcome))
    return messages


def message(outcome: Outcome) -> str:
    assert_type(outcome.delivery, Delivery)
    match outcome:
        case AcceptedOutcome(receipt=receipt):
            return receipt.message
        case FailedOutcome(error=error):
            return str(error)


def narrowed_by_the_error(outcome: Outcome) -> str:
    if outcome.error is None:
        assert_type(outcome.receipt, Receipt)
        return outcome.receipt.message
    assert_type(outcome.error, RefoldError)
    return str(outcome.error)


def narrowed_by_ok(outcome: Outcome) -> str:
    if outcome.ok is True:
        return outcome.receipt.message
    return str(outcome.error.args)


def parts(result: BatchResult) -> list[str]:
    return [
        *(outcome.receipt.message for outcome in result.accepted),
        *(str(outcome.error.delivery) for outcome in (*result.failed, *result.ambiguous)),
    ]
