"""What was sent: enough to look for the event, or to send it again as it was."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, cast

from .filling import new, set_field


class _SentFields:
    __slots__ = ("_facts",)


class Sent(_SentFields):
    """What was sent, as it left: enough to look for the event, or to send it again as it was. Immutable.

    One is made for each call, so its fields are put together when they are asked for.

    :param call: the call's id, or its first part.
    :param number: the second part of it; None if `call` is all of it.
    :param first_sent: POSIX seconds of the first write.
    :param body: the body's bytes, of which a digest is made when it is asked for; or that digest.
    """

    __slots__ = ()

    _facts: tuple[Any, ...]

    def __init__(
        self,
        call: str,
        number: int | None,
        host: str,
        slug: str,
        event: str,
        linked_account_id: str | None,
        config_id: str | None,
        instance_tag: str | None,
        idempotency_key: str | None,
        token: str | None,
        first_sent: float,
        body: bytes | str,
    ) -> None:
        facts = (  # one tuple of plain values, which the garbage collector stops to look at
            call, number, host, slug, event, linked_account_id, config_id, instance_tag, idempotency_key, token,
            first_sent, body,
        )  # fmt: skip
        set_field(self, "_facts", facts)

    @property
    def call_id(self) -> str:
        """The call's id, as logs, errors and hook events name it."""
        call, number = self._facts[:2]
        return str(call) if number is None else f"{call}-{number}"

    @property
    def host(self) -> str:
        """The host it was sent to, with the port where that is not the usual one."""
        return cast("str", self._facts[2])

    @property
    def slug(self) -> str:
        """The application's slug."""
        return cast("str", self._facts[3])

    @property
    def event(self) -> str:
        """The event's name."""
        return cast("str", self._facts[4])

    @property
    def linked_account_id(self) -> str | None:
        """The end customer, as resolved; None with a session token that names it."""
        return cast("str | None", self._facts[5])

    @property
    def config_id(self) -> str | None:
        """That customer's configuration, as resolved."""
        return cast("str | None", self._facts[6])

    @property
    def instance_tag(self) -> str | None:
        """The label, as sent."""
        return cast("str | None", self._facts[7])

    @property
    def idempotency_key(self) -> str | None:
        """The key, as sent."""
        return cast("str | None", self._facts[8])

    @property
    def token(self) -> str | None:
        """The unguessable token that the client minted for this trigger, where it was told to tag."""
        return cast("str | None", self._facts[9])

    @property
    def first_sent_at(self) -> datetime:
        """When the first byte of the first attempt was written, in UTC."""
        return datetime.fromtimestamp(self._facts[10], UTC)

    @property
    def body_sha256(self) -> str:
        """SHA-256 of the body, in hexadecimal."""
        digest = self._facts[11]
        if isinstance(digest, bytes):
            from hashlib import sha256

            digest = sha256(digest).hexdigest()
            set_field(self, "_facts", (*self._facts[:11], digest))  # the body is not needed any more
        return cast("str", digest)

    def to_dict(self) -> dict[str, Any]:
        """Return it as values that `json.dumps` takes."""
        return {
            "call_id": self.call_id,
            **{name: getattr(self, name) for name in _SENT_TEXTS},
            "first_sent_at": self.first_sent_at.isoformat(),
            "body_sha256": self.body_sha256,
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Sent:
        """Make one of what `to_dict` returned."""
        first_sent = datetime.fromisoformat(fields["first_sent_at"]).timestamp()
        texts = {name: fields[name] for name in _SENT_TEXTS}
        return cls(fields["call_id"], None, **texts, first_sent=first_sent, body=fields["body_sha256"])

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Sent is immutable: {name} cannot be set")

    def __eq__(self, other: object) -> bool:
        return self.to_dict() == other.to_dict() if isinstance(other, Sent) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.call_id, self.host, self.body_sha256))

    def __reduce__(self) -> tuple[Any, ...]:
        return Sent.from_dict, (self.to_dict(),)

    def __repr__(self) -> str:
        return f"<Sent {self.event!r} for {self.slug!r} to {self.host}, call {self.call_id}>"


_SENT_TEXTS: Final = (
    "host", "slug", "event", "linked_account_id", "config_id", "instance_tag", "idempotency_key", "token",
)  # fmt: skip


def make_sent(facts: tuple[Any, ...]) -> Sent:
    """Make one of what its constructor takes, in order."""
    made = new(_SentFields)
    made._facts = facts  # noqa: SLF001 - of this module
    made.__class__ = Sent
    sent: Sent = made
    return sent
