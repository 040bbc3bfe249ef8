"""Speaking to the mock as any HTTP client would: no proxy, no library of ours."""

from __future__ import annotations

from typing import Any

import httpx

from refold_async.testing import MockRefold

BASE = "/api/v2/public/"


class Api:
    """Calls below `/api/v2/public/`, with the mock's API key and an account unless told otherwise."""

    def __init__(self, server: MockRefold, account: str = "acct_1") -> None:
        self.server = server
        self.headers = {"x-api-key": server.api_key, "linked_account_id": account}

    def call(self, method: str, path: str, *, headers: dict[str, str] | None = None, **options: Any) -> httpx.Response:
        """Send one request. `headers` replace the credential and the account."""
        url = self.server.url + BASE + path
        given = self.headers if headers is None else headers
        return httpx.request(method, url, headers=given, trust_env=False, **options)

    def fire(self, payload: Any = None, slug: str = "pipedrive", event: str = "Deal Created", **headers: str) -> int:
        """Fire an event. Returns the status."""
        body = {"event": event} if payload is None else {"event": event, "payload": payload}
        return self.call("POST", f"event/{slug}", headers={**self.headers, **headers}, json=body).status_code

    def runs(self, **query: Any) -> Any:
        """Return a page of executions."""
        response = self.call("GET", "execution", params=query)
        assert response.status_code == 200, response.text
        return response.json()

    def ids(self, **query: Any) -> list[str]:
        """Return the ids on a page of executions."""
        return [run["_id"] for run in self.runs(**query)["docs"]]
