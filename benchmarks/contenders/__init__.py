"""The contenders. What a client needs is imported when it is opened, so that each process has only its own."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Final

from ..contender import CONTENDERS, Contender
from . import clients, floor, refold

LOOPS: Final = ("asyncio", "uvloop")

__all__ = ["LOOPS", "clients", "floor", "load", "missing", "refold"]


def load(name: str) -> Contender:
    """Return a contender by its name.

    One from elsewhere is called `package.module:name`; importing the module registers it.
    """
    module, _, inner = name.partition(":")
    if inner:
        import_module(module)
    return CONTENDERS[inner or module]


def missing(name: str, loop: str = "asyncio") -> str | None:
    """Return the module that a contender on this loop would need and that is not installed, if there is one."""
    needed = [load(name).module.partition(".")[0], *(["uvloop"] if loop == "uvloop" else [])]
    return next((module for module in needed if find_spec(module) is None), None)
