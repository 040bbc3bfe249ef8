"""What every test has: no settings of the developer's own, and a server where it asks for one."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest

from refold_async.testing import MockRefold


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
