"""Which modules decide."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_WIRE: Final = (
    "connect", "connection", "flight", "httpx_wire", "loop_pool", "loops", "observed", "parser", "pool",
    "response_head", "scope", "streamed", "timer",
)  # fmt: skip

MODULES: Final = (
    "policies/*.py",
    "_types/evidence.py",
    *(f"limiters/{name}.py" for name in ("memory", "_queue", "_untold", "_shared", "_adapt")),
    "_core/*.py",
    "transports/*.py",
    "_batch/*.py",
    *(f"_wire/{name}.py" for name in _WIRE),
    *(f"_api/{name}.py" for name in ("plain", "response")),
    *(f"cli/batch/{name}.py" for name in ("journal", "recovery", "table")),
)
"""Patterns below refold_async/."""


def modules(root: Path, only: str = "*") -> list[Path]:
    """Return the modules that there are, relative to `root`."""
    found = {path for pattern in MODULES for path in (root / "refold_async").glob(pattern)}
    return sorted(path.relative_to(root) for path in found if path.name != "__init__.py" and path.match(only))
