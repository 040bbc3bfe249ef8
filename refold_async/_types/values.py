"""The values a user passes and receives: triggers, receipts and the settings of the policies."""

from __future__ import annotations

import enum
import json
import math
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, cast

from attrs import field, frozen
from attrs.validators import in_

FileTypes = bytes | str | os.PathLike[str] | tuple[str, bytes] | tuple[str, bytes, str | None]
"""A file to send: its bytes, `(name, bytes)`, `(name, bytes, content type)`, or its path."""


class Unset(enum.Enum):
    """The type of `UNSET`, the one sentinel that means "as the client has it"."""

    UNSET = "as the client has it"
    """The only member."""

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset.UNSET


class Delivery(enum.StrEnum):
    """What is known about an event after its call ended."""

    ACCEPTED = "accepted"
    """Refold took the event: its workflows are queued."""
    REJECTED = "rejected"
    """Refold answered no: the event did not fire."""
    NOT_SENT = "not_sent"
    """The request never left in full: the event cannot have fired."""
    AMBIGUOUS = "ambiguous"
    """The request left, and nothing that came back says whether the event fired."""


@frozen
class Trigger:
    """One event to send.

    It is checked when it is sent, not when it is built, so that a bad row in a batch becomes that row's outcome.

    :param slug: the application's slug, such as `pipedrive`.
    :param event: the event's name, spelled as in the Refold console (case matters).
    :param payload: a JSON object, or None to leave it out. It is not shown in the `repr`.
    :param linked_account_id: the end customer; None means the client's own.
    :param config_id: the customer's configuration; None means the client's own, if the account is the client's too.
    :param instance_tag: a label for the execution in Refold.
    :param idempotency_key: the key that Refold may use to drop repeats; see `Idempotency`.
    :param ordering_key: triggers that share one are sent one at a time by the batch calls, in input order.
    :param files: files to send along, by the names they get in the payload: bytes, `(name, bytes)`,
        `(name, bytes, content type)`, or a path, which is read once. All of it may be 3 MB.
    :param context: any value of yours. It comes back on the outcome and is never sent.
    """

    slug: str
    event: str
    payload: Mapping[str, Any] | None = field(default=None, repr=False)
    linked_account_id: str | None = field(default=None, kw_only=True)
    config_id: str | None = field(default=None, kw_only=True)
    instance_tag: str | None = field(default=None, kw_only=True)
    idempotency_key: str | None = field(default=None, kw_only=True)
    ordering_key: str | None = field(default=None, kw_only=True)
    first_sent_at: datetime | None = field(default=None, kw_only=True)
    files: Mapping[str, FileTypes] | None = field(default=None, kw_only=True, repr=False)
    context: Any = field(default=None, kw_only=True, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return it as a dict, without the context and the files.

        Its payload is the one given: JSON, if it can be sent.
        """
        return {
            "slug": self.slug,
            "event": self.event,
            "payload": None if self.payload is None else dict(self.payload),
            "linked_account_id": self.linked_account_id,
            "config_id": self.config_id,
            "instance_tag": self.instance_tag,
            "idempotency_key": self.idempotency_key,
            "ordering_key": self.ordering_key,
            "first_sent_at": None if self.first_sent_at is None else self.first_sent_at.isoformat(),
        }


class Sent:
    """What was sent, as it left: enough to look for the event, or to send it again as it was. Immutable.

    One is made for each call, so its fields are put together when they are asked for.

    :param call: the call's id, or its first part.
    :param number: the second part of it; None if `call` is all of it.
    :param first_sent: POSIX seconds of the first write.
    :param body: the body's bytes, of which a digest is made when it is asked for; or that digest.
    """

    __slots__ = ("_facts",)

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
        object.__setattr__(self, "_facts", facts)

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
            object.__setattr__(self, "_facts", (*self._facts[:11], digest))  # the body is not needed any more
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


@frozen(kw_only=True, slots=False)  # which makes it in half the time: each call makes one
class Receipt:
    """Refold's acceptance of one event: it is queued, and its workflows run afterwards.

    :param message: Refold's own words; empty where the body broke off.
    :param status_code: the HTTP status, 2xx.
    :param request_id: Refold's id for the request, where it gave one.
    :param attempts: how many times the request was tried.
    :param elapsed: seconds from the call to the end of the response, waits included.
    :param idempotency_key: the key that went with every attempt, if any.
    :param after_ambiguous: an earlier attempt may have fired too, so this success may be a dropped repeat.
    :param raw: the body as it was received, decompressed; what arrived of it where it broke off.
    :param duplicate: Refold answered that it has seen the key before, which is declared to mean a dropped repeat.
    :param sent: what was sent.
    """

    message: str
    status_code: int
    request_id: str | None = None
    attempts: int = 1
    elapsed: float = 0.0
    idempotency_key: str | None = None
    after_ambiguous: bool = False
    raw: bytes = field(default=b"", repr=False)
    duplicate: bool = False
    sent: Sent | None = field(default=None, eq=False)

    @property
    def delivery(self) -> Delivery:
        """Always `Delivery.ACCEPTED`."""
        return Delivery.ACCEPTED

    def to_dict(self) -> dict[str, Any]:
        """Return it as values that `json.dumps` takes, without the body."""
        return {
            "delivery": self.delivery.value,
            "message": self.message,
            "status_code": self.status_code,
            "request_id": self.request_id,
            "attempts": self.attempts,
            "elapsed": self.elapsed,
            "idempotency_key": self.idempotency_key,
            "after_ambiguous": self.after_ambiguous,
            "duplicate": self.duplicate,
            "sent": None if self.sent is None else self.sent.to_dict(),
        }


def _positive(_: object, attribute: Any, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"{attribute.name} must be a number above 0, not {value!r}")


@frozen
class RateLimit:
    """How fast Refold may be called.

    :param rate: events per second, sustained. Refold documents 20; a self-hosted install takes about 8 a replica.
    :param burst: how many may go at one instant on top of the steady rate. Refold documents 5.
    """

    rate: float = field(default=20.0, validator=_positive)
    burst: int = field(default=5, validator=_positive)

    @burst.validator
    def _whole(self, _: object, value: int) -> None:
        if not isinstance(value, int):
            raise TypeError(f"burst must be a whole number, not {value!r}")


@frozen
class Response:
    """Refold's answer to a request that is no trigger.

    :param status_code: the HTTP status, 2xx.
    :param raw: the body as it was received, decompressed.
    :param headers: the header fields, names in lower case; those of one name are joined by commas.
    :param request_id: Refold's id for the request, where it gave one.
    :param attempts: how many times the request was tried.
    :param elapsed: seconds from the call to the end of the response, waits included.
    """

    status_code: int
    raw: bytes = field(default=b"", repr=False)
    headers: Mapping[str, str] = field(factory=dict, repr=False)
    request_id: str | None = None
    attempts: int = 1
    elapsed: float = 0.0

    def json(self) -> Any:
        """Return the JSON document in the body; None where there is no body."""
        return json.loads(self.raw) if self.raw else None


RESERVED_HEADERS: Final = frozenset(
    {
        "accept-encoding", "authorization", "config_id", "connection", "content-encoding", "content-length",
        "content-type", "cookie", "expect", "host", "instance_tag", "keep-alive", "linked_account_id",
        "proxy-authorization", "proxy-connection", "slug", "te", "trailer", "transfer-encoding", "upgrade",
        "x-api-key",
    }
)  # fmt: skip
"""Header names the library sets itself, or that would change what the request means."""

_TOKEN_CHARACTERS: Final = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def is_header_name(name: object) -> bool:
    """Whether `name` is a token, as RFC 9110 §5.1 asks of a field name."""
    return isinstance(name, str) and bool(name) and _TOKEN_CHARACTERS.issuperset(name)


@frozen
class Idempotency:
    """A declaration that the customer's workflows drop repeats of one key within a window.

    Refold drops repeats only if the workflow's trigger is set up for it, so declare it only then. The key is in one of
    two places: a header or a field of the payload.

    :param header: the name of the request header the workflow reads the key from.
    :param payload_field: the field of the payload it reads the key from.
    :param window: seconds for which it remembers a key. Refold's default is 5 minutes. All attempts of one trigger
        end within 0.8 of it.
    :param conflict: what a 409 means for a key that Refold may have seen before: "ambiguous", or "duplicate" where it
        is known to mean a repeat that was dropped. Refold's documentation allows both that and "still in progress".
    """

    header: str | None = None
    payload_field: str | None = None
    window: float = field(default=300.0, validator=_positive)
    conflict: Literal["ambiguous", "duplicate"] = field(default="ambiguous", validator=in_(("ambiguous", "duplicate")))

    def __attrs_post_init__(self) -> None:
        if (self.header is None) == (self.payload_field is None):
            raise ValueError(
                "Idempotency takes either header= or payload_field=: where does the workflow read the key?"
            )
        if self.header is not None:
            if not is_header_name(self.header):
                raise ValueError(f"Idempotency(header=...) must be the name of an HTTP header, not {self.header!r}")
            if self.header.lower() in RESERVED_HEADERS:
                raise ValueError(f"Idempotency(header={self.header!r}): that header already has another meaning")
        elif not isinstance(self.payload_field, str) or not self.payload_field:
            raise ValueError("Idempotency(payload_field=...) must be the name of a field of the payload")

    @property
    def retry_within(self) -> float:
        """Seconds, from the first attempt, in which every attempt must have ended."""
        return 0.8 * self.window


JSONEncoder = Callable[[object], bytes]
"""Turns the request's body, a dict, into the bytes of a JSON document."""
