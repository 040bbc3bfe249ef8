"""What every test has: no settings of the developer's own, and a server where it asks for one."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from refold_async.testing import MockRefold

# No test measures time: a busy machine may take any, and a hang is what pytest-timeout is for.
settings.register_profile("refold", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("refold")


def pytest_configure() -> None:
    """Prepare signals and event loops."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # So a shell starts what runs in its background. The programs under test would inherit it, and miss Ctrl-C.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    _start_tasks_eagerly()


def pytest_collection_finish() -> None:
    """Take what was imported and collected out of garbage collections: each full one would walk over all of it."""
    gc.freeze()


def _start_tasks_eagerly() -> None:
    """Start each task at once, as `asyncio.eager_task_factory` does, where `REFOLD_TESTS_EAGER=1` and Python has it."""
    if not os.environ.get("REFOLD_TESTS_EAGER") or not hasattr(asyncio, "eager_task_factory"):
        return
    factory = asyncio.eager_task_factory
    made = asyncio.BaseEventLoop.__init__

    def make(loop: asyncio.BaseEventLoop, *args: Any, **options: Any) -> None:
        made(loop, *args, **options)
        loop.set_task_factory(factory)

    setattr(asyncio.BaseEventLoop, "__init__", make)  # noqa: B010 - mypy forbids the plain assignment


def pytest_xdist_auto_num_workers() -> int:
    """Return how many workers `-n auto` starts: more than there are cores, as many tests wait for a process."""
    return min(2 * (os.cpu_count() or 1), 4)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape lone surrogates in what a test logged or printed: pytest-xdist cannot send them to its controller."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    proxies = {"http_proxy", "https_proxy", "all_proxy", "no_proxy"}
    for name in list(os.environ):
        if name.startswith("REFOLD_") or name.lower() in proxies:
            monkeypatch.delenv(name)


@pytest.fixture
def server() -> Iterator[MockRefold]:
    """A mock without a rate limit, for tests about something else."""
    with MockRefold(rate_limit=None) as running:
        yield running


@pytest.fixture
def collected() -> Iterator[None]:
    """Collect what a test has abandoned within it, and not in some other test."""
    yield
    gc.collect()
