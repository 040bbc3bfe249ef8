"""What is public: the modules that have an `__all__`, the names in it, and the members of their classes.

The API reference, the test that every public name is documented, and the record of the interface all ask here.
"""

from __future__ import annotations

import enum
import functools
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import refold_async

PACKAGE = refold_async.__name__


def public_modules() -> list[ModuleType]:
    """Return every module that can be imported without an underscore and declares its names in `__all__`."""
    found = [refold_async]
    for info in pkgutil.walk_packages(refold_async.__path__, f"{PACKAGE}."):
        if any(part.startswith("_") for part in info.name.split(".")) or info.name.startswith(f"{PACKAGE}.cli"):
            continue
        module = importlib.import_module(info.name)
        if hasattr(module, "__all__"):
            found.append(module)
    return found


@functools.cache
def homes() -> dict[str, Any]:
    """Return each public object once, under the shortest dotted name that it can be imported by."""
    seen: dict[int, str] = {}
    found: dict[str, Any] = {}
    for module in sorted(public_modules(), key=lambda module: (module.__name__.count("."), module.__name__)):
        for name in sorted(set(module.__all__) - {"__version__"}):
            value = getattr(module, name)
            if id(value) not in seen:
                seen[id(value)] = f"{module.__name__}.{name}"
                found[f"{module.__name__}.{name}"] = value
    return found


def members(cls: type) -> Iterator[tuple[str, Any]]:
    """Yield the public members of a class by name; special methods are left out.

    They are those that it declares itself or takes over from a private class of ours. What it takes over from a public
    class is listed there; what it takes over from another project may change with that project's version.
    """
    public = {id(value) for value in homes().values()} - {id(cls)}
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.split(".")[0] == PACKAGE and id(base) not in public:
            annotated = dict.fromkeys(vars(base).get("__annotations__", {}))
            found |= {name: value for name, value in (annotated | dict(vars(base))).items() if not name.startswith("_")}
    yield from sorted(found.items())


def fields(cls: type) -> set[str]:
    """Return the public fields of an attrs class, which have no docstrings of their own."""
    return {field.name for field in getattr(cls, "__attrs_attrs__", ()) if not field.name.startswith("_")}


def kind(value: Any) -> str:
    """Return `exception`, `enum`, `class`, `function` or `data`."""
    if not inspect.isclass(value):
        return "function" if inspect.isroutine(value) else "data"
    if issubclass(value, BaseException):
        return "exception"
    return "enum" if issubclass(value, enum.Enum) else "class"
