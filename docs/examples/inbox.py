"""A table of received webhooks, in which a unique index drops repeats."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

from refold_async.webhooks import WebhookEvent


class Inbox:
    """Keeps each event once. Work on what it holds in a job of your own, so that the webhook is answered quickly."""

    def __init__(self, path: str) -> None:
        self.path = path
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("CREATE TABLE IF NOT EXISTS webhook (dedupe_key TEXT PRIMARY KEY, event TEXT NOT NULL)")

    def add(self, event: WebhookEvent) -> bool:
        """Store the event. Returns False if it was there before."""
        row = json.dumps(event.dedupe_key), json.dumps(event.to_dict())
        with closing(sqlite3.connect(self.path)) as database, database:
            return database.execute("INSERT OR IGNORE INTO webhook VALUES (?, ?)", row).rowcount == 1
