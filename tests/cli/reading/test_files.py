"""Every file of `tests/files` fires what it may, and nothing else; a dry run says the same beforehand."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from refold_async.testing import Entry, MockRefold

from ...files.cases import CASES, DEFAULT, FOLDER, Case, event
from ..support import batch, environment


@pytest.fixture(scope="module")
def shared() -> Iterator[MockRefold]:
    with MockRefold(rate_limit=None) as server:
        yield server


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One authority: the usual list of them takes longer to read than a file and its rows."""
    path = tmp_path_factory.mktemp("authorities") / "ca.pem"
    trustme.CA().cert_pem.write_to_path(path)
    return path


def as_fired(entry: Entry) -> dict[str, Any]:
    account = entry.header("linked_account_id")
    return {"slug": entry.slug, "event": entry.event, "account": account, "payload": entry.payload}


def expected(case: Case) -> list[dict[str, Any]]:
    return [fires if "account" in fires and "slug" in fires else event(fires) for fires in case.fires]


def test_the_files_are_those_that_the_script_writes() -> None:
    names = [case.name for case in CASES]
    others = {"__init__.py", "cases.py"}
    assert len(set(names)) == len(names) >= 80
    assert {path.name for path in FOLDER.iterdir() if path.is_file()} - others == set(names)
    for case in CASES:
        content = (FOLDER / case.name).read_bytes()
        if content != case.content:  # another zlib may pack in another way
            assert gzip.decompress(content) == gzip.decompress(case.content), case.name


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_file_fires_what_it_may_and_a_dry_run_says_so(shared: MockRefold, authorities: Path, case: Case) -> None:
    env = environment(shared, REFOLD_LINKED_ACCOUNT_ID=DEFAULT, SSL_CERT_FILE=str(authorities))
    command: tuple[str | Path, ...] = (FOLDER / case.name, *case.options)
    before = shared.ledger.requests
    dry = batch(shared, *command, "--dry-run", "--json", env=env)
    assert shared.ledger.requests == before, "a dry run sends nothing"
    ran = batch(shared, *command, "--max-concurrency", "1", env=env)
    sent = shared.ledger.requests - before
    fired = [as_fired(entry) for entry in shared.ledger.fired[-sent:]] if sent else []

    assert fired == expected(case), ran.err
    assert ran.code == case.exit, ran.err
    assert case.says in ran.err
    assert (dry.code, dry.summary.get("good", 0)) == (case.dry, case.good), dry.out + dry.err
    if fired:
        first = dry.summary["first"]
        assert first["url"].rpartition("/")[2] == fired[0]["slug"]
        assert first["headers"]["linked_account_id"] == fired[0]["account"]
        assert json.loads(first["body"])["payload"] == fired[0]["payload"]
