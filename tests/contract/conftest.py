"""The same loops, and the same look at what is left, as for the wire."""

from tests.wire.conftest import _nothing_is_left, anyio_backend

__all__ = ["_nothing_is_left", "anyio_backend"]
