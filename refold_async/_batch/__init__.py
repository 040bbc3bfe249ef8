"""Fan-out: `trigger_many` and `trigger_stream`, over workers that pull from one source."""
