"""From records to triggers, whatever the records were cut from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from attrs import define, field, frozen

from ... import InvalidTriggerError, Trigger
from .json_values import kind_of
from .lines import Lines
from .names import oddity, padding
from .problems import RowError


@define(eq=False)  # not frozen, as there are millions: a frozen one takes three times as long to make
class Record:
    """One row of the input, not yet looked at.

    :ivar line: its first line, counted from 1; `last` is its last one.
    :ivar end: where it ends in the input, in bytes.
    :ivar digest: of what it holds: 8 bytes; empty where nobody compares rows.
    :ivar content: a line of JSON, or the cells of a line of CSV.
    :ivar problem: what is wrong with it as a record.
    :ivar is_skippable: whether it is known where the next row begins.
    """

    line: int
    last: int
    end: int
    digest: bytes
    content: Any = field(repr=False)
    problem: str | None = None
    is_skippable: bool = True


@define  # not frozen, for the same reason
class Origin:
    """Where a trigger comes from; its `context`. Nobody changes it.

    :ivar resend_until: POSIX seconds up to which a row that may have fired can be sent again with its key.
    """

    line: int
    end: int
    digest: bytes
    resend_until: float | None = None


def origin_of(trigger: Trigger) -> Origin:
    """Return where in the input a trigger comes from."""
    origin = trigger.context
    assert isinstance(origin, Origin)
    return origin


@frozen(kw_only=True)
class Constants:
    """What rows that do not say so themselves have in common."""

    slug: str | None = None
    event: str | None = None
    instance_tag: str | None = None


class Format(Protocol):
    """How an input is cut into records, and what those mean.

    :ivar beginning: what an input should begin with, in words.
    :ivar with_digests: whether records have digests, which take time.
    :ivar repeated_headers: how many lines were left out because they repeat the header.
    """

    beginning: str
    with_digests: bool
    repeated_headers: int

    def records(self, lines: Lines) -> Iterator[Record]:
        """Yield the records, blank ones left out.

        :raises InputError: where the whole input makes no sense.
        """

    def fields(self, record: Record) -> dict[str, Any]:
        """Return the fields of a record, by the names of `COLUMNS`.

        :raises RowError: where that cannot be done.
        """


def build(
    form: Format,
    record: Record,
    constants: Constants,
    *,
    key: str | None = None,
    resend_until: float | None = None,
) -> Trigger:
    """Make the trigger of a record. What only the library's own checks see, is not seen here.

    :param key: the idempotency key that the row was sent with before.
    :raises RowError: where the record has no trigger in it.
    """
    if record.problem is not None:
        raise RowError(record.problem)
    fields = form.fields(record)
    get = fields.get
    payload = get("payload")
    if payload is not None and not isinstance(payload, dict):
        raise RowError(f'payload is {kind_of(payload)}; it must be an object, as in {{"deal": 1}}')
    origin = Origin(record.line, record.end, record.digest, resend_until)
    if len(fields) == 1 and payload is not None and constants.slug is not None and constants.event is not None:
        return Trigger(
            constants.slug,
            constants.event,
            payload,
            instance_tag=constants.instance_tag,
            idempotency_key=key,
            context=origin,
        )
    return Trigger(
        _required(fields, "slug", constants.slug),
        _required(fields, "event", constants.event),
        payload,
        linked_account_id=_name(fields, "linked_account_id"),
        config_id=_name(fields, "config_id"),
        instance_tag=constants.instance_tag,
        idempotency_key=key if key is not None else get("idempotency_key"),
        ordering_key=_name(fields, "ordering_key", padding),  # two that look alike would go out of order
        context=origin,
    )


def checked(trigger: Trigger, check: Callable[[Trigger], object]) -> Trigger:
    """Return the trigger if it passes the checks that are made before sending.

    :raises RowError: with what they say.
    """
    try:
        check(trigger)
    except InvalidTriggerError as error:
        message = str(error).replace("(linked_account_id=)", "(linked_account_id, or --linked-account-id for all rows)")
        raise RowError(message) from error
    return trigger


def _required(fields: dict[str, Any], name: str, constant: str | None) -> str:
    value = _name(fields, name)
    if value is not None:
        return value
    if constant is None:
        raise RowError(f"there is no {name}: fill it in, or give one for all rows with --{name}")
    return constant


def _name(fields: dict[str, Any], name: str, find_oddity: Callable[[str], str | None] = oddity) -> str | None:
    """Return what names something, and make sure that it is spelled as it looks: Refold would look for another name.

    :raises RowError: where it is not.
    """
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise RowError(f"{name} is {kind_of(value)}; it must be a string")
    odd = find_oddity(value)
    if odd is not None:
        raise RowError(f"{name} {odd}: {value[:80]!r}. Correct it, as names must match to the letter")
    return value


def digest_of(content: bytes) -> bytes:
    """Return 8 bytes that hardly any other content has."""
    return hashlib.blake2b(content, digest_size=8).digest()
