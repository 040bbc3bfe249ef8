"""Dropping repeats of a key, as a Refold workflow can be set to."""

from __future__ import annotations

from attrs import field, frozen

from .ledger import Entry


@frozen
class Dedupe:
    """Where the key is, and for how long it is remembered. Give one of the two places.

    :param header: the header that holds the key.
    :param payload_field: the field of the payload that does.
    :param window: seconds.
    """

    header: str | None = None
    payload_field: str | None = None
    window: float = field(default=300.0)

    def key_of(self, entry: Entry) -> str | None:
        """Give the request's key, None where it has none."""
        if self.header is not None:
            return entry.header(self.header)
        payload = entry.payload
        value = payload.get(self.payload_field) if isinstance(payload, dict) else None
        return None if value is None else str(value)


class ClaimedKeys:
    """The keys seen within the window."""

    def __init__(self, dedupe: Dedupe) -> None:
        self._dedupe = dedupe
        self._claimed: dict[str, float] = {}

    def claim(self, entry: Entry, now: float) -> bool:
        """Claim the request's key; False if it is claimed already. A request without a key is always new."""
        key = self._dedupe.key_of(entry)
        if key is None:
            return True
        since = self._claimed.get(key)
        if since is not None and now - since < self._dedupe.window:
            return False
        self._claimed[key] = now
        return True
