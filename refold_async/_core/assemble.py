"""Putting a client's sender together. Imported with the first client, and not by `import refold_async`."""

from __future__ import annotations

import ssl

import httpx

from .._api.address import Address
from .._types.errors import ConfigurationError
from .._types.values import RateLimit, Unset
from .._wire.connect import Target
from .._wire.session import plan_session
from .._wire.tls import check_verify
from ..limiters import PriorityRateLimiter, RateLimiter, default_name, limiter_for_client
from ..policies.budget import RetryBudget
from .credentials import Credential
from .lifecycle import OTHER_CONNECTIONS, Lifecycle
from .sender import Sender
from .settings import Settings


def make_sender(
    credential: Credential,
    address: Address,
    settings: Settings,
    *,
    rate_limit: RateLimit | RateLimiter | None | Unset,
    max_connections: int | None,
    verify: bool | str | ssl.SSLContext,
    proxy: str | httpx.URL | httpx.Proxy | None | Unset,
    http_client: httpx.AsyncClient | None,
    transport: httpx.AsyncBaseTransport | str | None,
) -> Sender:
    """Make the sender of a client from its arguments.

    :raises ConfigurationError: for settings that make no sense together; the message names the cure.
    """
    if max_connections is not None and (
        isinstance(max_connections, bool) or not isinstance(max_connections, int) or max_connections < 1
    ):
        raise ConfigurationError(f"max_connections must be 1 or more, or None for no limit, not {max_connections!r}")
    plan = plan_session(
        http_client=http_client,
        transport=transport,
        verify=check_verify(verify),
        proxy=None if isinstance(proxy, Unset) else proxy,
        trust_env=isinstance(proxy, Unset),
        base_url=address.url,
        # Reads have connections of their own, so that neither they nor the triggers wait for the others.
        max_connections=None if max_connections is None else max_connections + OTHER_CONNECTIONS,
    )
    life = Lifecycle(plan, Target(address.name.strip("[]"), address.port, address.is_tls), max_connections)
    life.probe = _probe
    limiter, is_ours = _choose_limiter(rate_limit, credential, address, settings)
    if is_ours and limiter is not None:
        life.close_with(limiter)
    return Sender(life, credential, address, settings, limiter, RetryBudget())


async def _probe(sender: Sender, linked_account_id: str | None) -> bool | None:
    from .plain import probe  # what only few clients need

    return await probe(sender, linked_account_id)


def make_view(sender: Sender, settings: Settings, *, has_own_limiter: bool) -> Sender:
    """Make the sender of a view.

    :param has_own_limiter: whether its settings name a rate limit of its own.
    """
    limiter = sender.limiter
    if has_own_limiter:
        limiter, _ = _choose_limiter(settings.rate_limit, sender.credential, sender.address, settings)
    return sender.with_settings(settings, limiter)


def _choose_limiter(
    setting: RateLimit | RateLimiter | None | Unset, credential: Credential, address: Address, settings: Settings
) -> tuple[PriorityRateLimiter | None, bool]:
    """Return the limiter, and whether the client has to close it.

    A shared limit is named after a digest of base URL and key, which may be shown; that needs a constant key.
    """
    key = credential.constant_key
    return limiter_for_client(
        setting,
        longest_pause=None if settings.retry is None else settings.retry.max_retry_after,
        default_name=None if key is None else default_name(str(address.url), key),
    )
