"""Files of the rows that a run did not get accepted, as JSON Lines that can be fed in again."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from attrs import define, field

from ... import ConfigurationError, Outcome, Trigger

_FIELDS = ("slug", "event", "linked_account_id", "config_id", "ordering_key", "idempotency_key", "payload")


def check_apart(**files: Path | None) -> None:
    """Check that no file is named for two things: what is written for one would be lost to the other.

    :raises ConfigurationError: when one is.
    """
    seen: dict[Path, str] = {}
    for name, path in files.items():
        if path is None:
            continue
        option = "--" + name.replace("_", "-")
        other = seen.setdefault(path.resolve(), option)
        if other != option:
            raise ConfigurationError(f"{other} and {option} are the same file, {path}: name two")


@define(eq=False)
class Leftovers:
    """One such file. It is made when its first row is written, readable by its owner only.

    :ivar failure: why it could not be written; then it does not have all rows.
    :ivar written: how many rows it has.
    """

    path: Path
    failure: str | None = None
    written: int = 0
    _descriptor: int = field(default=-1, init=False)

    @classmethod
    def of(cls, path: Path | None, option: str) -> Leftovers | None:
        """Return the file for an option, or None where it was not given.

        :raises ConfigurationError: when there is something at its path already, which would be lost.
        """
        if path is None:
            return None
        if path.exists() and (not path.is_file() or path.stat().st_size):
            raise ConfigurationError(f"{option}: {path} is there already: name another file, or move it away")
        if not path.parent.is_dir():
            raise ConfigurationError(f"{option}: there is no folder {path.parent}")
        return cls(path)

    def write(self, trigger: Trigger, outcome: Outcome | None = None) -> None:
        """Add a row, with the key that it was sent with."""
        if self.failure is not None:
            return
        try:
            if self._descriptor < 0:
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
                self._descriptor = os.open(self.path, flags, 0o600)
            line = json.dumps(_fields(trigger, outcome), ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
            while line:
                line = line[os.write(self._descriptor, line) :]
            self.written += 1
        except (OSError, TypeError, ValueError) as error:
            self.failure = f"{self.path} does not have all rows: {getattr(error, 'strerror', None) or error}"

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _fields(trigger: Trigger, outcome: Outcome | None) -> dict[str, Any]:
    fields = {name: getattr(trigger, name) for name in _FIELDS}
    sent = getattr(None if outcome is None else outcome.error, "sent", None)
    if sent is not None and sent.idempotency_key is not None:  # also one that was minted
        fields["idempotency_key"] = sent.idempotency_key
    return {name: value for name, value in fields.items() if value is not None}
