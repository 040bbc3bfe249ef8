"""refold_async on its own wire."""

# For cost: as it comes, but for the limiter, which is off because the others have none, and for `max_connections`,
# raised from 50 to what everybody has. The timeout is per attempt, as everywhere; the deadline stays at its default.
#
# For delivery: its defaults; the explicit opt-in to sending again what may have fired, which is what others call
# retrying a POST; and a declared idempotency window, against a server that drops repeats of the key.
#
# For pacing: exactly as it comes.

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from refold_async import Delivery, Idempotency, RateLimit, RefoldError, RetryPolicy

from ..contender import Contender, Fire, Setup, Target
from ._refold import firing


def _open(target: Target) -> AbstractAsyncContextManager[Fire]:
    return firing(target, max_connections=target.connections, timeout=target.timeout)


def _retrying_ambiguous(target: Target) -> AbstractAsyncContextManager[Fire]:
    policy = RetryPolicy(retry_ambiguous=True)
    return firing(target, max_connections=target.connections, timeout=target.timeout, retry=policy)


def _declared(target: Target) -> AbstractAsyncContextManager[Fire]:
    window = Idempotency(header="Idempotency-Key")
    return firing(target, max_connections=target.connections, timeout=target.timeout, idempotency=window)


def _paced(target: Target) -> AbstractAsyncContextManager[Fire]:
    return firing(target, rate_limit=RateLimit())


def says_uncertain(error: BaseException) -> bool:
    """Whether an error says that the event may have fired."""
    return isinstance(error, RefoldError) and error.delivery is Delivery.AMBIGUOUS


CONTENDER = Contender(
    name="refold_async",
    imports="refold_async",
    distributions=("refold-async", "httpx", "httptools"),
    open=_open,
    setups=(
        Setup(name="defaults", open=_open, uncertain=says_uncertain),
        Setup(name="retry_ambiguous=True", open=_retrying_ambiguous, uncertain=says_uncertain),
        Setup(name="declared window, server drops repeats", open=_declared, uncertain=says_uncertain, deduped=True),
    ),
    paced=(Setup(name="defaults", open=_paced, uncertain=says_uncertain),),
)
