"""Copies of the tree in which one file may be changed, and runs of pytest in them, each in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

import pytest
from attrs import define
from hypothesis import HealthCheck, Phase, settings

from .mutate import Mutant

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = ["-q", "-p", "no:cacheprovider", "--timeout", "60", "--hypothesis-seed", "0", "--hypothesis-profile"]
OPTIONS += ["mutants", "-W", "ignore::pytest.PytestAssertRewriteWarning"]  # of plugins that `preload` has loaded


def preload() -> None:
    """Load what every run needs, but nothing that loads refold_async."""
    for name in ("pytest", "hypothesis", "httpx", "anyio", "trio", "uvloop", "trustme", "httptools"):
        __import__(name)
    loaded = [name for name in sys.modules if name.split(".")[0] == "refold_async"]
    assert not loaded, loaded
    register_profile()


def register_profile() -> None:
    """Let hypothesis stop at the first example that fails: nobody reads the smallest one here."""
    phases = (Phase.explicit, Phase.generate)
    slow = [HealthCheck.too_slow]
    settings.register_profile("mutants", deadline=None, phases=phases, database=None, suppress_health_check=slow)


def copy() -> Path:
    """Return a copy of the tree: refold_async in full, all else by links."""
    tree = Path(tempfile.mkdtemp(prefix="mutant-"))
    for entry in ROOT.iterdir():
        if entry.name == "refold_async":
            shutil.copytree(entry, tree / entry.name, ignore=shutil.ignore_patterns("__pycache__"))
        elif not entry.name.startswith((".git", ".venv", ".nox", ".hypothesis", ".mutants")):
            (tree / entry.name).symlink_to(entry)
    return tree


@define
class Run:
    """Tests under way in a copy of the tree; `killed` or `survived`, and removed, once `ended` is true."""

    mutant: Mutant | None
    tests: list[str]
    tree: Path
    pid: int
    ends: float
    status: int | None = None
    failed: tuple[str, ...] = ()
    """The tests that failed: the first one, where a mutant is in the tree."""

    def ended(self) -> bool:
        """Whether it has ended by itself, or was ended because it takes too long."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            self.status = os.waitstatus_to_exitcode(status)
        elif time.monotonic() > self.ends:
            self.stop()
            return True
        else:
            return False
        record = self.tree / "failed.json"
        self.failed = tuple(json.loads(record.read_text(encoding="utf-8"))) if record.exists() else ()
        shutil.rmtree(self.tree, ignore_errors=True)
        return True

    def stop(self) -> None:
        """End it, with what it has started: a run that hangs is killed by that."""
        with contextlib.suppress(ProcessLookupError, ChildProcessError):  # ended by itself meanwhile
            os.killpg(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        self.status = -signal.SIGKILL
        shutil.rmtree(self.tree, ignore_errors=True)

    @property
    def killed(self) -> bool:
        """Whether the tests have noticed; where none of them could be found, none has."""
        return self.status not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)


class _Chosen:
    """A plugin of pytest: runs the chosen tests alone, in their order, and writes down which fail."""

    def __init__(self, tests: list[str], record: Path) -> None:
        self.rank = {test: number for number, test in enumerate(tests)}
        self.record = record
        self.failed: list[str] = []

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        chosen = [item for item in items if item.nodeid in self.rank]
        items[:] = sorted(chosen, key=lambda item: self.rank[item.nodeid])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and report.nodeid not in self.failed:
            self.failed.append(report.nodeid)
            self.record.write_text(json.dumps(self.failed), encoding="utf-8")


def start(mutant: Mutant | None, tests: list[str], limit: float) -> Run:
    """Fork a process that runs the tests in a tree whose one file is changed; pytest is loaded already."""
    tree = copy()
    if mutant is not None:
        path = tree / "refold_async" / mutant.path
        path.write_bytes(mutant.apply(path.read_bytes()))
    sys.stdout.flush()
    pid = os.fork()
    with contextlib.suppress(OSError):  # by both, as either may be first
        os.setpgid(pid, pid)
    if pid == 0:
        _run_tests(tree, tests, ["-x"] if mutant is not None else [])
    return Run(mutant, tests, tree, pid, time.monotonic() + limit)


def _run_tests(tree: Path, tests: list[str], options: list[str]) -> None:
    status = 70
    try:
        os.chdir(tree)
        output = os.open(tree / "output.txt", os.O_WRONLY | os.O_CREAT)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ |= {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
        sys.dont_write_bytecode = True
        sys.path[:] = [str(tree), *(each for each in sys.path if each not in ("", str(ROOT)))]
        files = dict.fromkeys(test.partition("::")[0] for test in tests)
        plugin = _Chosen(tests, tree / "failed.json")
        status = int(pytest.main([*OPTIONS, *options, f"--rootdir={tree}", *files], [plugin]))
        sys.stdout.flush()
    except BaseException:  # noqa: BLE001 - this process ends here, whatever it is
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)
