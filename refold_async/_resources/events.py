"""`client.events`: which events there are."""

from __future__ import annotations

import builtins
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Unpack

from .._api.plain import PlainRequest, Repeat, segment
from .._core.plain import send_plain
from .._types.errors import (
    APIError,
    BadRequestError,
    InvalidRequestError,
    NotFoundError,
    RefoldError,
    UnexpectedResponseError,
)
from .._types.values import Delivery
from .channel import parse
from .definition import EventDefinition
from .organisation import OrganisationOptions, need_api_key

if TYPE_CHECKING:
    from .._core.sender import Sender
    from .._types.response import Response

PATH = "/api/v2/public/application/event"

_UNKNOWN = ("INVALID_EVENT_ID", "INVALID_EVENT", "RESOURCE_NOT_FOUND")


class Events:
    """The definitions of events. They are the organisation's, so these calls need an API key, and no linked account.

    It holds no state of its own. Its calls are paced apart from triggers. The errors of those that only read have no
    verdict (`delivery` is None).

    :param sender: the client's.
    """

    def __init__(self, sender: Any) -> None:
        self._sender: Sender = sender

    async def list(self, **options: Unpack[OrganisationOptions]) -> list[EventDefinition]:
        """Return all events. Refold lists them in one piece.

        :raises ConfigurationError: for a client with a session token.
        :raises UnexpectedResponseError: for a success that is not a list.
        """
        return _listed(await self._send(PlainRequest("GET", PATH, is_of_account=False), options))

    async def get(self, event_id: str, **options: Unpack[OrganisationOptions]) -> EventDefinition:
        """Return one event.

        :raises APIError: where there is none of this id: `NotFoundError` or, of older versions, `BadRequestError`.
        :raises InvalidRequestError: for an id that no path can hold.
        """
        name = segment(event_id, "event_id")
        response = await self._send(PlainRequest("GET", f"{PATH}/{name}", is_of_account=False), options)
        document = parse(response)
        if not isinstance(document, dict):
            raise _unexpected(response, "a JSON object", None)
        return EventDefinition.of(document, event_id)

    async def find(self, name: str, **options: Unpack[OrganisationOptions]) -> EventDefinition | None:
        """Return the event of this name, spelled exactly so; None where there is none."""
        wanted = _check_name(name)
        return _named(await self.list(**options), wanted)

    async def create(
        self, name: str, sample: Mapping[str, Any], json_schema: Any = None, **options: Unpack[OrganisationOptions]
    ) -> EventDefinition:
        """Define an event, and return it.

        It is never sent twice once any of it was written. Where no response came, the list of events decides: if it has
        the name by then, and no other sample, that event is returned. If not, the error is raised as it was, for Refold
        may still be at it.

        :param name: as triggers are to name it.
        :param sample: a payload, from which Refold reads the fields.
        :param json_schema: a JSON Schema for the payload.
        :raises BadRequestError: for a name that exists already.
        :raises InvalidRequestError: for a blank name, or a sample that is no JSON object.
        :raises RefoldError: its `delivery` tells whether the event may have been created.
        """
        document = _definition(name, sample, json_schema)
        request = PlainRequest("POST", PATH, document=document, repeat=Repeat.UNWRITTEN, is_of_account=False)
        try:
            response = await self._send(request, options)
        except RefoldError as error:
            if error.delivery is not Delivery.AMBIGUOUS:
                raise
            found = await self._look_for(name, options)
            if found is None or found.sample not in (None, json.loads(document["response"])):
                raise  # it is not there, or it is another one of this name
            return found
        return await self._changed(response, options, name=name)

    async def update(
        self,
        event_id: str,
        name: str,
        sample: Mapping[str, Any],
        json_schema: Any = None,
        **options: Unpack[OrganisationOptions],
    ) -> EventDefinition:
        """Replace an event's definition, all of it, and return it. Doing so twice is the same as once.

        :param name: its name from now on; workflows that use the event keep using it, triggers have to name it so.
        :param sample: a payload, from which Refold reads the fields.
        :param json_schema: a JSON Schema for the payload; None for none.
        :raises APIError: where there is none of this id: `NotFoundError` or, of older versions, `BadRequestError`.
        :raises InvalidRequestError: for an id that no path can hold, a blank name, or a sample that is no JSON object.
        """
        path = f"{PATH}/{segment(event_id, 'event_id')}"
        document = _definition(name, sample, json_schema)
        request = PlainRequest("PUT", path, document=document, repeat=Repeat.FREELY, is_of_account=False)
        return await self._changed(await self._send(request, options), options, name=name, event_id=event_id)

    async def delete(self, event_id: str, **options: Unpack[OrganisationOptions]) -> None:
        """Delete an event. Refold does not document what becomes of workflows that use it.

        Where an attempt got no response, and the next one is told that there is no such event, it was deleted.

        :raises APIError: where there is none of this id: `NotFoundError` or, of older versions, `BadRequestError`.
        :raises InvalidRequestError: for an id that no path can hold.
        """
        path = f"{PATH}/{segment(event_id, 'event_id')}"
        try:
            await self._send(PlainRequest("DELETE", path, repeat=Repeat.FREELY, is_of_account=False), options)
        except APIError as error:
            # Ambiguous over all attempts: one before this answer may have deleted it, and was not only turned away.
            if error.delivery is not Delivery.AMBIGUOUS or not _is_unknown(error):
                raise

    async def _send(self, request: PlainRequest, options: OrganisationOptions) -> Response:
        need_api_key(self._sender, "events")
        return await send_plain(self._sender, request, **options)

    async def _look_for(self, name: str, options: OrganisationOptions) -> EventDefinition | None:
        """Return the event of this name; None where there is none, or that could not be seen."""
        try:
            return _named(await self.list(**options), name)
        except RefoldError:
            return None

    async def _changed(
        self, response: Response, options: OrganisationOptions, *, name: str, event_id: str | None = None
    ) -> EventDefinition:
        """Return the event that was made or changed: the answer is the whole list, or, for all we know, that event."""
        document = parse(response)
        events = [EventDefinition.of(document)] if isinstance(document, dict) else _readable(document)
        found = _with_id(events, event_id) if event_id is not None else _named(events, name)
        if found is None:
            found = await (self._look_for(name, options) if event_id is None else self._reread(event_id, options))
        if found is None:
            raise _unexpected(response, f"a list with the event {name!r}", Delivery.ACCEPTED)
        return found

    async def _reread(self, event_id: str, options: OrganisationOptions) -> EventDefinition | None:
        try:
            return await self.get(event_id, **options)
        except RefoldError:
            return None


def _definition(name: str, sample: Mapping[str, Any], json_schema: Any) -> dict[str, Any]:
    if not isinstance(sample, Mapping):
        raise InvalidRequestError(f"sample must be a mapping, the payload of one event, not {type(sample).__name__}")
    try:
        text = json.dumps(dict(sample), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequestError(f"sample cannot be sent: {error}") from None
    document = {"name": _check_name(name), "response": text}
    return document if json_schema is None else {**document, "json_schema": json_schema}


def _check_name(name: object) -> str:
    if not isinstance(name, str) or not name.strip():
        raise InvalidRequestError(f"name must be an event's name, and not blank, not {name!r}")
    return name


def _listed(response: Response) -> builtins.list[EventDefinition]:
    document = parse(response)
    if not isinstance(document, list):
        raise _unexpected(response, "a list of events", None)
    return _readable(document)


def _readable(document: Any) -> builtins.list[EventDefinition]:
    return (
        [EventDefinition.of(each) for each in document if isinstance(each, dict)] if isinstance(document, list) else []
    )


def _named(events: builtins.list[EventDefinition], name: str) -> EventDefinition | None:
    return next((event for event in events if event.name == name), None)


def _with_id(events: builtins.list[EventDefinition], event_id: str) -> EventDefinition | None:
    return next((event for event in events if event.id == event_id), None)


def _is_unknown(error: APIError) -> bool:
    # One field may hold what belongs into the other.
    codes = (error.error_code, error.error_type)
    return isinstance(error, NotFoundError) or (
        isinstance(error, BadRequestError) and any(code in _UNKNOWN for code in codes)
    )


def _unexpected(response: Response, wanted: str, delivery: Delivery | None) -> UnexpectedResponseError:
    return UnexpectedResponseError(
        f"Refold answered {response.status_code}, but not with {wanted}: is base_url right?",
        status_code=response.status_code,
        body=response.raw.decode("utf-8", "replace")[:4096],
        delivery=delivery,
        attempts=response.attempts,
    )
