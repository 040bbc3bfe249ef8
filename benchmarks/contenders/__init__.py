"""The contenders, one file each."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec

from ..contender import Contender

ON_UVLOOP = "@uvloop"


def load(key: str) -> Contender:
    """Give a contender by the name of its file; with `@uvloop` behind it, on that loop.

    The name may also be that of a contender elsewhere: `package.module:NAME`.

    :raises ModuleNotFoundError: when what it needs is not installed.
    """
    name, _, attribute = key.removesuffix(ON_UVLOOP).partition(":")
    module = import_module(name if attribute else f"{__name__}.{name}")
    contender: Contender = getattr(module, attribute or "CONTENDER")
    if not key.endswith(ON_UVLOOP):
        return contender
    if find_spec("uvloop") is None:
        raise ModuleNotFoundError("No module named 'uvloop'", name="uvloop")
    return contender.on("uvloop")


def installed(keys: Iterable[str]) -> tuple[dict[str, Contender], dict[str, str]]:
    """Load those that can be; give them, and for each of the others why not."""
    found: dict[str, Contender] = {}
    skipped: dict[str, str] = {}
    for key in keys:
        try:
            found[key] = load(key)
        except ModuleNotFoundError as error:
            skipped[key] = f"{error.name} is not installed"
    return found, skipped
