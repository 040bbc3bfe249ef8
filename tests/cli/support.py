"""What the tests of `refold-async batch` share."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from attrs import frozen
from typer.testing import CliRunner

from refold_async import AcceptedOutcome, Delivery, FailedOutcome, Receipt, Sending, ServerError, Trigger
from refold_async.cli.app import app
from refold_async.cli.batch.journal import Journal
from refold_async.cli.reading.records import Origin, digest_of
from refold_async.testing import Entry, Fault, MockRefold

PROGRAM = [sys.executable, "-c", "from refold_async.cli import main; main()"]


def environment(server: MockRefold, **more: str) -> dict[str, str]:
    """The settings that lead to a server."""
    return {"REFOLD_API_KEY": server.api_key, "REFOLD_BASE_URL": server.url, "REFOLD_LINKED_ACCOUNT_ID": "a", **more}


def whole_environment(server: MockRefold, **more: str) -> dict[str, str]:
    """Those, and what a process needs besides."""
    rest = {name: value for name, value in os.environ.items() if not name.startswith("REFOLD_")}
    return {**rest, **environment(server, **more)}


def row(n: int, **more: Any) -> dict[str, Any]:
    return {"slug": "slack", "event": "E", "payload": {"n": n}, **more}


def write_rows(path: Path, rows: int | Iterable[dict[str, Any] | str]) -> Path:
    """Write JSON Lines: rows that are numbered from 1 as their lines, or these, of which strings go as they are."""
    given = [row(n) for n in range(1, rows + 1)] if isinstance(rows, int) else rows
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in given))
    return path


@frozen
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def summary(self) -> Any:
        """What it printed for machines."""
        return json.loads(self.out)


def batch(
    server: MockRefold, *arguments: str | Path, stdin: bytes | str | None = None, env: dict[str, str] | None = None
) -> Ran:
    """Run `refold-async batch` in this process, without a rate limit."""
    command = ["batch", *map(str, arguments)]
    if not {"--rate", "--burst", "--no-rate-limit"} & set(command):
        command.append("--no-rate-limit")
    result = CliRunner().invoke(app, command, input=stdin, env=environment(server) if env is None else env)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ran(result.exit_code, result.stdout, result.stderr)


def entries(journal: Path) -> list[dict[str, Any]]:
    """The lines of a journal."""
    return [json.loads(line) for line in journal.read_text().splitlines()]


def plan(faults: dict[int, Fault]) -> Callable[[Entry], Fault | None]:
    """Play a fault to each request for these rows."""
    return lambda entry: faults.get(entry.payload["n"])


def edit(journal: Path, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
    """Rewrite a journal line by line; None leaves a line out."""
    changed = [change(entry) for entry in entries(journal)]
    journal.write_text("".join(json.dumps(entry) + "\n" for entry in changed if entry is not None))


def forget_ends(journal: Path, *lines: int) -> None:
    """Make it look as if the process was killed while these rows were on the wire."""
    edit(journal, lambda entry: None if entry.get("what") == "ended" and entry["line"] in lines else entry)


def fired(server: MockRefold) -> dict[Any, int]:
    """How often each row fired, by its number."""
    return dict(server.ledger.count_fired_by("n"))


def journal_left(tmp_path: Path) -> tuple[Path, Path, str]:
    """Return rows, and the journal and the place of keys of a batch of them that was killed.

    The first was accepted. The second met a doubt, and of the third nobody knows. The fourth was never sent.
    """
    rows = tmp_path / "deals.jsonl"
    lines = [json.dumps({"slug": "crm", "event": "E", "payload": {"n": n}}) for n in range(4)]
    rows.write_text("\n".join(lines) + "\n")
    place = "header x-key"
    journal = Journal.open(
        tmp_path / "j", settings="s", base_url="http://x", place=place, source="deals.jsonl", resume=False
    )
    triggers = [
        Trigger("crm", "E", {"n": n}, context=Origin(n + 1, 0, digest_of(line.encode())))
        for n, line in enumerate(lines)
    ]
    for trigger in triggers[:3]:
        journal.before_send(Sending(call_id="c", trigger=trigger, attempt=1, idempotency_key="key"))
    journal.ended(AcceptedOutcome(0, triggers[0], Delivery.ACCEPTED, receipt=Receipt(message="", status_code=200)))
    doubt = ServerError("?", status_code=502, delivery=Delivery.AMBIGUOUS)
    journal.ended(FailedOutcome(1, triggers[1], Delivery.AMBIGUOUS, error=doubt))
    journal.close()  # of the third row nobody knows; the fourth was never sent
    return rows, tmp_path / "j", place
