"""A file that is written while it is read stops the batch before rows of two exports fire."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from refold_async.cli.reading.input import CHUNK, Input, InputError
from refold_async.testing import Entry, Fault, MockRefold

from ..support import batch, row

MANY = 4000
"""Rows, of which some are read only after others were sent."""


def export(path: Path, version: str, rows: int = MANY) -> None:
    path.write_text("".join(json.dumps(row(n, payload={"n": n, "version": version})) + "\n" for n in range(rows)))


def write_over(path: Path) -> None:
    export(path, "new")


def write_longer_rows_over(path: Path) -> None:
    export(path, "much newer than before", MANY // 2)


def replace(path: Path) -> None:
    fresh = path.with_suffix(".fresh")
    export(fresh, "new")
    fresh.replace(path)


def append(path: Path) -> None:
    with path.open("a") as file:
        file.write(json.dumps(row(MANY, payload={"n": MANY, "version": "new"})) + "\n")


def truncate(path: Path) -> None:
    os.truncate(path, 100)


@pytest.mark.parametrize("change", [write_over, write_longer_rows_over, replace, append, truncate])
def test_a_file_that_changes_while_it_is_read_stops_the_batch(
    server: MockRefold, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    rows = tmp_path / "rows.jsonl"
    export(rows, "old")
    assert rows.stat().st_size > 3 * CHUNK
    changed = False

    def at_the_first_request(_: Entry) -> Fault | None:
        nonlocal changed
        if not changed:
            changed = True
            change(rows)
        return None

    server.plan(at_the_first_request)
    ran = batch(server, rows, "--json")
    assert ran.code == 2
    assert f"{rows} was written while it was read" in ran.err
    fired: list[Any] = [entry.payload for entry in server.ledger.fired]
    assert 0 < len(fired) < MANY
    assert {payload["version"] for payload in fired} == {"old"}
    assert sorted(payload["n"] for payload in fired) == list(range(len(fired))), "no row was cut in two"


def test_a_file_that_is_removed_while_it_is_read_stays_whole(server: MockRefold, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    export(rows, "old", 1500)

    def at_each_request(_: Entry) -> Fault | None:
        rows.unlink(missing_ok=True)
        return None

    server.plan(at_each_request)
    ran = batch(server, rows, "--json")
    assert (ran.code, ran.summary["accepted"]) == (0, 1500)


def test_a_change_before_the_last_read_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("deal\n1\n")
    source = Input.open(str(path))
    assert source.read() == b"deal\n1\n"
    path.write_text("deal\n2\n3\n")
    with pytest.raises(InputError, match="was written while it was read"):
        source.read()
    source.close()
