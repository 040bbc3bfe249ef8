"""Fire events from a script that is not async. Settings come from the environment: REFOLD_API_KEY."""

from __future__ import annotations

import asyncio

from refold_portal import RefoldPortal

from refold_async import RefoldClient, Trigger

ROWS = [{"deal_name": "Acme"}, {"deal_name": "Globex"}, {"deal_name": "Initech"}]


async def fire_all(rows: list[dict[str, str]]) -> int:
    """Fire an event for each row; returns how many were accepted."""
    async with RefoldClient() as client:
        result = await client.trigger_many(Trigger("pipedrive", "Deal Created", row) for row in rows)
    return len(result.accepted)


def one_event_loop_for_everything() -> None:
    """Run the async part as a whole: for a script that has all its events at hand."""
    print("accepted:", asyncio.run(fire_all(ROWS)))


def one_call_at_a_time() -> None:
    """Keep a client open in a thread: for code that fires an event here and there."""
    with RefoldPortal() as refold:
        for row in ROWS:
            print(row["deal_name"], refold.trigger("pipedrive", "Deal Created", row).delivery)


if __name__ == "__main__":
    one_event_loop_for_everything()
    one_call_at_a_time()
