"""The values a user passes and receives: triggers, receipts and the settings of the policies."""

from __future__ import annotations

import enum
import math
import os
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, Literal, cast

from attrs import field, frozen
from attrs.validators import in_

from .filling import become, new
from .sent import Sent as Sent
from .sent import make_sent

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


class _TriggerFields:
    __slots__ = (
        "__weakref__", "config_id", "context", "event", "files", "first_sent_at", "idempotency_key", "instance_tag",
        "linked_account_id", "ordering_key", "payload", "slug",
    )  # fmt: skip


@frozen(init=False)
class Trigger(_TriggerFields):
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

    def __init__(
        self,
        slug: str,
        event: str,
        payload: Mapping[str, Any] | None = None,
        *,
        linked_account_id: str | None = None,
        config_id: str | None = None,
        instance_tag: str | None = None,
        idempotency_key: str | None = None,
        ordering_key: str | None = None,
        first_sent_at: datetime | None = None,
        files: Mapping[str, FileTypes] | None = None,
        context: Any = None,
    ) -> None:
        made: Any = self  # to be filled, although it is frozen
        if type(self) is not Trigger:  # a class of the caller's own, which may have other slots
            made.__attrs_init__(
                slug, event, payload, linked_account_id=linked_account_id, config_id=config_id,
                instance_tag=instance_tag, idempotency_key=idempotency_key, ordering_key=ordering_key,
                first_sent_at=first_sent_at, files=files, context=context,
            )  # fmt: skip
            return
        become(made, _TriggerFields)
        made.slug = slug
        made.event = event
        made.payload = payload
        made.linked_account_id = linked_account_id
        made.config_id = config_id
        made.instance_tag = instance_tag
        made.idempotency_key = idempotency_key
        made.ordering_key = ordering_key
        made.first_sent_at = first_sent_at
        made.files = files
        made.context = context
        made.__class__ = Trigger

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


class _ReceiptFields:
    __slots__ = (
        "__weakref__", "after_ambiguous", "attempts", "duplicate", "elapsed", "idempotency_key", "message", "raw",
        "request_id", "sent", "status_code",
    )  # fmt: skip


@frozen(kw_only=True)
class Receipt(_ReceiptFields):
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


# The slot of `sent` keeps the facts that a `Sent` is made of until somebody asks, since few do. So the descriptor of
# the slot, which attrs has made, is kept here, and a property stands in its place.
_kept_sent: Any = Receipt.__dict__["sent"]


def _sent_of(receipt: Receipt) -> Sent | None:
    """Return what was sent."""
    kept = _kept_sent.__get__(receipt)
    if type(kept) is tuple:
        kept = make_sent(kept)
        _kept_sent.__set__(receipt, kept)
    return cast("Sent | None", kept)


type.__setattr__(Receipt, "sent", property(_sent_of, _kept_sent.__set__))


def make_receipt(
    message: str,
    status_code: int,
    request_id: str | None,
    attempts: int,
    elapsed: float,
    idempotency_key: str | None,
    after_ambiguous: bool,
    raw: bytes,
    duplicate: bool,
    sent: tuple[Any, ...] | None,
) -> Receipt:
    """Make a receipt, as `Receipt(...)` does, in a fifth of the time: each call makes one.

    :param sent: what `make_sent` takes. Of that a `Sent` is made once somebody looks.
    """
    made = new(_ReceiptFields)
    made.message = message
    made.status_code = status_code
    made.request_id = request_id
    made.attempts = attempts
    made.elapsed = elapsed
    made.idempotency_key = idempotency_key
    made.after_ambiguous = after_ambiguous
    made.raw = raw
    made.duplicate = duplicate
    made.sent = sent
    made.__class__ = Receipt
    receipt: Receipt = made  # not by `cast`, which is a call
    return receipt


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
