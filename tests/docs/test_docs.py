"""Every example in README and docs, run as it stands against the mock."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import refold_async
from refold_async.testing import MockRefold, RunPlan

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
KEY = "tk_your_key"
SELF_CONTAINED = {"index.md", "testing.md", "tutorial.md", "webhooks.md", "README.md"}
"""Pages whose examples have servers of their own, need none, or are tested with what they print."""


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def in_pytest(source: str, folder: Path) -> None:
    path = folder / "test_example.py"
    path.write_text(source)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=150, check=False)
    assert done.returncode == 0, done.stdout
    assert f"{len(re.findall('def test_', source))} passed" in done.stdout


def with_outputs(page: Path) -> list[tuple[str, str]]:
    """Return the programs that are followed by what they print."""
    pattern = r"^```python\n((?:(?!^```).)*)^```$(?:(?!^```).)*^```text\n(.*?)^```$"
    return re.findall(pattern, page.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", [page for page in PAGES if with_outputs(page)], ids=lambda page: page.name)
def test_programs_print_what_their_page_shows(page: Path, tmp_path: Path) -> None:
    with MockRefold(rate_limit=None, api_key=KEY, runs=RunPlan(shows_tag=True)) as server:
        settings = {"REFOLD_API_KEY": KEY, "REFOLD_BASE_URL": server.url, "REFOLD_LINKED_ACCOUNT_ID": "acct_1"}
        for source, output in with_outputs(page):
            program = tmp_path / "program.py"
            program.write_text(source)
            command = [sys.executable, "-W", "error", str(program)]
            env = {**os.environ, **settings}
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=50, check=False, env=env, cwd=tmp_path
            )
            assert done.returncode == 0, done.stderr
            assert done.stdout == output


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name)
def test_examples_in_python_run_when_they_are_pasted_into_a_file(
    page: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)  # what an example writes is not left behind
    with MockRefold(rate_limit=None, api_key=KEY, runs=RunPlan(shows_tag=True)) as server:
        settings = {"API_KEY": KEY, "BASE_URL": server.url, "LINKED_ACCOUNT_ID": "acct_1"}
        for name, value in settings.items():
            monkeypatch.setenv(f"REFOLD_{name}", value)
        shown = {source for source, _ in with_outputs(page)}
        for source in blocks(page, "python"):
            if "def test_" in source:
                in_pytest(source, tmp_path)
            elif source not in shown:  # those have a test of their own
                names: dict[str, Any] = {"__name__": "__main__"}
                exec(compile(source, str(page), "exec", dont_inherit=True), names)
        if page.name not in SELF_CONTAINED:
            assert server.ledger.fired, "the examples never reached the server"
        assert {entry.status for entry in server.ledger.entries} <= {200}


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "console")], ids=lambda page: page.name)
def test_examples_in_a_shell(page: Path, tmp_path: Path) -> None:
    for name, content in re.findall(r"^```\w+ (\S+)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
        (tmp_path / name).write_text(content)
    with MockRefold(rate_limit=None, api_key=KEY, runs=RunPlan(shows_tag=True)) as server:
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
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=150, check=False, env=env, cwd=folder
            )
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


def test_the_page_on_errors_names_every_error() -> None:
    page = (ROOT / "docs" / "errors.md").read_text()
    errors = [name for name in refold_async.__all__ if name.endswith("Error")]
    assert not [name for name in errors if f"`{name}`" not in page]


TASKS = {
    "Fire one event": "client.md#fire-an-event",
    "Fire an event for each row of a file": "command-line.md#a-batch",
    "Test without a network": "testing.md#a-real-server",
    "Run several processes": "several-processes.md",
    "Settle an ambiguous event": "ambiguous.md#settle-one",
}


@pytest.mark.parametrize("task", TASKS)
def test_the_front_page_leads_to_a_common_task_with_one_click(task: str) -> None:
    front = (ROOT / "docs" / "index.md").read_text()
    assert re.search(rf"^\| {task} \| \[[^\]]+\]\({re.escape(TASKS[task])}\) \|$", front, re.MULTILINE)
