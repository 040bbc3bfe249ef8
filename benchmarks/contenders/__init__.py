"""The contenders, one file each."""

from __future__ import annotations

from importlib import import_module

from ..contender import Contender

ON_UVLOOP = "@uvloop"


def load(key: str) -> Contender:
    """Give a contender by the name of its file; with `@uvloop` behind it, on that loop.

    The name may also be that of a module elsewhere (`tests.some_contender`), which has a `CONTENDER` too.
    """
    name = key.removesuffix(ON_UVLOOP)
    module = import_module(name if "." in name else f"{__name__}.{name}")
    contender: Contender = module.CONTENDER
    return contender.on("uvloop") if key.endswith(ON_UVLOOP) else contender
