"""Routes: what the parts of the mock have in common when they answer a request."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Literal
from urllib.parse import unquote

from attrs import define, frozen

from ._answers import Reply
from .ledger import Entry

Kind = Literal["trigger", "read", "write"]

Credential = Literal["key", "account", "token", "any"]
"""Who may call: "key" an API key; "account" an API key with a linked account, or a session token; "token" a session
token; "any" either of the two."""


@frozen
class Route:
    """A method, a path such as `execution/{id}/stop` (below `/api/v2/public/`), and what answers it.

    :ivar answer: performs the request. Returns the answer; None for never answering.
    :ivar check: returns the answer to a request that is invalid, before any fault is drawn; None for a valid one.
    """

    method: str
    path: str
    kind: Kind
    credential: Credential
    answer: Callable[[RoutedRequest], Reply | None]
    check: Callable[[RoutedRequest], Reply | None] | None = None


@define(eq=False)
class RoutedRequest:
    """A request with its route and the credential that was accepted.

    :ivar values: what stands in the path's braces, decoded.
    :ivar account: the linked account, "" where none is named.
    :ivar token: the session token that came with it, if one did.
    """

    entry: Entry
    route: Route
    values: Sequence[str]
    account: str
    token: str | None = None


class Router:
    """Finds the route of a request.

    A brace takes exactly one segment of the path as it was sent, so an encoded slash does not divide it.
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = [(re.compile(re.sub(r"\{\w+\}", "([^/]+)", route.path)), route) for route in routes]

    def find(self, method: str, path: str) -> tuple[Route, list[str]] | list[str]:
        """Return the route and the values of its braces, or the methods that this path takes (none: no such path)."""
        allowed = []
        for pattern, route in self._routes:
            match = pattern.fullmatch(path)
            if match is None:
                continue
            if route.method == method:
                return route, [unquote(value) for value in match.groups()]
            allowed.append(route.method)
        return allowed
