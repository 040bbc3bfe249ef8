"""The table of settings in the docs: each bad value in it is tried, and no setting is missing."""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from refold_async import ConfigurationError, Delivery, RefoldClient
from refold_async._core.settings import Options

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "settings.md").read_text()
NOWHERE = "https://127.0.0.1:9"
PROGRAM = [sys.executable, "-c", "from refold_async.cli import main; main()"]


def rows(heading: str, column: int) -> list[tuple[str, Any]]:
    """Return the settings of a section with their bad values."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines() if line[:3] == "| `"]
    return [(cells[0].strip("`"), ast.literal_eval(cells[column].strip("`"))) for cells in table]


VARIABLES, ARGUMENTS = rows("Variables", 2), rows("Arguments", 1)


@pytest.mark.parametrize(("name", "value"), VARIABLES)
def test_a_bad_variable_of_the_table_raises_what_names_it(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, text in environment(name, value).items():
        monkeypatch.setenv(variable, text)

    async def use() -> None:
        async with RefoldClient(deadline=5, retry=None) as client:
            await client.trigger("slack", "E")

    with pytest.raises(ConfigurationError, match=rf"(?i)\b{name}\b") as caught:
        asyncio.run(use())
    assert caught.value.delivery is Delivery.NOT_SENT


@pytest.mark.parametrize(("name", "value"), VARIABLES)
def test_a_bad_variable_of_the_table_ends_the_command_line_with_2_and_one_line(name: str, value: str) -> None:
    kept = {key: text for key, text in os.environ.items() if not key.lower().endswith("_proxy")}
    done = subprocess.run(
        [*PROGRAM, "trigger", "slack", "E", "--deadline", "5"],
        env={**kept, **environment(name, value)}, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 2, said
    assert name in said
    assert len(done.stderr.strip().splitlines()) == 1, said


@pytest.mark.parametrize(("name", "value"), ARGUMENTS)
def test_a_bad_argument_of_the_table_raises_what_names_it(name: str, value: Any) -> None:
    given: dict[str, Any] = {"base_url": NOWHERE, "linked_account_id": "a", name: value}
    if name != "session_token":
        given.setdefault("api_key", "tk_1")
    with pytest.raises(ConfigurationError, match=rf"\b{name}\b") as caught:
        RefoldClient(**given)
    assert caught.value.delivery is Delivery.NOT_SENT


def test_the_table_holds_every_argument_and_every_variable() -> None:
    arguments = set(inspect.signature(RefoldClient).parameters) - {"options"} | set(Options.__annotations__)
    assert {name for name, _ in ARGUMENTS} == arguments
    sources = "".join(path.read_text() for path in (ROOT / "refold_async").rglob("*.py"))
    assert set(re.findall(r"\"(REFOLD_[A-Z_]+)\"", sources)) <= set(re.findall(r"REFOLD_[A-Z_]+", PAGE))


def environment(name: str, value: str) -> dict[str, str]:
    """Return a good environment but for one variable."""
    good = {"REFOLD_API_KEY": "tk_1", "REFOLD_LINKED_ACCOUNT_ID": "a", "REFOLD_BASE_URL": NOWHERE}
    if name == "REFOLD_SESSION_TOKEN":
        del good["REFOLD_API_KEY"]
    if name == "NO_PROXY":
        good["HTTPS_PROXY"] = "http://127.0.0.1:1"
    return {**good, name: value}
