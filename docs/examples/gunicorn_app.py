"""A WSGI app for gunicorn, with or without `--preload`: `gunicorn --preload --workers 4 gunicorn_app:application`.

Each worker opens a client of its own at its first event, after the fork: connections and threads do not survive one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from refold_portal import get_refold

from refold_async import RefoldError


def application(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """Fire an event with the request's JSON body as its payload."""
    payload = json.loads(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
    try:
        receipt = get_refold().trigger("pipedrive", "Deal Created", payload)
    except RefoldError as error:
        start_response("502 Bad Gateway", [("Content-Type", "text/plain")])
        return [f"{type(error).__name__}: {error.delivery}\n".encode()]
    start_response("201 Created", [("Content-Type", "text/plain")])
    return [f"{receipt.message}\n".encode()]
