"""A connection pool for httpx, on asyncio and uvloop."""

from ._pool import PoolState
from ._transport import PoolTransport

__all__ = ["PoolState", "PoolTransport"]
