"""How values that are made for each call are filled in a fifth of the time, although they are frozen.

Each write to a frozen object goes around its `__setattr__`, and costs more than ten of the plain ones. So the slots of
such a class are in a base class that is not frozen. An object is filled while it belongs to that, and belongs to its
own class from then on. Nobody else has it before.
"""

from __future__ import annotations

from typing import Any, TypeVar

T = TypeVar("T", bound="_Filled")

new: Any = object.__new__
become: Any = object.__dict__["__class__"].__set__
"""Assign to the `__class__` of an object that is frozen already."""
set_field: Any = object.__setattr__


class _Filled:
    """A base of frozen classes without slots, whose objects are soon dropped again; see `filled`."""


Filled = _Filled
_fill: Any = _Filled.__dict__["__dict__"].__set__


def filled(kind: type[T], fields: dict[str, Any]) -> T:
    """Make an object of these fields, which are all that it has: no default is added, and no validator is called."""
    made = new(kind)
    _fill(made, fields)
    return made  # type: ignore[no-any-return]
