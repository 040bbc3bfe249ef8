"""The fixture `refold_server`, for anyone who has this library installed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .server import MockRefold


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "refold_server(**options): what the fixture of that name gives to MockRefold")


@pytest.fixture
def refold_server(request: pytest.FixtureRequest) -> Iterator[MockRefold]:
    """Give a running `MockRefold`; `@pytest.mark.refold_server(rate_limit=None)` sets its arguments."""
    from .server import MockRefold

    marker = request.node.get_closest_marker("refold_server")
    with MockRefold(**({} if marker is None else marker.kwargs)) as server:
        yield server
