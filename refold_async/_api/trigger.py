"""From a trigger to the request that fires it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from .._types.errors import InvalidTriggerError
from .._types.values import Idempotency, JSONEncoder
from .address import Address
from .constants import ALL_APPS, COMMON_HEADERS, DEFAULT_KEY_HEADER, EVENT_PATH, JSON_TYPE
from .encode import encode_body
from .files import Part, encode_multipart
from .headers import header_value
from .request import CredentialSource, EncodedRequest, Pairs, RequestHead

_SLUG = re.compile(r"[A-Za-z0-9\-._~]+")

_REMEMBERED = 1024
"""Heads, one for each slug, account and configuration, that are kept ready."""

TOKEN_PREFIX = "rfa-"  # noqa: S105 - it proves nothing by itself
"""Begins each token that the client mints, so that one in a document is known for what it is."""


class TriggerEncoder:
    """Turns triggers into requests, with one set of settings.

    :param address: where Refold is.
    :param extra_headers: further header fields for each request.
    :param idempotency: the declared window, if any.
    :param encoder: turns the body into bytes, in place of the standard library.
    :param tag: whether each trigger without an `instance_tag` gets a minted token as its tag.
    :param tag_field: the field of the payload that gets the minted token, if any.
    """

    def __init__(
        self,
        address: Address,
        credential: CredentialSource,
        *,
        extra_headers: Pairs = (),
        idempotency: Idempotency | None = None,
        encoder: JSONEncoder | None = None,
        tag: bool = False,
        tag_field: str | None = None,
    ) -> None:
        self._address = address
        self._credential = credential
        self._idempotency = idempotency
        self._encoder = encoder
        self._tag = tag
        self._tag_field = tag_field
        self._is_plain = idempotency is None and not tag and tag_field is None
        given = {name.lower() for name, _ in extra_headers}
        self._common: Pairs = (*(pair for pair in COMMON_HEADERS if pair[0].lower() not in given), *extra_headers)
        self._key_header = DEFAULT_KEY_HEADER if idempotency is None else idempotency.header
        self._key_name = b"" if self._key_header is None else self._key_header.encode("ascii")
        self._heads: dict[tuple[str, str | None, str | None], RequestHead] = {}
        self._bases: dict[tuple[str, bool, bool], RequestHead] = {}
        # Of what is less often sent: to all applications (None), and with files.
        self._other_heads: dict[tuple[str, str | None, str | None, bool, bool], RequestHead] = {}

    def encode(
        self,
        slug: str,
        event: str,
        payload: Mapping[str, Any] | None,
        account: str | None,
        config: str | None,
        instance_tag: str | None,
        key: str | None,
        parts: tuple[Part, ...] = (),
        is_for_all: bool = False,
    ) -> EncodedRequest:
        """Check a trigger and encode it, with its key and token minted once for all attempts.

        :param parts: its files, read already.
        :param is_for_all: fire it for every application; the slug is not looked at.
        :raises InvalidTriggerError: for anything that could not be sent, or would mean something else.
        :raises CallbackError: for a `json_encoder` that raised.
        """
        if not isinstance(event, str) or not event.strip():
            raise InvalidTriggerError("event must be the event's name as in the Refold console, and not empty")
        if parts or is_for_all:
            name = "" if is_for_all else check_slug(slug)
            head = self._other_head(name, account, config, has_files=bool(parts), is_for_all=is_for_all)
        else:
            try:
                known = self._heads.get((slug, account, config)) if isinstance(slug, str) else None
            except TypeError:  # a list as an account, say: `_make_head` refuses it in words
                known = None
            head = known if known is not None else self._make_head(slug, account, config)
        if self._is_plain and key is None and instance_tag is None and not parts:
            request = EncodedRequest(head, (), encode_body(event, payload, self._encoder))
        else:
            request = self._encode_with_extras(head, event, payload, instance_tag, key, parts)
        request.account = account
        request.config = config
        return request

    def _encode_with_extras(
        self,
        head: RequestHead,
        event: str,
        payload: Mapping[str, Any] | None,
        instance_tag: str | None,
        key: str | None,
        parts: tuple[Part, ...],
    ) -> EncodedRequest:
        if key is not None and (not isinstance(key, str) or not key.strip()):
            raise InvalidTriggerError("idempotency_key must be a string that is not blank, or None")
        extra: list[tuple[bytes, bytes]] = []
        token = None
        if (self._tag and instance_tag is None) or self._tag_field is not None:
            token = TOKEN_PREFIX + os.urandom(16).hex()
        if self._tag and instance_tag is None:
            instance_tag = token
        if self._tag_field is not None:
            payload, token = _with_token(payload, self._tag_field, token, instance_tag)
        if instance_tag is not None:
            extra.append((b"instance_tag", header_value("instance_tag", instance_tag)))
        given = key
        if self._idempotency is not None:
            if self._idempotency.payload_field is not None:
                given = (payload or {}).get(self._idempotency.payload_field) if given is None else given
                payload, key = _with_key(payload, self._idempotency.payload_field, key)
            elif key is None:
                key = mint_key()
        if key is not None and self._key_header is not None:
            extra.append((self._key_name, header_value("idempotency_key", key)))
        if parts:
            content_type, body = encode_multipart(event, payload, parts, self._encoder)
            extra.insert(0, content_type)
        else:
            body = encode_body(event, payload, self._encoder)
        request = EncodedRequest(head, tuple(extra), body)
        request.key = key
        request.is_key_minted = given is None
        request.instance_tag = instance_tag
        request.token = token
        return request

    def _make_head(self, slug: object, account: str | None, config: str | None) -> RequestHead:
        """Check a slug and an account, and keep ready what is the same for every call with them."""
        head = self._new_head(slug, account, config)
        assert isinstance(slug, str)
        if len(self._heads) >= _REMEMBERED:
            self._heads.clear()
        self._heads[slug, account, config] = head
        return head

    def _other_head(
        self, slug: str, account: str | None, config: str | None, *, has_files: bool, is_for_all: bool
    ) -> RequestHead:
        """Return the head of a request to all applications, or of one with files, whose content type varies."""
        try:
            head = self._other_heads.get((slug, account, config, has_files, is_for_all))
        except TypeError:
            head = None
        if head is None:
            head = self._new_head(slug, account, config, has_files=has_files, is_for_all=is_for_all)
            if len(self._other_heads) >= _REMEMBERED:
                self._other_heads.clear()
            self._other_heads[slug, account, config, has_files, is_for_all] = head
        return head

    def _new_head(
        self,
        slug: object,
        account: str | None,
        config: str | None,
        *,
        has_files: bool = False,
        is_for_all: bool = False,
    ) -> RequestHead:
        """Make a head; what does not depend on the account is remembered by itself.

        :param slug: is checked, unless it is for all applications.
        """
        base = self._bases.get((slug, has_files, is_for_all)) if isinstance(slug, str) else None
        if base is None:
            known = "" if is_for_all else check_slug(slug)
            name = ALL_APPS if is_for_all else known
            target = self._address.target(EVENT_PATH + name)
            pairs = self._common if has_files else (*self._common, JSON_TYPE)
            base = RequestHead("POST", self._address, target, pairs, self._credential)
            if len(self._bases) >= _REMEMBERED:
                self._bases.clear()
            self._bases[known, has_files, is_for_all] = base
        if account is None and self._credential.kind == "api_key":
            raise InvalidTriggerError(
                "no linked account: with an API key, say for which customer the event is (linked_account_id=)"
            )
        named: Pairs = ()
        if account is not None:
            named = ((b"linked_account_id", header_value("linked_account_id", account)),)
        if config is not None:
            named = (*named, (b"config_id", header_value("config_id", config)))
        return base.for_account(named) if named else base


def mint_key() -> str:
    """Return a new idempotency key."""
    from uuid import uuid4  # takes a while to import, and few calls need it

    return str(uuid4())


def check_slug(slug: object) -> str:
    """Return the slug. Refuse one that could reach another endpoint.

    :raises InvalidTriggerError: saying what a slug may hold.
    """
    if not isinstance(slug, str) or not _SLUG.fullmatch(slug) or slug in (".", ".."):
        raise InvalidTriggerError(
            f"slug {slug!r} is not an application's slug: it may hold letters, digits and - . _ ~, as in 'pipedrive'"
        )
    if slug.lower() == "trigger":
        raise InvalidTriggerError("slug 'trigger' would fire the event for every application; name one application")
    return slug


def _with_key(payload: Any, name: str, key: str | None) -> tuple[dict[str, Any], str]:
    fields: dict[str, Any] = {} if payload is None else dict(payload)
    present = fields.get(name)
    if present is None:
        key = key if key is not None else mint_key()
        fields[name] = key
        return fields, key
    if isinstance(present, bool) or not isinstance(present, str | int) or str(present).strip() == "":
        raise InvalidTriggerError(
            f"payload.{name} is the declared idempotency key: it must be a string or a whole number"
        )
    if key is not None and key != str(present):
        raise InvalidTriggerError(f"payload.{name} and idempotency_key differ: give the key in one place")
    return fields, str(present)


def _with_token(
    payload: Any, name: str, token: str | None, instance_tag: str | None
) -> tuple[dict[str, Any], str | None]:
    """Put the minted token into the payload. A value that the caller put there stays, and proves nothing."""
    fields: dict[str, Any] = {} if payload is None else dict(payload)
    if fields.get(name) is not None:
        return fields, token if token == instance_tag else None
    fields[name] = token
    return fields, token
