"""What is wrong with a row."""

from __future__ import annotations


class RowError(Exception):
    """A row cannot be sent as it is; the message says why, and names the cure."""


class NotJSONError(RowError):
    """There is something else where JSON should be."""
