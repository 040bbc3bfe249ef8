"""A batch that shares its rate limit with other processes."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from refold_async.cli.app import app
from refold_async.testing import MockRefold

runner = CliRunner()


def run(server: MockRefold, tmp_path: Path, *arguments: str, **env: str) -> tuple[int, str]:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"slug": "slack", "event": "E", "payload": {"n": 1}}\n' * 3)
    settings = {"REFOLD_API_KEY": server.api_key, "REFOLD_BASE_URL": server.url, "REFOLD_LINKED_ACCOUNT_ID": "a"}
    result = runner.invoke(app, ["batch", str(rows), *arguments], env=settings | env)
    return result.exit_code, result.stderr


def names(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    try:
        return [name for (name,) in connection.execute("SELECT name FROM refold_rate_limit")]
    finally:
        connection.close()


def test_the_option_shares_the_limit(server: MockRefold, tmp_path: Path) -> None:
    path = tmp_path / "limit.db"
    code, output = run(server, tmp_path, "--rate-limiter", f"sqlite:///{path}", REFOLD_RATE_LIMIT_NAME="crm")
    assert code == 0, output
    assert names(path) == ["crm"]


def test_the_variable_does_the_same_unless_there_is_to_be_no_limit(server: MockRefold, tmp_path: Path) -> None:
    path = tmp_path / "limit.db"
    env = {"REFOLD_RATE_LIMIT": f"sqlite:///{path}", "REFOLD_RATE_LIMIT_NAME": "crm"}
    code, output = run(server, tmp_path, "--no-rate-limit", **env)
    assert code == 0, output
    assert not path.exists()
    code, output = run(server, tmp_path, **env)
    assert code == 0, output
    assert names(path) == ["crm"]


@pytest.mark.parametrize("url", ["mysql://u:s3cret@h/db", "redis://u:s3cret@h:port", "s3cret", "sqlite:///no/such/s/x"])
def test_a_url_that_is_wrong_is_one_line_without_the_password(server: MockRefold, tmp_path: Path, url: str) -> None:
    code, output = run(server, tmp_path, "--rate-limiter", url)
    assert code == 2
    assert output.startswith("--rate-limiter: ")
    assert output.count("\n") == 1
    assert "s3cret" not in output
