"""Linked accounts and their session tokens."""

from __future__ import annotations

import math
import secrets
import threading
from collections.abc import Callable, Collection
from typing import Any

from attrs import define, field

from ._answers import Errors, Reply, json_reply
from ._routes import Route, RoutedRequest
from .dialect import Dialect

_REFRESH_FOR = 30 * 86400.0


@define
class SessionToken:
    """A session token. States: valid, then expired (by the clock) or revoked.

    :ivar expires_at: seconds on the mock's clock; None for never.
    """

    account: str
    token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_at: float | None
    revoked: bool = False

    def is_valid(self, now: float) -> bool:
        """Whether the token is accepted now."""
        return not self.revoked and (self.expires_at is None or now < self.expires_at)


class Accounts:
    """The linked accounts and the session tokens that were minted for them. May be used from any thread.

    :param known: the accounts that exist; None for every one there could be.
    :param lifetime: seconds that a minted token is valid.
    """

    def __init__(
        self,
        known: Collection[str] | None,
        lifetime: float,
        dialect: Dialect,
        errors: Errors,
        clock: Callable[[], float],
    ) -> None:
        self._documents: dict[str, dict[str, Any]] | None = None if known is None else {name: {} for name in known}
        self._lifetime = lifetime
        self._dialect = dialect
        self._errors = errors
        self._clock = clock
        self._lock = threading.Lock()
        self._tokens: dict[str, SessionToken] = {}

    def accept_token(self, token: str, account: str) -> None:
        """Accept a token that names this account, for ever."""
        self._tokens[token] = SessionToken(account, token, token, None)

    def account_of(self, token: str) -> str | None:
        """Return the account that a token names; None where the token is not valid."""
        found = self._tokens.get(token)
        return found.account if found is not None and found.is_valid(self._clock()) else None

    def tokens(self) -> list[SessionToken]:
        """Return all tokens, oldest first."""
        with self._lock:
            return list(self._tokens.values())

    def refuse(self, account: str) -> Reply | None:
        """Return the answer to a call for an account that does not exist."""
        if self._documents is None or account in self._documents:
            return None
        message = f"No linked account found for account id : {account} in environment test"
        if self._dialect.unknown_account == 500:
            return self._errors.make(500, message, "SERVER_ERROR")
        return self._errors.make(400, message, "INVALID_LINKED_ACCOUNT_ID")

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("POST", "session-token", "write", "key", self._mint),
            Route("POST", "session-token/revoke", "write", "token", self._revoke),
            Route("GET", "linked-account", "read", "key", self._list),
            Route("POST", "linked-account", "write", "key", self._upsert),
            Route("PUT", "linked-account", "write", "any", self._upsert),
            Route("GET", "linked-account/{id}", "read", "any", self._get),
            Route("DELETE", "linked-account/{id}", "write", "key", self._delete),
        ]

    def _mint(self, request: RoutedRequest) -> Reply:
        document = request.entry.document
        account = document.get("linked_account_id") if isinstance(document, dict) else None
        if not isinstance(account, str) or not account:
            return self._errors.make(400, "linked_account_id is required", "SERVER_ERROR")
        refused = self.refuse(account)
        if refused is not None:
            return refused
        now = self._clock()
        force = request.entry.query.get("force_refresh") == "true"
        with self._lock:
            valid = [t for t in self._tokens.values() if t.account == account and t.expires_at and t.is_valid(now)]
            if valid and not force:
                token = valid[-1]
            else:
                name = secrets.token_urlsafe(24)
                token = SessionToken(account, f"session_{name}", f"refresh_{name}", now + self._lifetime)
                self._tokens[token.token] = token
        left = math.floor((token.expires_at or now) - now)
        return json_reply(
            {
                "token": token.token,
                "refresh_token": token.refresh_token,
                "expires_in": left,
                "refresh_expires_in": left + math.floor(_REFRESH_FOR - self._lifetime),
            }
        )

    def _revoke(self, request: RoutedRequest) -> Reply:
        token = self._tokens.get(request.token or "")
        if token is None:
            return self._errors.make(401, "Invalid token", "INVALID_TOKEN")
        token.revoked = True
        return json_reply({"success": True, "revoked_count": 1})

    def _list(self, request: RoutedRequest) -> Reply:
        docs = [self._document(name) for name in self._documents or {}]
        page = {"docs": docs, "totalDocs": len(docs), "limit": max(10, len(docs)), "page": 1, "totalPages": 1}
        return json_reply({**page, "hasNextPage": False})

    def _upsert(self, request: RoutedRequest) -> Reply:
        document = request.entry.document
        given = document if isinstance(document, dict) else {}
        given = {**given, **(given["payload"] if isinstance(given.get("payload"), dict) else {})}
        account = (
            request.account if request.token is not None else given.get("linked_account_id", given.get("account_id"))
        )
        if not isinstance(account, str) or not account:
            return self._errors.make(400, "account_id is required", "MISSING_REQUIRED_FIELD")
        with self._lock:
            if self._documents is None:
                self._documents = None
                return json_reply({**self._document(account), "new_account": False})
            is_new = account not in self._documents
            kept = {name: given[name] for name in ("name", "udf") if name in given}
            self._documents.setdefault(account, {}).update(kept)
        answer = self._document(account)
        return json_reply({**answer, "new_account": is_new} if request.entry.method == "PUT" else answer)

    def _get(self, request: RoutedRequest) -> Reply:
        account = request.values[0]
        if self._documents is not None and account not in self._documents:
            return self._errors.make(404, "Linked account not found", "SERVER_ERROR")
        return json_reply(self._document(account))

    def _delete(self, request: RoutedRequest) -> Reply:
        account = request.values[0]
        if self._documents is not None and self._documents.pop(account, None) is None:
            return self._errors.make(404, "Linked account not found", "SERVER_ERROR")
        for token in self.tokens():
            token.revoked = token.revoked or token.account == account
        return json_reply({"success": True, "message": "Linked account deleted"})

    def _document(self, account: str) -> dict[str, Any]:
        return {"linked_account_id": account, **(self._documents or {}).get(account, {})}
