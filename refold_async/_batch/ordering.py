"""Which trigger of an ordering key may go: one at a time, in input order."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Literal

from .._types.values import Trigger

Item = tuple[int, Trigger]
"""A trigger with its place in the input."""


class Lanes:
    """A lane for each ordering key that has a trigger in flight; the others of the key wait in it.

    :param stop_on_failure: whether a key is given up after one of its triggers was not accepted. The keys that were
        are remembered to the end.
    """

    def __init__(self, *, stop_on_failure: bool) -> None:
        self._stop_on_failure = stop_on_failure
        self._waiting: dict[Hashable, deque[Item]] = {}
        self._given_up: set[Hashable] = set()

    def enter(self, key: Hashable, item: Item) -> Literal["go", "wait", "given up"]:
        """Say whether an item may go now; one that may not waits in its lane, or was given up with its key."""
        if key in self._given_up:
            return "given up"
        waiting = self._waiting.get(key)
        if waiting is None:
            self._waiting[key] = deque()
            return "go"
        waiting.append(item)
        return "wait"

    def failed(self, key: Hashable) -> None:
        """Note that a trigger of this key was not accepted."""
        if self._stop_on_failure:
            self._given_up.add(key)

    def is_given_up(self, key: Hashable) -> bool:
        """Whether the key was given up."""
        return key in self._given_up

    def next(self, key: Hashable) -> Item | None:
        """Take the next of the lane, once the one before it has ended; None, and the lane is closed, if none waits."""
        waiting = self._waiting[key]
        if waiting:
            return waiting.popleft()
        del self._waiting[key]
        return None

    def clear(self) -> list[Item]:
        """Take all that wait, in input order, because nobody will come for them."""
        left = sorted((item for waiting in self._waiting.values() for item in waiting), key=lambda item: item[0])
        self._waiting.clear()
        return left
