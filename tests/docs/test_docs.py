"""Every example in README and docs, run as it stands against the mock."""

from __future__ import annotations

import ast
import inspect
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

from refold_async.testing import MockRefold

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
KEY = "tk_your_key"


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def in_pytest(source: str, folder: Path) -> None:
    path = folder / "test_example.py"
    path.write_text(source)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=50, check=False)
    assert done.returncode == 0, done.stdout
    assert f"{len(re.findall('async def test_', source))} passed" in done.stdout


@pytest.mark.asyncio
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name)
async def test_examples_in_python(page: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with MockRefold(rate_limit=None, api_key=KEY) as server:
        settings = {"API_KEY": KEY, "BASE_URL": server.url, "LINKED_ACCOUNT_ID": "acct_1"}
        for name, value in settings.items():
            monkeypatch.setenv(f"REFOLD_{name}", value)
        names: dict[str, Any] = {"__name__": "example"}
        for source in blocks(page, "python"):
            code = compile(source, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
            if "def test_" in source:
                exec(source, names)
                await anyio.to_thread.run_sync(in_pytest, source, tmp_path)
            elif "asyncio.run(" in source:
                await anyio.to_thread.run_sync(exec, code, names)
            else:
                result = eval(code, names)
                if inspect.isawaitable(result):
                    await result
        if page.name not in ("testing.md", "webhooks.md"):  # which have servers of their own, or need none
            assert server.ledger.fired, "the examples never reached the server"
        assert {entry.status for entry in server.ledger.entries} <= {200}


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "console")], ids=lambda page: page.name)
def test_examples_in_a_shell(page: Path, tmp_path: Path) -> None:
    for name, content in re.findall(r"^```\w+ (\S+)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
        (tmp_path / name).write_text(content)
    with MockRefold(rate_limit=None, api_key=KEY) as server:
        settings = {"REFOLD_API_KEY": KEY, "REFOLD_BASE_URL": server.url, "REFOLD_LINKED_ACCOUNT_ID": "acct_1"}
        run_in_a_shell(page, tmp_path, {**os.environ, **settings, "NO_COLOR": "1"})


def run_in_a_shell(page: Path, folder: Path, env: dict[str, str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in "".join(blocks(page, "console")).splitlines():
        assert line.startswith("$ "), line
        program, *arguments = shlex.split(line[2:])
        if program == "make":
            assert arguments[0] in targets
        elif program == "pip":
            extra = re.fullmatch(r"refold-async(?:\[(\w+)\])?", arguments[-1])
            assert extra is not None
            assert extra[1] is None or extra[1] in project["optional-dependencies"]
        else:
            assert program == "refold-async"
            command = [sys.executable, "-c", "from refold_async.cli import main; main()", *arguments]
            done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False, env=env, cwd=folder)
            assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        other = (page.parent / path) if path else page
        assert other.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", other.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in headings}
