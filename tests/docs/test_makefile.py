"""The Makefile chooses a Python before it does anything else, and says in one line what is wrong with it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "Makefile", tmp_path)
    return tmp_path


def python(path: Path, version: str, *, will_do: bool) -> Path:
    """Write a program that answers the Makefile's question as a Python of that version would."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {version} {will_do}\n")
    path.chmod(0o755)
    return path


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {
        name: value for name, value in os.environ.items() if name not in ("PYTHON", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")
    }
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=env, capture_output=True, text=True, timeout=30, check=False
    )


def test_a_python_that_is_too_old_is_refused_in_one_line(folder: Path) -> None:
    old = python(folder / "python3.10", "3.10.13", will_do=False)
    done = make(folder, "demo", f"PYTHON={old}")
    [line] = (done.stdout + done.stderr).splitlines()
    assert done.returncode != 0
    assert "needs Python 3.11 or later" in line
    assert "3.10.13" in line
    assert not (folder / ".venv").exists()


def test_a_python_that_is_not_there_is_named_in_one_line(folder: Path) -> None:
    done = make(folder, "test", "PYTHON=python-that-is-not-there")
    [line] = (done.stdout + done.stderr).splitlines()
    assert done.returncode != 0
    assert "there is no python-that-is-not-there" in line


def test_a_venv_of_another_python_than_the_one_asked_for_is_made_again(folder: Path) -> None:
    python(folder / ".venv/bin/python", "3.11.9", will_do=True)
    new = python(folder / "python3.12", "3.12.1", will_do=True)
    done = make(folder, "--dry-run", "demo", f"PYTHON={new}")
    assert "is made again with 3.12.1" in done.stdout
    assert not (folder / ".venv").exists()


def test_a_venv_is_kept_if_no_python_is_asked_for(folder: Path) -> None:
    python(folder / ".venv/bin/python", "3.11.9", will_do=True)
    done = make(folder, "--dry-run", "clean", "demo")
    assert "made again" not in done.stdout
    assert (folder / ".venv/bin/python").exists()


def test_help_lists_every_target_and_needs_no_python(folder: Path) -> None:
    done = make(folder, "help", "PYTHON=python-that-is-not-there")
    [phony] = re.findall(r"^\.PHONY: (.+)$", (folder / "Makefile").read_text(), re.MULTILINE)
    assert done.returncode == 0
    assert [target for target in phony.split() if f"  {target} " not in done.stdout] == []
