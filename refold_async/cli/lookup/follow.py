"""Following one event to the executions that it started."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from ... import ExecutionDetail, Poll, Receipt, RefoldClient, RefoldError
from ..console.words import in_options, with_cause


async def follow(
    client: RefoldClient,
    receipt: Receipt,
    timeout: float,
    *,
    found: Callable[[ExecutionDetail], object],
    report: Callable[[str], object],
) -> None:
    """Wait until the executions that show the event's token have ended.

    The event has fired whatever happens here, so that nothing is raised.

    :param timeout: seconds for all of it.
    :param found: is told each execution that has ended.
    :param report: is told why something could not be found or waited for.
    """
    ends = anyio.current_time() + timeout
    poll = Poll()
    delay = poll.first
    account = None if receipt.sent is None else receipt.sent.linked_account_id
    known: set[str] = set()
    try:
        while True:
            seen = await client.reconcile(receipt, within=timeout)
            new = [each for each in seen.executions if each.id not in known]
            # An event may start several: those that were not listed at first may be once the others have ended.
            if known and not new:
                return
            for execution in new:
                known.add(execution.id)
                left = max(0.001, ends - anyio.current_time())
                found(await client.executions.wait(execution.id, timeout=left, linked_account_id=account))
            if not new:
                if anyio.current_time() + delay >= ends:
                    report(f"No execution was found in time: {seen.why}.")
                    return
                await anyio.sleep(delay)
                delay = min(poll.cap, delay * poll.factor)
    except RefoldError as error:
        report(in_options(with_cause(error)))
