"""What is looked at before the first attempt of a call: its files, and how much of its window is left."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from .._api.files import read_files
from .._types.errors import CallbackError, InvalidTriggerError, RefoldError
from .._types.values import Delivery
from .._wire.loops import ends_program

if TYPE_CHECKING:
    from .call import Call


def read_parts(call: Call) -> None:
    """Check and read the call's files, here and now.

    :raises InvalidTriggerError: for what cannot be sent, or could not be read.
    :raises CallbackError: for code of the caller's own that raised.
    """
    if call.files is None:
        return
    try:
        call.parts = read_files(call.files)
    except RefoldError:
        raise
    except BaseException as error:  # a mapping or a path of the caller's own class
        if ends_program(error):
            raise
        raise CallbackError(f"reading the files raised {type(error).__name__}; nothing was sent") from error


def continue_window(call: Call, window: float | None) -> None:
    """Let the declared window run from the first attempt ever, which another process may have made.

    :raises InvalidTriggerError: when too little of it is left.
    """
    first = call.first_sent_at
    try:
        since = None
        if isinstance(first, datetime) and first.utcoffset() is not None:
            since = (datetime.now(UTC) - first).total_seconds()
    except Exception as error:  # a time zone of the caller's own class
        raise CallbackError(f"first_sent_at raised {type(error).__name__}; nothing was sent") from error
    if since is None:
        raise InvalidTriggerError(f"first_sent_at must be a datetime with a time zone, or None, not {first!r}")
    if window is None or call.request is None or call.request.key is None:
        return
    left = window - since
    if left <= 0:
        raise InvalidTriggerError(
            "the idempotency window since first_sent_at has passed, so Refold may not drop a repeat any more; "
            "nothing was sent now, and the event may have fired before: look in Refold",
            delivery=Delivery.AMBIGUOUS,
        )
    call.cap_deadline(call.started + left)
