"""Rate limiters: the protocol, and the one that lives in this process."""

from ._adapt import adapt, is_limiter
from ._protocol import Grant, PriorityRateLimiter, RateLimiter
from .memory import MemoryRateLimiter

__all__ = ["Grant", "MemoryRateLimiter", "PriorityRateLimiter", "RateLimiter", "adapt", "is_limiter"]
