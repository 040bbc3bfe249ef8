"""How much of an answer is put up with, so that no server can fill the memory or keep a call for ever."""

from __future__ import annotations

MAX_HEAD_BYTES = 65_536
"""All heads of one answer together, the informational ones included."""

MAX_RESPONSE_BYTES = 1_000_000
"""More of a response to a trigger than this is not read: Refold's own are under a kilobyte."""

MAX_HEADERS = 256
"""Header lines in one head, or in the trailers."""

MAX_INFORMATIONAL = 32
"""1xx answers before the final one."""

MAX_CHUNK_OVERHEAD = 16_384
"""Bytes of chunk extensions and trailers in one body, beside what plain chunk framing needs."""

PLAIN_CHUNK_OVERHEAD = 24
"""Bytes that a chunk's framing may take: 16 hexadecimal digits, two line ends, and what leading zeros add."""

READ_BUFFER_BYTES = 65_536
"""What is read from a socket at once. One buffer serves all connections of an event loop."""

BODY_HIGH_WATER = 262_144
"""Bytes of a body that wait for their reader before the socket is no longer read."""

KEEPALIVE_EXPIRY = 4.0
"""Seconds an idle connection is kept. Servers commonly close theirs at 5, and a request must not meet that close."""
