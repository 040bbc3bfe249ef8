"""Single calls: what they return, what they raise, and what may be passed."""

from __future__ import annotations

from typing import assert_type

import httpx

from refold_async import APIError, Delivery, Idempotency, RateLimit, Receipt, RefoldClient, RefoldError, RetryPolicy


async def key_from_a_vault() -> str:
    return "tk_1"


async def call(client: RefoldClient) -> str:
    try:
        receipt = await client.trigger("pipedrive", "Deal Created", {"deal_name": "Acme"}, timeout=3, deadline=None)
    except APIError as error:
        assert_type(error.status_code, int)
        assert_type(error.request_id, str | None)
        return error.body
    except RefoldError as error:
        assert_type(error.delivery, Delivery | None)
        assert_type(error.retry_after, float | None)
        assert_type(error.safe_to_resend, bool)
        return str(error)
    assert_type(receipt, Receipt)
    assert_type(receipt.delivery, Delivery)
    return receipt.message


async def settings() -> None:
    RefoldClient(api_key="tk_1", linked_account_id="acct_1", rate_limit=None, retry=None, deadline=None)
    RefoldClient(api_key=lambda: "tk_1", timeout=httpx.Timeout(5.0), rate_limit=RateLimit(rate=10, burst=2))
    RefoldClient(session_token=key_from_a_vault, retry=RetryPolicy(), extra_headers={"X-Team": "sales"})
    RefoldClient(idempotency=Idempotency(header="Idempotency-Key", window=300.0), http_client=httpx.AsyncClient())
    async with RefoldClient(api_key="tk_1") as client:
        view = client.for_account("acct_9").with_options(retry=None, deadline=5.0)
        assert_type(view, RefoldClient)
        await call(view)
