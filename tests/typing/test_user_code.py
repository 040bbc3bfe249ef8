"""Code as users write it passes mypy --strict and pyright, and their mistakes are found."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from refold_async import RefoldClient
from refold_async.types import CallOptions

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

Problems = dict[str, list[tuple[int, str]]]
"""For each file, the line and the message of each problem."""


def user_code() -> dict[str, str]:
    """The snippets, the examples, and the blocks in README and docs but for tests, which are seldom annotated."""
    files = {f"snippet_{path.stem}.py": path.read_text() for path in (HERE / "snippets").glob("*.py")}
    files |= {path.name: path.read_text() for path in (ROOT / "docs" / "examples").glob("*.py")}
    for page in PAGES:
        blocks = re.findall(r"^```python[^\n]*\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
        for number, block in enumerate(blocks):
            if "def test_" not in block:
                files[f"{re.sub('[^a-z]', '_', page.stem.lower())}_{number}.py"] = block
    return files


FILES = user_code()


def named_blocks() -> dict[str, str]:
    """The blocks that say which file they are, for those that import them."""
    texts = [page.read_text() for page in PAGES]
    named = re.compile(r"^```python (\w+\.py)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return {name: block for text in texts for name, block in named.findall(text) if name not in FILES}


ONLY_MYPY = """
from refold_async import Outcome

def message(outcome: Outcome) -> str:
    if outcome.ok:
        return outcome.receipt.message
    return str(outcome.error.args)
"""
"""pyright narrows by `is True`, but not by whether an attribute is true."""

MISTAKES = (HERE / "mistakes.txt").read_text()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("user_code")
    for name, source in {**named_blocks(), **FILES, "mistakes.py": MISTAKES, "only_mypy.py": ONLY_MYPY}.items():
        (folder / name).write_text(source)
    return folder


@pytest.fixture(scope="module")
def mypy_problems(folder: Path) -> Problems:
    pytest.importorskip("mypy")
    options = ["--strict", "--allow-untyped-decorators", "--ignore-missing-imports", "--output=json", "--config-file="]
    command = [sys.executable, "-m", "mypy", *options, f"--cache-dir={folder / 'cache'}", "."]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode in (0, 1), done.stderr
    problems: Problems = {}
    for line in done.stdout.splitlines():
        found = json.loads(line)
        if found["severity"] == "error":
            problems.setdefault(Path(found["file"]).name, []).append((found["line"], found["message"]))
    return problems


@pytest.fixture(scope="module")
def pyright_problems(folder: Path) -> Problems:
    pytest.importorskip("pyright")
    settings = {"include": ["."], "typeCheckingMode": "standard", "reportMissingModuleSource": False}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    env = {**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=280, check=False)
    if not done.stdout.startswith("{"):
        pytest.skip(f"pyright does not run here: {done.stderr[-500:]}")
    problems: Problems = {}
    for found in json.loads(done.stdout)["generalDiagnostics"]:
        if found["severity"] == "error":
            line = found["range"]["start"]["line"] + 1
            problems.setdefault(Path(found["file"]).name, []).append((line, found["message"]))
    return problems


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", sorted(FILES))
def test_code_as_users_write_it_passes_mypy_strict(name: str, mypy_problems: Problems) -> None:
    assert mypy_problems.get(name, []) == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", sorted(FILES))
def test_code_as_users_write_it_passes_pyright(name: str, pyright_problems: Problems) -> None:
    assert pyright_problems.get(name, []) == []


@pytest.mark.timeout(300)
def test_ok_alone_tells_mypy_whether_there_is_a_receipt_or_an_error(mypy_problems: Problems) -> None:
    assert mypy_problems.get("only_mypy.py", []) == []


def test_the_options_of_a_call_are_those_of_trigger() -> None:
    named = [p for p in inspect.signature(RefoldClient.trigger).parameters.values() if p.kind is p.KEYWORD_ONLY]
    assert [parameter.name for parameter in named] == list(CallOptions.__annotations__)


def lines_with_mistakes() -> set[int]:
    return {number for number, line in enumerate(MISTAKES.splitlines(), 1) if line.endswith("  # error")}


@pytest.mark.timeout(300)
def test_mypy_finds_each_mistake_of_a_user(mypy_problems: Problems) -> None:
    assert {line for line, _ in mypy_problems["mistakes.py"]} == lines_with_mistakes(), mypy_problems["mistakes.py"]


@pytest.mark.timeout(300)
def test_pyright_finds_each_mistake_of_a_user(pyright_problems: Problems) -> None:
    found = pyright_problems["mistakes.py"]
    assert {line for line, _ in found} == lines_with_mistakes(), found
