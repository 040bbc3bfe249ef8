"""Dropping repeats of a key, as a Refold workflow can be set to."""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen, validators

from .ledger import Entry


@frozen
class Dedupe:
    """Where the key is, and for how long it is remembered. Exactly one of the two places is needed.

    :param header: the header that holds the key.
    :param payload_field: the field of the payload that holds the key.
    :param window: seconds.
    :param repeat_status: what a repeat is answered with: 200, as if it had fired, or 409. Refold's documentation does
        not say which.
    :raises ValueError: where neither or both places are named.
    """

    header: str | None = None
    payload_field: str | None = None
    window: float = field(default=300.0)
    repeat_status: Literal[200, 409] = field(default=200, validator=validators.in_((200, 409)))

    def __attrs_post_init__(self) -> None:
        if (self.header is None) == (self.payload_field is None):
            raise ValueError("Dedupe needs one of header= and payload_field=")

    def key_of(self, entry: Entry) -> str | None:
        """Return the request's key, None where it has none."""
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
        self.repeat_status = dedupe.repeat_status

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
