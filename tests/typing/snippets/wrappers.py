"""A wrapper around the client: every name that its annotations need is public."""

from __future__ import annotations

from collections.abc import Callable
from typing import Unpack, assert_type

from refold_async import BatchResult, Outcome, Receipt, RefoldClient, RetryPolicy, Sending
from refold_async.types import (
    UNSET,
    BeforeSend,
    CallOptions,
    Classifier,
    ClientOptions,
    Credential,
    Hook,
    JSONEncoder,
    TimeoutTypes,
    TriggerSource,
    Unset,
)


class Deals:
    def __init__(self, key: Credential, **options: Unpack[ClientOptions]) -> None:
        self.client = RefoldClient(api_key=key, **options)

    def watched(self, watchers: list[Hook], **options: Unpack[ClientOptions]) -> RefoldClient:
        options["hooks"] = watchers
        return self.client.with_options(**options)

    async def won(self, name: str, **options: Unpack[CallOptions]) -> Receipt:
        return await self.client.trigger("pipedrive", "Deal Created", {"deal_name": name}, **options)

    async def lost(self, name: str, retry: RetryPolicy | None | Unset = UNSET, timeout: TimeoutTypes = 3.0) -> Receipt:
        return await self.client.trigger("pipedrive", "Deal Lost", {"deal_name": name}, retry=retry, timeout=timeout)

    async def all(self, source: TriggerSource, on_outcome: Callable[[Outcome], object]) -> BatchResult:
        return await self.client.trigger_many(source, on_outcome=on_outcome)


def fence(sending: Sending) -> None:
    assert_type(sending.attempt, int)


async def slow_fence(sending: Sending) -> None:
    fence(sending)


FENCES: list[BeforeSend] = [fence, slow_fence]


def policy(classify: Classifier, encode: JSONEncoder) -> RefoldClient:
    return RefoldClient(retry=RetryPolicy(classify=classify), json_encoder=encode, before_send=fence)
