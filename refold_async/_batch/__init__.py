"""Fan-out: `trigger_many` and `trigger_stream`, over workers that pull from one source."""

from ._options import BatchOptions, Source
from ._stream import OutcomeStream, send_all

__all__ = ["BatchOptions", "OutcomeStream", "Source", "send_all"]
