"""The code that `test_deals.py` tests."""

from __future__ import annotations

from refold_async import Delivery, RefoldClient, RefoldError


async def won(client: RefoldClient, deal_name: str) -> str:
    """Tell Refold of a deal; returns what to show to the user."""
    try:
        await client.trigger("pipedrive", "Deal Created", {"deal_name": deal_name})
    except RefoldError as error:
        return "please check in Refold" if error.delivery is Delivery.AMBIGUOUS else "please try again"
    return "done"
