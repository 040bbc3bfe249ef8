"""Rate limiters: the protocol, and the one that lives in this process."""

from ._protocol import RateLimiter
from .memory import MemoryRateLimiter

__all__ = ["MemoryRateLimiter", "RateLimiter"]
