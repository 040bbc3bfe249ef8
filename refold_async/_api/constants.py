"""The facts of Refold's HTTP API that do not depend on a call."""

from __future__ import annotations

from .._version import __version__

EVENT_PATH = "/api/v2/public/event/"
DEFAULT_BASE_URL = "https://app.refold.ai"
USER_AGENT = f"refold-async/{__version__}"
DEFAULT_KEY_HEADER = "Idempotency-Key"
"""The header that carries a given idempotency key where no window is declared."""

COMMON_HEADERS = (
    (b"Accept", b"application/json"),
    (b"Accept-Encoding", b"gzip, deflate"),
    (b"User-Agent", USER_AGENT.encode()),
)
"""Sent with each request, unless `extra_headers` has one of the same name."""

ALL_APPS = "trigger"
"""In place of a slug, in the path of a call that fires an event for every application."""

JSON_TYPE = (b"Content-Type", b"application/json")
