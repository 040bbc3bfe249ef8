"""What an import brings in, and what it offers. Who may import whom is in pyproject.toml, for `lint-imports`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import refold_async

ROOT = Path(refold_async.__file__).parent


def test_importing_it_brings_in_nothing_heavy() -> None:
    program = "import sys, httpx; before = {*sys.modules}; import refold_async; print(*{*sys.modules} - before)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=150)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert "refold_async" in loaded
    assert not loaded & {"rich", "typer", "redis", "pytest", "_pytest", "hypothesis", "trustme", "trio", "uvloop"}


def test_everything_exported_is_there() -> None:
    assert all(hasattr(refold_async, name) for name in refold_async.__all__)
    assert refold_async.__all__ == sorted(refold_async.__all__)
    assert (ROOT / "py.typed").exists()
