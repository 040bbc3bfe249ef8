"""From lines to records, and from records to triggers: JSON Lines and CSV."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, Protocol

from attrs import field, frozen

from .. import InvalidTriggerError, Trigger
from ._input import LONGEST_LINE, Lines

COLUMNS = ("slug", "event", "payload", "linked_account_id", "config_id", "ordering_key", "idempotency_key")


class RowError(Exception):
    """A row cannot be sent as it is; the message says why, and names the cure."""


class NotJSONError(RowError):
    """There is something else where JSON should be."""


@frozen
class Record:
    """One row of the input, not yet looked at.

    :ivar line: its first line, counted from 1.
    :ivar end: where it ends in the input, in bytes.
    :ivar digest: of what it holds: 8 bytes.
    :ivar content: a line of JSON, or the cells of a line of CSV.
    :ivar problem: what is wrong with it as a record.
    """

    line: int
    end: int
    digest: bytes
    content: Any = field(repr=False)
    problem: str | None = None


@frozen
class Origin:
    """Where a trigger comes from; its `context`.

    :ivar resend_until: POSIX seconds up to which a row that may have fired can be sent again with its key.
    """

    line: int
    end: int
    digest: bytes
    resend_until: float | None = None


@frozen(kw_only=True)
class Constants:
    """What rows that do not say so themselves have in common."""

    slug: str | None = None
    event: str | None = None
    instance_tag: str | None = None


class Format(Protocol):
    """How an input is cut into records, and what those mean.

    :ivar beginning: what an input should begin with, in words.
    """

    beginning: str

    def records(self, lines: Lines) -> Iterator[Record]:
        """Give the records, blank lines left out.

        :raises InputError: where the whole input makes no sense.
        """

    def fields(self, record: Record) -> dict[str, Any]:
        """Take a record apart, into the fields of `COLUMNS`.

        :raises RowError: where that cannot be done.
        """


def build(
    form: Format, record: Record, constants: Constants, *, key: str | None = None, resend_until: float | None = None
) -> Trigger:
    """Make the trigger of a record. What only the library's own checks see, is not seen here.

    :param key: the idempotency key that the row was sent with before.
    :raises RowError: where the record has no trigger in it.
    """
    if record.problem is not None:
        raise RowError(record.problem)
    fields = form.fields(record)
    payload = fields.get("payload")
    if payload is not None and not isinstance(payload, dict):
        raise RowError(f'payload is {kind_of(payload)}; it must be an object, as in {{"deal": 1}}')
    ordering_key = fields.get("ordering_key")
    if ordering_key is not None and not isinstance(ordering_key, str):
        raise RowError(f"ordering_key is {kind_of(ordering_key)}; it must be a string")
    return Trigger(
        _text(fields, "slug", constants.slug),
        _text(fields, "event", constants.event),
        payload,
        linked_account_id=fields.get("linked_account_id"),
        config_id=fields.get("config_id"),
        instance_tag=constants.instance_tag,
        idempotency_key=key if key is not None else fields.get("idempotency_key"),
        ordering_key=ordering_key,
        context=Origin(record.line, record.end, record.digest, resend_until),
    )


def checked(trigger: Trigger, check: Callable[[Trigger], object]) -> Trigger:
    """Put a trigger through the checks that are made before sending.

    :raises RowError: with what they say.
    """
    try:
        check(trigger)
    except InvalidTriggerError as error:
        raise RowError(str(error)) from error
    return trigger


def _text(fields: dict[str, Any], name: str, constant: str | None) -> str:
    value = fields.get(name)
    if value is None:
        value = constant
    if value is None:
        raise RowError(f"there is no {name}: fill it in, or give one for all rows with --{name}")
    if not isinstance(value, str):
        raise RowError(f"{name} is {kind_of(value)}; it must be a string")
    return value


def kind_of(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    names = {str: "a string", int: "a number", float: "a number", list: "an array", dict: "an object"}
    return names.get(type(value), "null")


def digest_of(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=8).digest()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RowError(f"the key {twice!r} is there twice, and only one of them could be sent: remove the other")
    return found


def _no_number(name: str) -> NoReturn:
    raise RowError(f"{name} is no JSON: write null, or leave it out")


_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_number)


def parse_json(text: str) -> Any:
    """Parse JSON as strictly as the standard has it.

    :raises RowError: naming the place of what is not JSON.
    """
    try:
        return _decoder.decode(text)
    except json.JSONDecodeError as error:
        raise NotJSONError(f"not JSON: {error.msg} at column {error.colno}") from error
    except (ValueError, RecursionError) as error:
        raise NotJSONError(f"not JSON that can be read: {error}") from error


def decode(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise RowError(f"not UTF-8, at byte {error.start + 1} of it: save the file as UTF-8") from error


def too_long() -> str:
    return (
        f"longer than {LONGEST_LINE // 1024 // 1024} MiB, and Refold takes 3 MB: "
        "is there one JSON object a line, or one row of CSV?"
    )
