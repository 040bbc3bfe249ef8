"""The shape of the house: what is imported when, and by whom."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import refold_async

ROOT = Path(refold_async.__file__).parent

LAYERS = ["_types", "policies", "limiters", "transports", "_client", "testing", "cli"]
"""Each may import those before it, and itself."""

ROOMS = {
    "_version": "_types", "_hooks": "_types", "hooks": "_types", "_encode": "_types", "_wire": "_types",
    "_credentials": "_types", "_config": "_client", "_runtime": "_client", "_ending": "_client", "_caller": "_client",
    "__main__": "cli", "webhooks": "_types", "_logging": "_types", "otel": "_types",
    "_batch": "_client", "_session": "_client", "__init__": "_client",
}  # fmt: skip


def rooms(path: Path) -> str:
    name = path.relative_to(ROOT).parts[0].removesuffix(".py")
    return ROOMS.get(name, name)


def imports(path: Path) -> list[str]:
    """The rooms that a file imports when it is loaded, without what is for the type checker or done later."""
    found = []
    depth = len(path.relative_to(ROOT).parts)
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            names = [node.module.split(".")[0]] if node.module else [alias.name for alias in node.names]
            found += [ROOMS.get(name, name) for name in names]
    return found


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    room = rooms(path)
    for imported in imports(path):
        if imported in LAYERS:
            assert LAYERS.index(imported) <= LAYERS.index(room), f"{room} imports {imported}"


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_client_and_the_transports_touch_httpx(path: Path) -> None:
    names = {
        alias.name.split(".")[0]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    if "httpx" in names:
        assert rooms(path) in ("transports", "_client")


def test_importing_it_brings_in_nothing_heavy() -> None:
    program = "import sys, httpx; before = {*sys.modules}; import refold_async; print(*{*sys.modules} - before)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert "refold_async" in loaded
    assert not loaded & {"rich", "typer", "redis", "pytest", "_pytest", "hypothesis", "trustme", "trio", "uvloop"}


def test_everything_exported_is_there() -> None:
    assert all(hasattr(refold_async, name) for name in refold_async.__all__)
    assert refold_async.__all__ == sorted(refold_async.__all__)
    assert (ROOT / "py.typed").exists()
