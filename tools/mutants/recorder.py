"""A plugin of pytest that writes down which lines of refold_async each test executes, and how long it takes.

Each process of pytest-xdist writes a file of its own into the folder that `MUTANTS_RECORD` names: seconds and lines of
each test, the lines of a file as the bits of one hexadecimal number. Only lines executed in the process of the test
count, in any thread; what programs that it starts execute is not seen.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
from collections.abc import Generator
from pathlib import Path
from typing import Any

import coverage
import pytest

from .tree import register_profile

register_profile()


class Recorder:
    """Records from the start of the session to its end, with the test that runs as the context of coverage."""

    def __init__(self, folder: Path, name: str) -> None:
        self.file = folder / f"{name}.json"
        self.seconds: dict[str, float] = {}
        self.outcomes: dict[str, str] = {}
        self.coverage = coverage.Coverage(data_file=None, source_pkgs=["refold_async"], config_file=False)
        self.coverage.set_option("run:core", "ctrace")

    def pytest_sessionstart(self) -> None:
        import refold_async

        self.coverage.start()
        # Whatever is imported late would count as executed by the test that happens to import it first.
        for module in pkgutil.walk_packages(refold_async.__path__, "refold_async."):
            if not module.name.endswith("__main__"):
                try:
                    importlib.import_module(module.name)
                except ImportError:
                    continue

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        self.coverage.switch_context(item.nodeid)
        try:
            return (yield)
        finally:
            self.coverage.switch_context("")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        if report.outcome != "passed" or report.nodeid not in self.outcomes:
            self.outcomes[report.nodeid] = report.outcome

    def pytest_sessionfinish(self) -> None:
        self.coverage.stop()
        data = self.coverage.get_data()
        masks: dict[str, dict[str, int]] = {name: {} for name in self.seconds}
        for file in data.measured_files():
            path = file.rpartition("/refold_async/")[2]
            for line, contexts in data.contexts_by_lineno(file).items():
                for context in filter(None, contexts):
                    masks[context][path] = masks[context].get(path, 0) | 1 << line
        tests = {
            name: {"seconds": round(seconds, 4), "lines": {path: f"{mask:x}" for path, mask in masks[name].items()}}
            for name, seconds in self.seconds.items()
        }
        self.file.write_text(json.dumps({"tests": tests, "outcomes": self.outcomes}), encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    """Record in the processes that run tests, and not in the one that hands them out."""
    folder = os.environ.get("MUTANTS_RECORD")
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if folder and (worker or not config.getoption("numprocesses", None)):
        config.pluginmanager.register(Recorder(Path(folder), worker or "alone"), "mutants-recorder")
